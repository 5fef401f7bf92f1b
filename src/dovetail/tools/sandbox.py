"""The pipeline in a checkout beside the one that people work in, run by DVC: walled off, or with what all share."""

import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dovetail.errors import WorkspaceError
from dovetail.files import write_text

# Of the command that starts this one: in another checkout they would lead back to it, or to a run that is open here.
_LEADS = ("DVC_", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "HYDRA_", "MLFLOW_")
# Where MLflow is shared, its address and credentials are wanted.
_LEADS_WHEN_SHARED = (*_LEADS[:-1], "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_")
_STDERR = 2
_GRACE_SECONDS = 10.0
_RUNS = re.compile(r"Running stage '(\w+)'")
_CACHED = re.compile(r"Stage '(\w+)' is cached")
# A stage's last words: from its error on, until DVC repeats it.
_ERROR = re.compile(r"^\w+(?:Error|Refused): .*?(?=^ERROR: failed to reproduce|\Z)", re.MULTILINE | re.DOTALL)
_MOST_SAID = 600

log = logging.getLogger(__name__)


def isolate(checkout: Path, profile: str) -> None:
    """Give the checkout's profile an MLflow and a prediction log of its own; both lie in the checkout.

    The profile is no setting of the pipeline: no stage runs again for it.

    Raises:
        WorkspaceError: the checkout has no such profile.
    """
    path = checkout / "conf" / "profile" / f"{profile}.yaml"
    if not path.exists():
        raise WorkspaceError(
            f"there is no profile '{profile}'",
            where=f"in conf/profile/ of {checkout}",
            expected=f"It has {', '.join(sorted(file.stem for file in path.parent.glob('*.yaml'))) or 'none'}.",
            todo="Choose one of them, or of an earlier name:  PROFILE=local python -m dovetail …",
        )
    said = yaml.safe_load(path.read_text(encoding="utf-8"))
    said["mlflow"] = {"tracking_uri": f"sqlite:///{checkout}/mlflow.db", "artifact_location": f"{checkout}/mlartifacts"}
    said["predictions"] = f"{checkout}/predictions"
    write_text(yaml.safe_dump(said), path)


def dvc(checkout: Path, *arguments: str, **variables: str) -> None:
    """Run `dvc ARGUMENTS` in the checkout, with this Python and the checkout's own code; what it says goes to stderr.

    It has nothing of this command's environment that would lead it elsewhere. When this process is interrupted, it
    ends too, with all that it has started.

    Raises:
        WorkspaceError: it failed; its own message is on stderr.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=checkout,
        env=_environment(checkout) | variables,
        stdout=_STDERR,
        start_new_session=True,
    )
    try:
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code:
        raise WorkspaceError(
            f"dvc {' '.join(arguments)} failed with exit code {code}",
            where=f"in {checkout}; its own message is above.",
            todo="Mend that, and run the same command again.",
        )


def bring(
    checkout: Path,
    stages: Sequence[str],
    *,
    subject: str,
    home: Path,
    profile: str,
    has_own_params: bool = False,
    is_alone: bool = False,
) -> None:
    """Leave the stages' outputs in the checkout: from the cache that it shares where that has them, else computed.

    What is computed is cached, so the next time is quick. Databases are those of `home`: where `train` has to run, its
    run is recorded in MLflow as any other. All ends with this process.

    Args:
        checkout: A clean checkout, whose DVC shares its cache (`data_versions.share_cache`).
        stages: What is wanted, with all that leads to it; with `is_alone`, these stages only, in their order.
        subject: How log lines and errors call what is brought.
        home: The checkout that databases belong to.
        profile: The name of the profile.
        has_own_params: Whether params.yaml there holds more than conf/ gives, as in a DVC experiment.
        is_alone: As above.

    Raises:
        WorkspaceError: a stage fails; its own words are in the message.
    """
    variables = {"DVC_ROOT": str(home), "PROFILE": profile} | ({"DVC_EXP_NAME": "compare"} if has_own_params else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "dvc", "repro", *(["--single-item"] if is_alone else []), *stages],
        cwd=checkout,
        env=_environment(checkout, _LEADS_WHEN_SHARED) | variables,
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    said, cached, ran = [], [], []
    try:
        for line in process.stdout or ():
            said.append(line)
            cached += _CACHED.findall(line)
            for stage in _RUNS.findall(line):
                ran.append(stage)
                if stage != "config":  # which takes a second
                    log.info("%s: %s runs", subject, stage)
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code:
        raise _failed("".join(said), ran, subject)
    if cached:
        log.info("%s: %s from DVC's cache", subject, ", ".join(cached))


def _failed(said: str, ran: Sequence[str], subject: str) -> WorkspaceError:
    """The stage's own words where it has some, else DVC's last ones."""
    errors = _ERROR.findall(said)
    words = errors[-1].strip()[:_MOST_SAID] if errors else said.strip()[-_MOST_SAID:]
    return WorkspaceError(
        f"the pipeline of {subject} stops{f' at {ran[-1]}' if ran else ''}",
        where="in a checkout of its own, where it says:\n  " + words.replace("\n", "\n  "),
        todo="Mend that, or choose another one.",
    )


def _environment(checkout: Path, leads: tuple[str, ...] = _LEADS) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(leads)}
    return inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONPATH": "src",
        "DVC_NO_ANALYTICS": "1",
        # What DVC keeps of each checkout lies elsewhere on the machine by default, and would stay.
        "DVC_SITE_CACHE_DIR": str(checkout / ".dvc" / "tmp" / "site"),
    }


def _end(process: "subprocess.Popen[Any]") -> None:
    """End the process and all of its group: who asks again does not wait for the first to come round."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE_SECONDS)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
