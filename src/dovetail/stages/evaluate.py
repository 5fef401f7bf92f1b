"""The model against its references on the holdout: overall and by slice, with bootstrap intervals."""

import logging
from typing import Any

import pandas as pd
import pyarrow as pa

from dovetail.files import read_json, read_parquet, write_bytes, write_json, write_parquet
from dovetail.science import estimators, pictures
from dovetail.science.comparison import Bootstrap, Resampling, SliceRow, bootstrap, by_slice, time_blocks
from dovetail.science.metrics import METRICS, Numbers, calibration, roc_points
from dovetail.science.slices import slice_columns
from dovetail.science.splits import input_columns
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools.model_files import load_model

log = logging.getLogger(__name__)
MODELS = ("model", "request_only", "baseline")


def evaluate(settings: Pipeline, workspace: Workspace) -> None:
    """Measure the models on the holdout; writes metrics, plots, pictures and the report that `register` attaches."""
    path = workspace.read("data/training_set/holdout.parquet")
    holdout = read_parquet(path).to_pandas()
    receipt = read_json(workspace.read("models/run.json"))
    models = {name: load_model(workspace.read(f"models/{name}.skops")) for name in MODELS}
    log.info("evaluate %s on %d rows", ", ".join(models), len(holdout))

    chosen = settings.usecase.evaluation
    label = settings.usecase.label
    X = holdout[input_columns(holdout, label)]
    y = holdout[label.column].to_numpy(dtype=int)
    predictions = {name: estimators.probabilities(model, X) for name, model in models.items()}
    blocks = time_blocks(holdout["event_timestamp"], chosen.block_hours)
    resampling = Resampling(chosen.n_bootstrap, chosen.confidence, settings.seed, blocks)
    overall = bootstrap(y, predictions, resampling)
    columns = slice_columns(X, chosen.slices)
    slices = by_slice(y, predictions, columns, "roc_auc", chosen.min_slice_rows, resampling)

    _write_plots(workspace, y, predictions, slices)
    _write_pictures(workspace, y, predictions, slices, receipt["threshold"])
    metrics = {f"holdout/{metric}": overall.point["model"][i] for i, metric in enumerate(METRICS)}
    write_json(metrics, workspace.write("metrics/holdout.json"))
    # With these the gate can judge the model later, when its features are no longer computed.
    kept = pa.table({"key": holdout[label.key], "probability": predictions["model"]})
    write_parquet(kept, workspace.write("reports/holdout_predictions.parquet"))
    report = {"run_id": receipt["run_id"], "rows": len(y), "holdout_md5": dvc_hash(path)} | _report(overall, slices)
    write_json(report, workspace.write("reports/evaluation.json"))
    log.info("evaluated: AUC %.4f on %d rows", metrics["holdout/roc_auc"], len(y))


def _report(overall: Bootstrap, slices: list[SliceRow]) -> dict[str, Any]:
    return {
        "confidence": overall.resampling.confidence,
        "models": {
            name: {metric: estimate._asdict() for metric, estimate in overall.estimates(name).items()}
            for name in overall.point
        },
        "gain_over": {
            name: overall.gain("model", name, "roc_auc")._asdict() for name in overall.point if name != "model"
        },
        "slices": [row._asdict() | {"metric": row.metric._asdict()} for row in slices],
    }


def _write_plots(workspace: Workspace, y: Numbers, predictions: dict[str, Numbers], slices: list[SliceRow]) -> None:
    """The points that `dvc plots show` draws, of the model alone."""
    own = [row for row in slices if row.model == "model" and not row.too_small]
    tables = {
        "roc": pd.DataFrame(roc_points(y, predictions["model"])._asdict()),
        "calibration": pd.DataFrame(calibration(y, predictions["model"], 20)._asdict()),
        "slices": pd.DataFrame(
            {"slice": [f"{row.slice} {row.value}" for row in own], "roc_auc": [row.metric.value for row in own]}
        ),
    }
    for name, table in tables.items():
        write_bytes(table.to_csv(index=False, float_format="%.6f").encode(), workspace.write(f"plots/{name}.csv"))


def _write_pictures(
    workspace: Workspace, y: Numbers, predictions: dict[str, Numbers], slices: list[SliceRow], threshold: float
) -> None:
    drawn = {
        "holdout_curves": pictures.curves(y, predictions, "holdout"),
        "holdout_calibration": pictures.reliability(y, predictions, "holdout"),
        "holdout_confusion": pictures.confusion(y, predictions["model"], threshold, "holdout"),
        "holdout_slices": pictures.slices(slices, "ROC AUC", "holdout, by slice"),
    }
    for name, figure in drawn.items():
        write_bytes(pictures.png(figure), workspace.write(f"reports/pictures/{name}.png"))
