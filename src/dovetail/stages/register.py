"""The evaluation joins the run, and the run becomes a model version with the alias challenger."""

import logging
import tempfile
from pathlib import Path
from typing import Any

from dovetail.files import read_json, sha256, write_json
from dovetail.lineage import MODEL_SHA256, THRESHOLD
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, model_files, model_registry

log = logging.getLogger(__name__)
DOCUMENTS = ("evaluation.json", "holdout_predictions.parquet", "split_certificate.json")


def register(settings: Pipeline, workspace: Workspace) -> None:
    """Register what `train` logged, after reading it back; the same run gives the same version again."""
    receipt = read_json(workspace.read("models/run.json"))
    evaluation = read_json(workspace.read("reports/evaluation.json"))
    mlflow = workspace.profile.mlflow
    client = experiments.connect(mlflow)
    experiments.require_run(client, receipt["run_id"], tracking_uri=mlflow.tracking_uri, receipt="models/run.json")
    log.info("register run %s", receipt["run_id"])

    experiments.add_evaluation(
        client,
        receipt["run_id"],
        metrics=_holdout_metrics(evaluation),
        pictures=workspace.read("reports/pictures"),
        documents=[workspace.read(f"reports/{name}") for name in DOCUMENTS],
    )
    with tempfile.TemporaryDirectory(prefix="dovetail-register-") as folder:
        stored = model_registry.fetch(receipt["model_uri"], Path(folder))
        model_files.load_model(stored)
        digest = sha256(stored)
    version = model_registry.register(
        client,
        settings.usecase.name,
        run_id=receipt["run_id"],
        model_id=receipt["model_id"],
        model_uri=receipt["model_uri"],
        tags=receipt["tags"] | {MODEL_SHA256: digest, THRESHOLD: f"{receipt['threshold']:.6f}"},
    )
    record = {"name": version.name, "version": version.version, "run_id": version.run_id, "sha256": digest}
    write_json(record, workspace.write("models/version.json"))
    log.info("registered %s as %s", version, model_registry.CHALLENGER)


def _holdout_metrics(evaluation: dict[str, Any]) -> dict[str, float]:
    """The model's metrics, and the ends of the AUC's interval."""
    measured = evaluation["models"]["model"]
    values = {f"holdout/{metric}": estimate["value"] for metric, estimate in measured.items()}
    return values | {f"holdout/roc_auc_{end}": measured["roc_auc"][end] for end in ("low", "high")}
