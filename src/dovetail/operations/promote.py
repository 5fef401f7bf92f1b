"""The gate: the challenger takes the champion's place when it is better on the same rows, or it does not."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd

from dovetail.errors import GateRefused, ModelUnavailableError, NoChampionError
from dovetail.files import read_parquet, write_json
from dovetail.lineage import DATA_VERSION, GATE_DECISION, GATE_NUMBERS, GIT_COMMIT, TRAINED_UNTIL
from dovetail.science import estimators
from dovetail.science.comparison import Decision, decide
from dovetail.science.slices import slice_columns
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, model_files, model_registry
from dovetail.tools.model_registry import CHALLENGER, CHAMPION, ModelVersion

log = logging.getLogger(__name__)
RECORD = "reports/promotion.json"
MOST = 10


def promote(settings: Pipeline, workspace: Workspace) -> None:
    """Let the gate decide on the challenger; its version's description and tags say how, whatever it decides.

    Raises:
        GateRefused: the challenger is not better; the champion stays.
        NoChampionError: there is no challenger.
        ModelUnavailableError: a model was trained on rows of the holdout, or cannot be loaded.
        TrackingError: the run that made the challenger is lost.
    """
    name, mlflow = settings.usecase.name, workspace.profile.mlflow
    client = experiments.connect(mlflow)
    challenger = model_registry.find_alias(client, name, CHALLENGER)
    if challenger is None:
        raise _no_challenger(name, workspace)
    champion = model_registry.find_alias(client, name, CHAMPION)
    experiments.require_run(client, challenger.run_id, tracking_uri=mlflow.tracking_uri, receipt=str(challenger))
    if champion and champion.version == challenger.version:
        log.info("%s is the champion already: nothing to promote", challenger)
        return

    log.info("promote %s over %s?", challenger, champion or "nothing: it is the first")
    decision = _decide(settings, workspace, {"challenger": challenger} | ({"champion": champion} if champion else {}))
    model_registry.annotate(
        client,
        challenger,
        description=_description(challenger, champion, decision),
        tags={GATE_DECISION: "passed" if decision.promoted else "refused", GATE_NUMBERS: json.dumps(decision.numbers)},
    )
    _record(workspace, challenger, champion, decision)
    if not decision.promoted:
        raise GateRefused(
            f"{challenger} is not promoted\n" + "\n".join(_listed(decision.reasons)),
            where=f"{champion or 'No version'} stays champion.",
            expected="The rules are usecase.gate in conf/usecase/; the version's description holds the numbers.",
            todo="Compare the runs:  make ui",
        )
    model_registry.set_alias(client, name, CHAMPION, challenger.version)
    log.info("%s is the champion now: %s", challenger, "; ".join(decision.reasons))


def _listed(reasons: Sequence[str]) -> list[str]:
    """The first ten reasons, a line each."""
    more = [f"  - and {len(reasons) - MOST} more, in {RECORD}"] if len(reasons) > MOST else []
    return [*(f"  - {reason}" for reason in reasons[:MOST]), *more]


def _no_challenger(name: str, workspace: Workspace) -> NoChampionError:
    """The error that tells a version that MLflow has lost from one that was never made."""
    is_lost = workspace.read("models/version.json").exists()
    uri = experiments.public_uri(workspace.profile.mlflow.tracking_uri)
    return NoChampionError(
        f"no version of model '{name}' has the alias '{CHALLENGER}'",
        where=f"in MLflow at {uri}{', though models/version.json names one' if is_lost else ''}.",
        todo="Make it again:  python -m dovetail mend" if is_lost else "Make one first:  make run",
    )


def _decide(settings: Pipeline, workspace: Workspace, versions: Mapping[str, ModelVersion]) -> Decision:
    """The gate's decision on the holdout of the workspace, on identical rows for all models."""
    usecase = settings.usecase
    holdout = read_parquet(workspace.read("data/training_set/holdout.parquet")).to_pandas()
    X = holdout[usecase.label.inputs(holdout)]
    y = holdout[usecase.label.column].to_numpy(dtype=int)
    predictions = {role: _predict(version, X, usecase.split.holdout.start) for role, version in versions.items()}
    baseline = model_files.load_model(workspace.read("models/baseline.skops"))
    predictions["baseline"] = estimators.probabilities(baseline, X)
    slices = slice_columns(X, usecase.evaluation.slices)
    return decide(y, predictions, slices, usecase.gate, usecase.evaluation, settings.seed)


def _predict(version: ModelVersion, X: pd.DataFrame, holdout_start: datetime) -> Any:
    trained_until = version.tags.get(TRAINED_UNTIL)
    if trained_until is None or datetime.fromisoformat(trained_until) > holdout_start:
        raise ModelUnavailableError(
            f"{version} cannot be judged on this holdout: it may have been trained on its rows",
            where=f"its tag {TRAINED_UNTIL} is {trained_until}, the holdout starts at {holdout_start.isoformat()}.",
            todo="Move usecase.split in conf/usecase/, so that the holdout is new to both models, and:  dvc repro",
        )
    with model_registry.model_file(version) as path:
        model = model_files.load_model(path)
    missing = sorted(set(getattr(model, "feature_names_in_", ())) - set(X))
    if missing:
        raise ModelUnavailableError(
            f"{version} needs {len(missing)} columns that the training set no longer has: {', '.join(missing[:10])}",
            where="in data/training_set/holdout.parquet.",
            todo="Bring the features back, or take the alias away in the MLflow UI:  make ui",
        )
    return estimators.probabilities(model, X)


def _description(challenger: ModelVersion, champion: ModelVersion | None, decision: Decision) -> str:
    """For people, in Markdown, as MLflow's UI shows it."""
    verdict = "**Promoted**" if decision.promoted else "**Not promoted**"
    over = f"against {champion}" if champion else "as the first version"
    lines = [
        f"{verdict} {over}, on the same rows of the holdout.",
        *(f"- {reason}" for reason in decision.reasons),
        "",
        f"Code `{challenger.tags.get(GIT_COMMIT, '?')[:10]}`, data `{challenger.tags.get(DATA_VERSION, '?')}`.",
    ]
    return "\n".join(lines)


def _record(workspace: Workspace, challenger: ModelVersion, champion: ModelVersion | None, decision: Decision) -> None:
    record = {
        "run_id": challenger.run_id,
        "challenger": str(challenger),
        "champion": str(champion) if champion else None,
        "promoted": decision.promoted,
        "reasons": decision.reasons,
        "numbers": decision.numbers,
    }
    write_json(record, workspace.root / RECORD)
