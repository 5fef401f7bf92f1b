"""Many processes at once before one MLflow database, new or in use."""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mlflow import MlflowClient

from dovetail.lineage import COMPLETE, LEASE
from servers import Postgres

# Says that it is ready, waits for a line, then makes its runs as fast as it can; prints each.
RUNS = """
import sys
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, runs
tracking = MLflow(tracking_uri=sys.argv[1], artifact_location=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    client = experiments.connect(tracking)
    with runs.recording(client, tracking, experiment="flights", run_name="x", description="", tags={}) as run_id:
        experiments.log_results({"number": number}, {"validation/roc_auc": 0.5})
    print(run_id, flush=True)
"""


def at_once(tracking_uri: str, folder: Path, n_runs: int) -> set[str]:
    """The runs of eight processes that all begin when the last one is ready."""
    command = [sys.executable, "-W", "ignore", "-c", RUNS, tracking_uri, str(folder / "mlartifacts"), str(n_runs)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, text=True, **pipes) for _ in range(8)]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 8
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
    failed = [error for process, (_, error) in zip(processes, said, strict=True) if process.returncode]
    assert failed == []
    return {line for out, _ in said for line in out.split() if re.fullmatch(r"[0-9a-f]{32}", line)}


def require_all_whole(tracking_uri: str, run_ids: set[str]) -> None:
    """Each run is in the one experiment, finished and complete, and has given its lease back."""
    client = MlflowClient(tracking_uri)
    (experiment,) = [each for each in client.search_experiments() if each.name == "flights"]
    found = client.search_runs([experiment.experiment_id], max_results=5000)
    assert {run.info.run_id for run in found} == run_ids
    whole = {(run.info.status, run.data.tags.get(COMPLETE), LEASE in run.data.tags) for run in found}
    assert whole == {("FINISHED", "true", False)}


@pytest.mark.slow
def test_eight_processes_may_meet_a_new_database_at_once(tmp_path: Path) -> None:
    """All get all their runs, in one experiment; MLflow alone would lose most of them to its migrations."""
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    made = at_once(uri, tmp_path, 5)
    assert len(made) == 40
    require_all_whole(uri, made)


@pytest.mark.slow
def test_eight_processes_may_meet_a_new_postgresql_database_at_once(tmp_path: Path) -> None:
    """Likewise where the database is shared by machines."""
    # Not in pytest's own folder, which is closed to the user that the server needs.
    with TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            uri = f"postgresql+psycopg://feast@127.0.0.1:{server.port}/postgres"
            made = at_once(uri, tmp_path, 1)
            assert len(made) == 8
            require_all_whole(uri, made)
        finally:
            server.stop()
