"""Aliases that are moved by many processes at once, or by one that is killed, or asleep, at any point."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient

from dovetail import locks
from dovetail.__main__ import ENVIRONMENT
from dovetail.contracts.journal import CHAMPION
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, journal
from servers import Postgres, mlflow_server

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("promotion_processes.py")


def processes(what: str, uri: str) -> subprocess.Popen[str]:
    """The script, at work."""
    command = [sys.executable, "-W", "ignore", str(SCRIPT), what, uri]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, text=True, **pipes)


def champion(client: MlflowClient) -> int:
    """By the registry itself."""
    return int(client.get_registered_model("flights").aliases[CHAMPION])


def require_one_winner_each_step(uri: str) -> None:
    """Ten promotions of ten versions: each is in the journal once, and each begins where the one before it ended."""
    work = processes("at_once", uri)
    said, _ = work.communicate(timeout=300)
    assert work.returncode == 0, said
    tracking = MLflow(tracking_uri=uri, artifact_location=None)
    client = experiments.connect(tracking)
    history = journal.look(client, tracking, "flights")
    assert history.flaws == ()
    done = [line for line in history.lines if line.outcome == "done"]
    assert sorted(line.after for line in done if line.after) == list(range(1, 11))
    assert [line.before for line in done] == [None, *(line.after for line in done[:-1])]
    assert [line.who for line in done] == [f"process {line.after}" for line in done]
    assert champion(client) == done[-1].after
    assert said.count("was beaten to it") >= 9  # all had seen none


def test_ten_promotions_at_once(tmp_path: Path) -> None:
    """On one machine, by a lock beside the database."""
    require_one_winner_each_step(f"sqlite:///{tmp_path}/mlflow.db")


def test_ten_promotions_at_once_on_postgresql() -> None:
    """Where machines share the database, by a lock that it keeps."""
    # Not in pytest's own folder, which is closed to the user that the server needs.
    with TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            require_one_winner_each_step(f"postgresql+psycopg://feast@127.0.0.1:{server.port}/postgres")
        finally:
            server.stop()


def test_killed_at_every_step(tmp_path: Path) -> None:
    """Register, promote, recall: whatever was written, the next command finds one champion and a journal that fits."""
    work = processes("killed_everywhere", f"sqlite:///{tmp_path}/mlflow.db")
    said, _ = work.communicate(timeout=600)
    assert work.returncode == 0, said
    assert said.count(" lines") > 20, said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real MLflow server, behind which nothing can be locked."""
    folder = tmp_path_factory.mktemp("server")
    with mlflow_server(f"sqlite:///{folder}/mlflow.db", folder) as uri:
        yield uri


def test_ten_promotions_at_once_over_http(server: str) -> None:
    """Nothing can be locked, and still one wins each step."""
    require_one_winner_each_step(server)


def test_over_http_the_dead_and_the_sleeping_lose_their_turn(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are waited for, and not for ever; one that wakes up later gives up, and moves nothing."""
    monkeypatch.setattr(locks, "DEAD_SECONDS", 6.0)
    tracking = MLflow(tracking_uri=server, artifact_location=None)
    client = MlflowClient(server)
    before = champion(client)
    for number in (signal.SIGKILL, signal.SIGSTOP):
        holder = processes("hold", server)
        try:
            while holder.stdout.readline() != "holding\n":
                assert holder.poll() is None
            holder.send_signal(number)
            since = time.monotonic()
            history = journal.look(client, tracking, "flights")
            assert time.monotonic() - since > 6
            assert (history.lines[-1].outcome, history.flaws) == ("not done", ())
            holder.send_signal(signal.SIGCONT)
            said, _ = holder.communicate(timeout=60)
            assert (number == signal.SIGSTOP) == ("gives it up" in said)
        finally:
            holder.kill()
    assert champion(client) == before
    assert journal.look(client, tracking, "flights").flaws == ()
