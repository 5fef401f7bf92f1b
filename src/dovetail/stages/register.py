"""The evaluation joins the run, and the run becomes a model version with the alias challenger."""

import logging
from typing import Any

from dovetail.contracts.journal import REGISTER
from dovetail.contracts.model_folders import MODEL_FILE, to_tag
from dovetail.errors import TrackingError, WorkspaceError
from dovetail.files import read_json, sha256, write_json
from dovetail.lineage import (
    EVALUATED_PREFIX,
    EVIDENCE,
    IMPORTANCES_FILE,
    KEYS_FILE,
    MEANING_FILE,
    MODEL_FILES,
    MODEL_SHA256,
    PARAMS_FILE,
    RECALLED,
    SETTINGS_FILE,
    THRESHOLD,
)
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_files, model_registry
from dovetail.tools.model_registry import CHALLENGER, ModelVersion

log = logging.getLogger(__name__)
HOLDOUT = "data/training_set/holdout.parquet"
REPORTS = ("evaluation.json", "holdout_predictions.parquet", "split_certificate.json")
# What the run must hold as it is here; the keys are there since `train`.
DOCUMENTS = {name: f"reports/{name}" for name in REPORTS} | {KEYS_FILE: f"models/{KEYS_FILE}"}
OF_TRAINING = (MEANING_FILE, SETTINGS_FILE, PARAMS_FILE, IMPORTANCES_FILE)


def register(settings: Pipeline, workspace: Workspace) -> None:
    """Register what `train` logged, if all of it is there; the same run gives the same version again.

    Raises:
        WorkspaceError: a report of an earlier stage is missing.
        TrackingError: the run is lost, did not end well, or misses what a version is judged by later.
        ModelUnavailableError: the model's files are not those that `train` logged, or are not safe to load.
    """
    receipt = read_json(workspace.read("models/run.json"))
    run_id = receipt["run_id"]
    _require_made(workspace, run_id)
    mlflow = workspace.profile.mlflow
    client = experiments.connect(mlflow)
    experiments.require_run(
        client, run_id, tracking_uri=mlflow.tracking_uri, receipt="models/run.json", tags=receipt["tags"]
    )
    log.info("register run %s", run_id)

    evaluation = read_json(workspace.read("reports/evaluation.json"))
    experiments.add_results(
        client,
        run_id,
        model_id=receipt["model_id"],
        data=experiments.Input("holdout", HOLDOUT, evaluation["holdout_md5"], evaluation["rows"], {}),
        metrics=_holdout_metrics(evaluation),
        pictures=workspace.read("reports/pictures"),
        documents=[workspace.read(f"reports/{name}") for name in REPORTS],
    )
    evidence = model_registry.seal_evidence(run_id, (*DOCUMENTS, *OF_TRAINING))
    _require_stored(workspace, run_id, evidence)
    place = experiments.model_location(client, receipt["model_id"])
    with model_registry.verified_file(place, receipt["files"], f"the model of run {run_id}") as path:
        model_files.load_model(path)
    version = model_registry.register(
        client,
        settings.usecase.name,
        run_id=run_id,
        model_id=receipt["model_id"],
        model_uri=receipt["model_uri"],
        tags=receipt["tags"]
        | {
            MODEL_FILES: to_tag(receipt["files"]),
            MODEL_SHA256: receipt["files"][MODEL_FILE],
            EVIDENCE: to_tag(evidence),
            EVALUATED_PREFIX + HOLDOUT: evaluation["holdout_md5"],
            THRESHOLD: f"{receipt['threshold']:.6f}",
        },
    )
    _make_challenger(client, workspace, version)
    digest = receipt["files"][MODEL_FILE]
    record = {"name": version.name, "version": version.version, "run_id": version.run_id, "sha256": digest}
    write_json(record, workspace.write("models/version.json"))
    log.info("registered %s", version)


def _make_challenger(client: Any, workspace: Workspace, version: ModelVersion) -> None:
    """Give the version the alias, if it has not got it and was not recalled; the journal says who made the model."""
    name = version.name
    with journal.turn(client, workspace.profile.mlflow, name) as turn:
        if RECALLED in version.tags or turn.history.recall_of(version.key):
            log.warning("%s was recalled and does not become %s; see:  python -m dovetail history", version, CHALLENGER)
        elif turn.aliases.get(CHALLENGER) != version.version:
            why = f"registered from run {version.run_id}"
            turn.move(CHALLENGER, version.version, act=REGISTER, who=git.identity_or_user(workspace.root), why=why)


def _require_made(workspace: Workspace, run_id: str) -> None:
    missing = [path for path in DOCUMENTS.values() if not workspace.read(path).exists()]
    if missing:
        raise WorkspaceError(
            f"{', '.join(missing)} is missing",
            where=f"in {workspace.root}; a version is judged by it later.",
            todo="Make it:  dvc repro",
        )
    evaluated = read_json(workspace.read("reports/evaluation.json"))["run_id"]
    if evaluated != run_id:
        raise TrackingError(
            f"reports/evaluation.json is of run {evaluated}",
            where=f"but models/run.json names {run_id}: `evaluate` was left out.",
            todo="Run the stages before this one too:  dvc repro",
        )


def _require_stored(workspace: Workspace, run_id: str, evidence: dict[str, str]) -> None:
    differ = [name for name, path in DOCUMENTS.items() if evidence[name] != sha256(workspace.read(path))]
    if differ:
        raise TrackingError(
            f"MLflow has not stored {', '.join(differ)} as it is here",
            where=f"among the artifacts of run {run_id}.",
            todo="Look after the artifact store, then:  dvc repro register",
        )


def _holdout_metrics(evaluation: dict[str, Any]) -> dict[str, float]:
    """The model's metrics, and the ends of the AUC's interval."""
    measured = evaluation["models"]["model"]
    values = {f"holdout/{metric}": estimate["value"] for metric, estimate in measured.items()}
    return values | {f"holdout/roc_auc_{end}": measured["roc_auc"][end] for end in ("low", "high")}
