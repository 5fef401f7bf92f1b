"""DVC restores files, not MLflow's records: make again what a receipt names and MLflow has lost."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

from dovetail import production
from dovetail.contracts.journal import REGISTER
from dovetail.errors import ModelUnavailableError, TrackingError, WorkspaceError
from dovetail.files import read_json
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_registry
from dovetail.tools.model_registry import CHALLENGER, ModelVersion

log = logging.getLogger(__name__)


def mend(settings: Pipeline, workspace: Workspace) -> None:
    """Check the receipts of `train` and `register` against MLflow, and rerun the stage whose record is lost.

    Idempotent. A receipt that is in order also gets its alias back: the workspace's version is the challenger.
    """
    run, version = workspace.read("models/run.json"), workspace.read("models/version.json")
    if not run.exists():
        log.info("no receipt yet: nothing to mend; make one:  dvc repro")
        return
    client = experiments.connect(workspace.profile.mlflow)
    try:
        experiments.require_run(
            client,
            read_json(run)["run_id"],
            tracking_uri=workspace.profile.mlflow.tracking_uri,
            receipt="models/run.json",
        )
    except TrackingError as lost:
        _train_again(workspace.root, f"{lost.what}\n{lost.where}")
        return
    if version.exists():
        _mend_version(client, settings.usecase.name, read_json(version)["version"], workspace)


def _train_again(root: Path, lost: str) -> None:
    log.warning("%s\nMaking it again.", lost)
    _dvc(root, "repro", "assemble")
    # Forced, or DVC would restore the receipt of the lost run from its cache.
    _dvc(root, "repro", "--force", "--single-item", "train")
    _dvc(root, "repro", "register")


def _mend_version(client: Any, name: str, number: int, workspace: Workspace) -> None:
    found = model_registry.find_version(client, name, number)
    if found is None:
        log.warning("%s version %d, which models/version.json names, is not in MLflow. Making it again.", name, number)
        _dvc(workspace.root, "repro", "--force", "--single-item", "register")
        return
    try:
        with model_registry.model_file(found):
            pass
    except ModelUnavailableError as lost:
        _train_again(workspace.root, f"{lost.what}\n{lost.where}")
        return
    _mend_alias(client, found, workspace)
    log.info("MLflow has what the receipts name")


def _mend_alias(client: Any, version: ModelVersion, workspace: Workspace) -> None:
    """The workspace's version is the challenger again, unless it was recalled."""
    history = production.look(client, workspace, version.name)
    challenger = model_registry.find_alias(client, version.name, CHALLENGER)
    if challenger and challenger.version == version.version:
        return
    if recalled := production.recall_of(version, history):
        log.warning("%s, which this workspace made, %s; it does not become %s", version, recalled, CHALLENGER)
        return
    with journal.turn(client, workspace.profile.mlflow, version.name) as turn:
        why = "DVC restored it in a workspace: models/version.json names it"
        turn.move(CHALLENGER, version.version, act=REGISTER, who=git.identity_or_user(workspace.root), why=why)
    log.info("%s, which DVC restored, is the challenger again", version)


def _dvc(root: Path, *arguments: str) -> None:
    try:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True)
    except subprocess.CalledProcessError as error:
        raise WorkspaceError(
            f"dvc {' '.join(arguments)} failed with exit code {error.returncode}",
            where=f"in {root}; its own message is above.",
            todo="Mend that, then:  python -m dovetail mend",
        ) from error
