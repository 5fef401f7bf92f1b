"""The evaluation joins the run, and the run becomes a model version with the alias challenger."""

import logging
from typing import Any

from dovetail.contracts.model_folders import MODEL_FILE, to_tag
from dovetail.errors import TrackingError, WorkspaceError
from dovetail.files import read_json, sha256, write_json
from dovetail.lineage import EVIDENCE, MEANING_FILE, MODEL_FILES, MODEL_SHA256, SETTINGS_FILE, THRESHOLD
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, model_files, model_registry

log = logging.getLogger(__name__)
DOCUMENTS = ("evaluation.json", "holdout_predictions.parquet", "split_certificate.json")


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

    experiments.add_evaluation(
        client,
        run_id,
        metrics=_holdout_metrics(read_json(workspace.read("reports/evaluation.json"))),
        pictures=workspace.read("reports/pictures"),
        documents=[workspace.read(f"reports/{name}") for name in DOCUMENTS],
    )
    evidence = model_registry.seal_evidence(run_id, (*DOCUMENTS, MEANING_FILE, SETTINGS_FILE))
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
            THRESHOLD: f"{receipt['threshold']:.6f}",
        },
    )
    digest = receipt["files"][MODEL_FILE]
    record = {"name": version.name, "version": version.version, "run_id": version.run_id, "sha256": digest}
    write_json(record, workspace.write("models/version.json"))
    log.info("registered %s as %s", version, model_registry.CHALLENGER)


def _require_made(workspace: Workspace, run_id: str) -> None:
    missing = [name for name in DOCUMENTS if not workspace.read(f"reports/{name}").exists()]
    if missing:
        raise WorkspaceError(
            f"{', '.join(missing)} is missing",
            where=f"in {workspace.read('reports')}; a version is judged by it later.",
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
    differ = [name for name in DOCUMENTS if evidence[name] != sha256(workspace.read(f"reports/{name}"))]
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
