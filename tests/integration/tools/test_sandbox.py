"""DVC run in a checkout of its own: nothing of this process leads it elsewhere, and nothing of it outlives it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from dovetail.errors import WorkspaceError
from dovetail.tools import sandbox

PIPELINE = """
stages:
  environment:
    cmd: env > environment.txt
    outs: [environment.txt]
  fails:
    cmd: exit 3
  waits:
    cmd: echo $$ > pid.txt && sleep 60
"""
# Variables of a command that DVC runs here: each would lead the other checkout astray.
LEADS = {
    "DVC_ROOT": "/elsewhere",
    "DVC_STAGE": "train",
    "DVC_EXP_NAME": "mine",
    "MLFLOW_TRACKING_URI": "sqlite:////elsewhere/mlflow.db",
    "MLFLOW_RUN_ID": "0" * 32,
    "GIT_DIR": "/elsewhere/.git",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository, and a process that works for another."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(
        [sys.executable, "-m", "dvc", "init", "-q"],
        cwd=tmp_path,
        check=True,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
    )
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    for name, value in LEADS.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_a_stage_sees_its_own_checkout(checkout: Path) -> None:
    """DVC's variables are its own; ours to it come through, and the code is that of the checkout."""
    sandbox.dvc(checkout, "repro", "environment", DVC_EXP_NAME="reproduce")
    seen = dict(line.split("=", 1) for line in (checkout / "environment.txt").read_text().splitlines() if "=" in line)
    assert seen["DVC_ROOT"] == str(checkout)
    assert (seen["DVC_STAGE"], seen["DVC_EXP_NAME"], seen["PYTHONPATH"]) == ("environment", "reproduce", "src")
    assert seen["PATH"].startswith(str(Path(sys.executable).parent))
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "GIT_DIR"} & set(seen)
    assert (checkout / ".dvc/tmp/site").is_dir()


def test_a_stage_that_fails_is_said(checkout: Path) -> None:
    """What DVC was asked, and where."""
    with pytest.raises(WorkspaceError, match=r"dvc repro fails failed with exit code 255\n  in .*message is above"):
        sandbox.dvc(checkout, "repro", "fails")


def is_running(pid: int) -> bool:
    """Whether the process is there; one that has ended stays listed until its new parent has looked at it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_an_interrupted_command_leaves_no_child(checkout: Path) -> None:
    """SIGTERM ends DVC and the stage that it runs, which DVC alone would leave running."""
    code = (
        "import sys; from pathlib import Path; from dovetail import leases; from dovetail.tools import sandbox\n"
        "with leases.ending_on_signals(): sandbox.dvc(Path(sys.argv[1]), 'repro', 'waits')"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(checkout)]) as process:
        pid = checkout / "pid.txt"
        for _ in range(300):
            if pid.exists() and pid.read_text().strip():
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    for _ in range(100):
        if not is_running(int(pid.read_text())):
            return
        time.sleep(0.1)
    pytest.fail("the stage is still there")


def test_a_profile_of_its_own(tmp_path: Path) -> None:
    """MLflow and the predictions are in the checkout; all else is as the profile says."""
    path = tmp_path / "conf/profile/server.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "name: server\nfeature_engine: duckdb\nmlflow: {tracking_uri: 'https://mlflow'}\npredictions: s3://x\n"
    )
    sandbox.isolate(tmp_path, "server")
    assert yaml.safe_load(path.read_text()) == {
        "name": "server",
        "feature_engine": "duckdb",
        "mlflow": {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "artifact_location": f"{tmp_path}/mlartifacts"},
        "predictions": f"{tmp_path}/predictions",
    }
    with pytest.raises(WorkspaceError, match=r"there is no profile 'spark'\n.*\n  It has server\."):
        sandbox.isolate(tmp_path, "spark")


SHARED = """
stages:
  first:
    cmd: env > environment.txt && echo 1 > first.txt
    deps: [source.txt]
    outs: [first.txt]
  second:
    cmd: cat first.txt > second.txt
    deps: [first.txt]
    outs: [second.txt]
  breaks:
    cmd: "echo said before; echo 'SplitError: the split fails' >&2; echo '  in usecase.split' >&2; exit 1"
    deps: [second.txt]
    outs: [never.txt]
"""


def test_what_was_computed_once_comes_from_the_shared_cache(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """A second checkout runs nothing; MLflow's address comes through, a stage's and a run's do not."""
    other = tmp_path_factory.mktemp("other")
    (checkout / "dvc.yaml").write_text(SHARED)
    (checkout / "source.txt").write_text("source")
    shutil.copytree(checkout, other, dirs_exist_ok=True)
    (other / ".dvc/config.local").write_text(f"[cache]\n    dir = {checkout}/.dvc/cache\n")
    where = {"subject": "version 1", "home": checkout, "profile": "local"}
    with caplog.at_level("INFO"):
        sandbox.bring(checkout, ["second"], **where)
        sandbox.bring(other, ["second"], **where)
        # Alone: what leads to it is not asked.
        (other / "first.txt").unlink()
        (other / "first.txt").write_text("2")
        sandbox.bring(other, ["second"], is_alone=True, has_own_params=True, **where)
    assert [record.message for record in caplog.records] == [
        "version 1: first runs",
        "version 1: second runs",
        "version 1: first, second from DVC's cache",
        "version 1: second runs",
    ]
    assert (other / "second.txt").read_text() == "2"
    seen = dict(line.split("=", 1) for line in (checkout / "environment.txt").read_text().splitlines() if "=" in line)
    assert (seen["DVC_ROOT"], seen["DVC_STAGE"], seen["PROFILE"]) == (str(checkout), "first", "local")
    assert seen["MLFLOW_TRACKING_URI"] == LEADS["MLFLOW_TRACKING_URI"]
    assert not {"MLFLOW_RUN_ID", "DVC_EXP_NAME", "GIT_DIR"} & set(seen)


def test_a_stage_that_stops_says_why(checkout: Path) -> None:
    """Its own words, whoever else speaks before and after it."""
    (checkout / "dvc.yaml").write_text(SHARED)
    (checkout / "source.txt").write_text("source")
    with pytest.raises(WorkspaceError) as caught:
        sandbox.bring(checkout, ["breaks"], subject="until 2013-10-01", home=checkout, profile="local")
    assert str(caught.value) == (
        "the pipeline of until 2013-10-01 stops at breaks\n"
        "  in a checkout of its own, where it says:\n"
        "  SplitError: the split fails\n"
        "    in usecase.split\n"
        "  Mend that, or choose another one."
    )
