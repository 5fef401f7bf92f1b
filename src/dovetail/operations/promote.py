"""The gate: the challenger takes the champion's place when it is better on the same rows, or it does not."""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from dovetail.errors import GateRefused, ModelUnavailableError, NoChampionError, TrackingError
from dovetail.files import read_json, read_parquet, write_json
from dovetail.lineage import DATA_VERSION, DEFINITION_HASH, GATE_DECISION, GATE_NUMBERS, GIT_COMMIT, TRAINED_UNTIL
from dovetail.science import estimators
from dovetail.science.comparison import Decision, decide
from dovetail.science.metrics import Numbers
from dovetail.science.slices import slice_columns
from dovetail.science.splits import input_columns
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
        TrackingError: the run that made the challenger is lost, or the challenger is not this workspace's.
    """
    name, mlflow = settings.usecase.name, workspace.profile.mlflow
    client = experiments.connect(mlflow)
    challenger = model_registry.find_alias(client, name, CHALLENGER)
    if challenger is None:
        raise _no_challenger(name, workspace)
    _require_own(challenger, workspace)
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


def _require_own(challenger: ModelVersion, workspace: Workspace) -> None:
    """Nothing, when the challenger is what this workspace made: DVC restores files, and no alias."""
    receipt = workspace.read("models/version.json")
    own = read_json(receipt) if receipt.exists() else None
    if own and own["run_id"] != challenger.run_id:
        raise TrackingError(
            f"the challenger is {challenger}, this workspace made version {own['version']}",
            where="by models/version.json; the gate judges with this workspace's holdout and features.",
            todo="Make this workspace's version the challenger:  python -m dovetail mend",
        )


def _decide(settings: Pipeline, workspace: Workspace, versions: Mapping[str, ModelVersion]) -> Decision:
    """The gate's decision on the holdout of the workspace, on identical rows for all models."""
    usecase = settings.usecase
    holdout = read_parquet(workspace.read("data/training_set/holdout.parquet")).to_pandas()
    X = holdout[input_columns(holdout, usecase.label)]
    y = holdout[usecase.label.column].to_numpy(dtype=int)
    meaning = read_json(workspace.read("data/training_set/definition.json"))["definition_hash"]
    predictions = {}
    for role, version in versions.items():
        _require_unseen(version, usecase.split.holdout.start)
        is_same = version.tags.get(DEFINITION_HASH) == meaning
        predictions[role] = _predict(version, X) if is_same else _predicted(version, holdout[usecase.label.key])
    baseline = model_files.load_model(workspace.read("models/baseline.skops"))
    predictions["baseline"] = estimators.probabilities(baseline, X)
    slices = slice_columns(X, usecase.evaluation.slices)
    return decide(y, predictions, slices, usecase.gate, usecase.evaluation, settings.seed)


def _require_unseen(version: ModelVersion, holdout_start: datetime) -> None:
    trained_until = version.tags.get(TRAINED_UNTIL)
    if trained_until is None or datetime.fromisoformat(trained_until) > holdout_start:
        raise ModelUnavailableError(
            f"{version} cannot be judged on this holdout: it may have been trained on its rows",
            where=f"its tag {TRAINED_UNTIL} is {trained_until}, the holdout starts at {holdout_start.isoformat()}.",
            todo="Move usecase.split in conf/usecase/, so that the holdout is new to both models, and:  dvc repro",
        )


def _predict(version: ModelVersion, X: pd.DataFrame) -> Numbers:
    """What the model says of the holdout as it is now."""
    with model_registry.model_file(version) as path:
        return estimators.probabilities(model_files.load_model(path), X)


def _predicted(version: ModelVersion, keys: "pd.Series[Any]") -> Numbers:
    """What the model said of these rows when it was evaluated, with its own features, which are no longer computed."""
    with tempfile.TemporaryDirectory(prefix="dovetail-gate-") as folder:
        path = model_registry.fetch_evidence(version, "holdout_predictions.parquet", Path(folder))
        said = read_parquet(path).to_pandas().set_index("key")["probability"] if path else pd.Series(dtype=float)
    found = said.reindex(keys)
    if found.isna().any():
        raise ModelUnavailableError(
            f"{version} has other features, and did not predict {int(found.isna().sum())} of the {len(keys)} rows",
            where="of this holdout: its features are no longer computed, and its run has no predictions for them.",
            todo="Evaluate it on this holdout at its own commit, or choose by hand in the MLflow UI:  make ui",
        )
    return found.to_numpy()


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
