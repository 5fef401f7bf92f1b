"""The real `train`, asked to end and killed while its run is open."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow

OPEN = "SELECT run_uuid FROM runs WHERE status = 'RUNNING'"


def interrupted(project, number: signal.Signals) -> tuple[str, int, str]:
    """The run that was open when `train` got the signal, its exit code and what it said."""
    command = [sys.executable, "-m", "dovetail", "train"]
    with subprocess.Popen(
        command, cwd=project.folder, env=project.environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        while not (running := project.mlflow(OPEN)) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(number)
        said, _ = process.communicate()
    ((run_id,),) = running
    return run_id, process.returncode, said


def test_a_training_that_was_ended_leaves_no_open_run(project) -> None:
    """SIGTERM ends the run as killed; after kill -9 the next training does; neither run can be registered."""
    asked, code, said = interrupted(project, signal.SIGTERM)
    assert (code, "Traceback" in said) == (128 + signal.SIGTERM, False)
    assert project.mlflow(OPEN) == []

    killed, code, _ = interrupted(project, signal.SIGKILL)
    assert (code, project.mlflow(OPEN)) == (-signal.SIGKILL, [(killed,)])
    project.repro("--force --single-item train")
    assert project.mlflow(OPEN) == []
    ended = f"SELECT status FROM runs WHERE run_uuid IN ('{asked}', '{killed}')"
    assert project.mlflow(ended) == [("KILLED",), ("KILLED",)]
    (abandoned,) = project.mlflow("SELECT run_uuid FROM tags WHERE key = 'dovetail.abandoned'")
    assert abandoned == (killed,)
    assert not {asked, killed} & project.complete_runs()
