"""Runs whose process is asked to end, fails, or is killed without a word: real processes, real signals."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from dovetail.__main__ import ENVIRONMENT
from dovetail.leases import Lease
from dovetail.lineage import ABANDONED, COMPLETE, LEASE
from dovetail.settings.schema import MLflow
from servers import mlflow_server

pytestmark = pytest.mark.slow

# Prints the run's id when it is open, and ends it when a line comes in; argument 3 is the length of a lease.
RECORD = """
import sys
from datetime import timedelta
from dovetail import leases
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, runs
tracking = MLflow(tracking_uri=sys.argv[1], artifact_location=None)
if sys.argv[3:]:
    leases.LEASE, leases.RENEWAL = timedelta(seconds=float(sys.argv[3])), timedelta(seconds=float(sys.argv[3]) / 8)
client = experiments.connect(tracking)
with runs.recording(client, tracking, experiment="flights", run_name="x", description="", tags={}) as run_id:
    print(run_id, flush=True)
    if sys.stdin.readline() == "raise\\n":
        raise RuntimeError("half-way")
"""


def environment(**variables: str) -> dict[str, str]:
    """What the command line sets before a tool is imported."""
    return {**os.environ, **ENVIRONMENT, **variables}


class Holder(subprocess.Popen):
    """A process that holds a run open."""

    def __init__(self, tracking: MLflow, *arguments: str) -> None:
        super().__init__(
            [sys.executable, "-W", "ignore", "-c", RECORD, tracking.tracking_uri, "", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip

    def opened(self) -> str:
        """The id of its run, once it is open."""
        for line in self.stdout:  # MLflow prints links of its own
            if re.fullmatch(r"[0-9a-f]{32}\n", line):
                return line.strip()
        raise AssertionError(self.stderr.read())

    def finish(self, word: str = "") -> int:
        """Its exit code, after it was told to end."""
        self.communicate(f"{word}\n")
        return self.returncode


@contextmanager
def holder(tracking: MLflow, *arguments: str) -> Iterator[Holder]:
    """A process that is gone when the block ends."""
    with Holder(tracking, *arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def run_of(tracking: MLflow, run_id: str) -> Run:
    """The run as MLflow has it."""
    return MlflowClient(tracking.tracking_uri).get_run(run_id)


def one_more(tracking: MLflow, *arguments: str) -> str:
    """The id of a whole run of another process: its start is the next one that closes what was left behind."""
    with holder(tracking, *arguments) as process:
        run_id = process.opened()
        assert process.finish() == 0
    assert run_of(tracking, run_id).info.status == "FINISHED"
    return run_id


def wait_for(what: Callable[[], bool]) -> None:
    """Until it is so; a test that waits in vain is ended by its runner."""
    while not what():
        time.sleep(0.1)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> MLflow:
    """A database, the same for all tests: each looks at its own runs."""
    folder = tmp_path_factory.mktemp("runs")
    return MLflow(tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_location=None)


def test_signals_end_a_run_as_killed(tracking: MLflow) -> None:
    """SIGTERM, SIGHUP and Ctrl-C: KILLED, not complete, the lease given back, the exit code the shell's."""
    with holder(tracking) as first, holder(tracking) as second, holder(tracking) as third:
        codes = {first: 128 + signal.SIGTERM, second: 128 + signal.SIGHUP, third: -signal.SIGINT}
        run_ids = [process.opened() for process in codes]
        for process, number in zip(codes, (signal.SIGTERM, signal.SIGHUP, signal.SIGINT), strict=True):
            process.send_signal(number)
        assert {process: process.wait() for process in codes} == codes
    for run_id in run_ids:
        run = run_of(tracking, run_id)
        assert (run.info.status, run.info.end_time is None) == ("KILLED", False)
        assert {COMPLETE, LEASE, ABANDONED} & set(run.data.tags) == set()
    assert list(Path(f"{tracking.database}.leases").iterdir()) == []


def test_an_exception_ends_a_run_as_failed(tracking: MLflow) -> None:
    """And the exception is the process's own end."""
    with holder(tracking) as process:
        run_id = process.opened()
        assert process.finish("raise") == 1
    run = run_of(tracking, run_id)
    assert (run.info.status, COMPLETE in run.data.tags) == ("FAILED", False)


def test_an_ignored_signal_stays_ignored(tracking: MLflow) -> None:
    """Under `nohup` a closed terminal does not end a run."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with holder(tracking) as process:
            run_id = process.opened()
            process.send_signal(signal.SIGHUP)
            assert process.finish() == 0
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert run_of(tracking, run_id).info.status == "FINISHED"


def test_a_killed_run_is_closed_at_the_next_start_and_a_living_one_is_not(tracking: MLflow) -> None:
    """After kill -9 the run is KILLED with a tag that says so; a run that another process holds is left to it."""
    with holder(tracking) as living, holder(tracking) as killed:
        living_id, killed_id = living.opened(), killed.opened()
        killed.kill()
        killed.wait()
        assert run_of(tracking, killed_id).info.status == "RUNNING"
        one_more(tracking)
        run = run_of(tracking, killed_id)
        assert run.info.status == "KILLED"
        assert f"process {killed.pid} on " in run.data.tags[ABANDONED]
        assert COMPLETE not in run.data.tags
        assert run_of(tracking, living_id).info.status == "RUNNING"
        assert living.finish() == 0
    run = run_of(tracking, living_id)
    assert (run.info.status, run.data.tags[COMPLETE]) == ("FINISHED", "true")
    assert list(Path(f"{tracking.database}.leases").iterdir()) == []


def test_a_run_without_a_lease_is_not_ours(tracking: MLflow) -> None:
    """What somebody opened with MLflow alone stays open, however old it is."""
    one_more(tracking)
    client = MlflowClient(tracking.tracking_uri)
    by_hand = client.create_run("1", start_time=0).info.run_id
    odd = client.create_run("1", tags={LEASE: "2001-01-01T00:00:00+00:00 ../../etc/passwd 1 here"}).info.run_id
    one_more(tracking)
    assert [client.get_run(run_id).info.status for run_id in (by_hand, odd)] == ["RUNNING", "RUNNING"]


@pytest.fixture(scope="module")
def server(tracking: MLflow) -> Iterator[MLflow]:
    """A real MLflow server on loopback, as machines share it: they see no lock of each other's."""
    with mlflow_server(tracking.tracking_uri, Path(f"{tracking.database}").parent) as uri:
        yield MLflow(tracking_uri=uri, artifact_location=None)


def lease_of(tracking: MLflow, run_id: str) -> Lease:
    """The lease as the others read it."""
    lease = Lease.parse(run_of(tracking, run_id).data.tags[LEASE])
    assert lease
    return lease


def test_machines_that_share_a_server_go_by_the_lease(server: MLflow) -> None:
    """A lease that is renewed keeps a run open past its first end; one that nobody renews is closed after it."""
    with holder(server, "8") as living, holder(server, "8") as killed:
        living_id, killed_id = living.opened(), killed.opened()
        killed.kill()
        killed.wait()
        first, last = lease_of(server, living_id), lease_of(server, killed_id)
        wait_for(lambda: time.time() > max(first.until, last.until).timestamp() + 1)
        one_more(server)
        assert run_of(server, killed_id).info.status == "KILLED"
        assert lease_of(server, living_id).until > first.until
        assert run_of(server, living_id).info.status == "RUNNING"
        assert living.finish() == 0
    assert run_of(server, living_id).info.status == "FINISHED"


def test_a_lease_that_has_not_ended_is_believed(server: MLflow) -> None:
    """Of a process that was killed a moment ago on another machine nobody can know."""
    with holder(server) as killed:
        run_id = killed.opened()
        killed.kill()
        killed.wait()
    one_more(server)
    assert run_of(server, run_id).info.status == "RUNNING"


def test_a_holder_that_was_asleep_has_the_last_word(server: MLflow) -> None:
    """A machine that slept through its lease is taken for dead; when it wakes and finishes, the run is finished."""
    with holder(server, "2") as sleeper:
        run_id = sleeper.opened()
        sleeper.send_signal(signal.SIGSTOP)
        last = lease_of(server, run_id).until.timestamp()
        wait_for(lambda: time.time() > last + 1)
        one_more(server)
        assert run_of(server, run_id).info.status == "KILLED"
        sleeper.send_signal(signal.SIGCONT)
        assert sleeper.finish() == 0
    run = run_of(server, run_id)
    assert (run.info.status, run.data.tags[COMPLETE], ABANDONED in run.data.tags) == ("FINISHED", "true", False)
