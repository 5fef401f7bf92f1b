"""From the train part to a model, its two references, and the MLflow run that holds everything about it."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.inspection import permutation_importance
from sklearn.pipeline import Pipeline as Estimator

from dovetail.contracts.model_folders import TRUSTED_TYPES
from dovetail.files import read_json, read_parquet, sha256, write_json, write_parquet
from dovetail.lineage import (
    EXPERIMENT,
    IMPORTANCES_FILE,
    KEYS_FILE,
    MEANING_FILE,
    PARAMS_FILE,
    SETTINGS_FILE,
    THRESHOLD,
    Lineage,
    fingerprint,
)
from dovetail.science import estimators, pictures
from dovetail.science.metrics import best_threshold, measure
from dovetail.science.splits import input_columns
from dovetail.science.training_keys import ENCODING, learned_keys
from dovetail.settings.dvc_files import dvc_hash, recorded_hashes
from dovetail.settings.schema import Baseline, Logistic, Pipeline
from dovetail.settings.workspace import Workspace, experiment_name
from dovetail.tools import experiments, git, model_files, runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
PATHS = {part: f"data/training_set/{part}.parquet" for part in ("train", "validation")}
N_IMPORTANCE_ROWS = 5_000  # of the validation part: enough to order the columns, in seconds instead of minutes


def train(settings: Pipeline, workspace: Workspace) -> float:
    """Fit, record and save the chosen model; returns its AUC on the validation part, for Hydra's sweepers."""
    frames = {part: read_parquet(workspace.read(path)).to_pandas() for part, path in PATHS.items()}
    label = settings.usecase.label.column
    inputs = input_columns(frames["train"], settings.usecase.label)
    log.info("train %s on %d rows, %d inputs", settings.model.name, len(frames["train"]), len(inputs))

    models = _fit(settings, frames["train"], inputs)
    X, y = frames["validation"][inputs], frames["validation"][label].to_numpy(dtype=int)
    p = estimators.probabilities(models["model"], X)
    threshold = best_threshold(y, p)
    metrics = {f"validation/{name}": value for name, value in measure(y, p)._asdict().items()}
    ranked = _importances(settings, models["model"], X, y)
    drawn = _draw(settings, models, X, y, threshold, ranked)

    receipt = _record(settings, workspace, models["model"], frames, inputs, metrics, threshold, ranked, drawn)
    for name, model in models.items():
        model_files.save_model(model, workspace.write(f"models/{name}.skops"))
    write_json(receipt, workspace.write("models/run.json"))
    write_json(metrics, workspace.write("metrics/validation.json"))
    auc = float(metrics["validation/roc_auc"])
    log.info("trained: AUC %.4f on validation, run %s", auc, receipt["run_id"])
    return auc


def _fit(settings: Pipeline, train: pd.DataFrame, inputs: list[str]) -> dict[str, Estimator]:
    """The chosen model, and its references: the baseline, and a linear model that knows the request only."""
    request_only = Logistic(name="logistic", C=1.0, max_iter=300, seed=settings.seed)
    choices = {
        "model": (settings.model, inputs),
        "request_only": (request_only, settings.usecase.request),
        "baseline": (Baseline(name="baseline", seed=settings.seed), inputs),
    }
    X, y = train[inputs], train[settings.usecase.label.column].astype(int)
    fitted = {}
    for name, (model, columns) in choices.items():
        categorical, numeric = estimators.columns_by_kind(X[columns])
        fitted[name] = estimators.build(model, categorical=categorical, numeric=numeric).fit(X, y)
    return fitted


def _importances(settings: Pipeline, model: Estimator, X: pd.DataFrame, y: Any) -> dict[str, dict[str, float]]:
    """By input, the largest first: what the AUC loses when its column is shuffled, and the deviation of that."""
    rows = X.sample(min(N_IMPORTANCE_ROWS, len(X)), random_state=settings.seed).index
    shuffled = permutation_importance(
        model, X.loc[rows], y[rows], scoring="roc_auc", n_repeats=3, random_state=settings.seed
    )
    measured = zip(X.columns, shuffled.importances_mean, shuffled.importances_std, strict=True)
    return {
        str(name): {"auc_lost": float(mean), "deviation": float(deviation)}
        for name, mean, deviation in sorted(measured, key=lambda item: -item[1])
    }


def _draw(
    settings: Pipeline,
    models: Mapping[str, Estimator],
    X: pd.DataFrame,
    y: Any,
    threshold: float,
    ranked: Mapping[str, Mapping[str, float]],
) -> dict[str, "Figure"]:
    predictions = {name: estimators.probabilities(model, X) for name, model in models.items()}
    lost, deviation = (np.array([of[part] for of in ranked.values()]) for part in ("auc_lost", "deviation"))
    title = f"{settings.usecase.name}: {settings.model.name}, validation"
    return {
        "validation_curves": pictures.curves(y, predictions, title),
        "validation_calibration": pictures.reliability(y, {"model": predictions["model"]}, title),
        "validation_confusion": pictures.confusion(y, predictions["model"], threshold, title),
        "permutation_importance": pictures.importances(list(ranked), lost, deviation, title),
    }


def _record(
    settings: Pipeline,
    workspace: Workspace,
    model: Estimator,
    frames: Mapping[str, pd.DataFrame],
    inputs: list[str],
    metrics: Mapping[str, float],
    threshold: float,
    ranked: Mapping[str, Mapping[str, float]],
    drawn: Mapping[str, "Figure"],
) -> dict[str, Any]:
    """The receipt of a new MLflow run that holds all of this."""
    lineage, experiment = _lineage(settings, workspace, frames), experiment_name()
    client = experiments.connect(workspace.profile.mlflow)
    with runs.recording(
        client,
        workspace.profile.mlflow,
        experiment=settings.usecase.name,
        run_name=" ".join([settings.model.name, *([experiment] if experiment else [])]),
        description=f"{settings.model.name} on {len(frames['train']):,} rows of data version {lineage.data_version}.",
        tags=lineage.tags() | {THRESHOLD: f"{threshold:.6f}"} | ({EXPERIMENT: experiment} if experiment else {}),
    ) as run_id:
        data = [
            experiments.Input.of(part, path, lineage.input_hashes[path], frames[part][inputs])
            for part, path in PATHS.items()
        ]
        experiments.log_inputs(client, run_id, data)
        experiments.log_results(_params(settings), {**metrics, "validation/threshold": threshold})
        experiments.log_pictures(drawn)
        experiments.log_document(settings.model_dump(mode="json"), SETTINGS_FILE)
        experiments.log_document(_definition(workspace)["meaning"], MEANING_FILE)
        if workspace.is_stage:  # by hand, the settings are others
            experiments.log_file(workspace.read(PARAMS_FILE))
        experiments.log_document(ranked, IMPORTANCES_FILE)
        experiments.log_file(_write_keys(settings, workspace, frames))
        example = frames["train"][inputs].head(5)
        logged = experiments.log_model(model, settings.model.name, example, run_id=run_id, trusted_types=TRUSTED_TYPES)
    return asdict(logged) | {"threshold": threshold, "tags": lineage.tags()}


def _definition(workspace: Workspace) -> dict[str, Any]:
    """What `assemble` says of the inputs: the service, what they mean, and its hash."""
    return dict(read_json(workspace.read("data/training_set/definition.json")))


def _write_keys(settings: Pipeline, workspace: Workspace, frames: Mapping[str, pd.DataFrame]) -> Path:
    """The file that says which rows were trained or tuned on."""
    path = workspace.write(f"models/{KEYS_FILE}")
    keys = pd.concat([frame[settings.usecase.label.key] for frame in frames.values()])
    write_parquet(learned_keys(keys), path, ENCODING)
    return path


def _lineage(settings: Pipeline, workspace: Workspace, frames: Mapping[str, pd.DataFrame]) -> Lineage:
    commit, is_dirty = git.state(workspace.root)
    definition = _definition(workspace)
    hashes = {path: str(dvc_hash(workspace.read(path))) for path in PATHS.values()}
    raw = recorded_hashes(workspace.root, "ingest").get("data/raw")
    return Lineage(
        git_commit=commit,
        git_dirty=is_dirty,
        input_hashes=hashes | ({"data/raw": raw} if raw else {}),
        feature_service=definition["feature_service"],
        definition_hash=definition["definition_hash"],
        settings_hash=fingerprint(settings.model_dump(mode="json")),
        environment_hash=sha256(workspace.root / "requirements.lock"),
        trained_until=_trained_until(settings, frames),
    )


def _trained_until(settings: Pipeline, frames: Mapping[str, pd.DataFrame]) -> str:
    """The end of the validation part, or the moment after the last row if the rows go on: they decide."""
    last = max(frame["event_timestamp"].max() for frame in frames.values()).to_pydatetime()
    return str(max(settings.usecase.split.validation.end, last + timedelta(microseconds=1)).isoformat())


def _params(settings: Pipeline) -> dict[str, Any]:
    """Short and in order: the model, then the data."""
    split = settings.usecase.split
    model = settings.model.model_dump()
    return {
        "model": model.pop("name"),
        **{f"model.{key}": value for key, value in model.items()},
        **{f"label.{key}": value for key, value in settings.usecase.label.arguments.items()},
        "split.train": f"{split.train.start:%Y-%m-%d} to {split.train.end:%Y-%m-%d}",
        "split.validation": f"{split.validation.start:%Y-%m-%d} to {split.validation.end:%Y-%m-%d}",
    }
