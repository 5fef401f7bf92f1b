"""The gate: challenger and champion on identical rows that neither has seen, and what the rules say about it.

`judge` changes nothing in the world. Whoever asks keeps its record, and does what it says.
"""

import math
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dovetail.errors import ModelUnavailableError, WorkspaceError
from dovetail.files import read_json, read_parquet
from dovetail.lineage import DEFINITION_HASH, KEYS_FILE, TRAINED_UNTIL
from dovetail.science import estimators
from dovetail.science.behaviour import Answer, answer, changed
from dovetail.science.comparison import Resampling, time_blocks
from dovetail.science.decision import BASELINE, CHALLENGER, CHAMPION, Decision, decide, undecided
from dovetail.science.metrics import Numbers
from dovetail.science.slices import slice_columns
from dovetail.science.splits import Check, input_columns
from dovetail.science.training_keys import seen
from dovetail.settings.dvc_files import dvc_hash, require_as_made
from dovetail.settings.schema import Behaviour, Change, Gate, Pipeline
from dovetail.settings.validation import Problem, nearest, stop_at
from dovetail.settings.workspace import Workspace
from dovetail.tools import model_files, model_registry
from dovetail.tools.model_registry import ModelVersion

PASSED, REFUSED, OFF = "passed", "refused", "off"
HOLDOUT = "data/training_set/holdout.parquet"
DEFINITION = "data/training_set/definition.json"
BASELINE_FILE = "models/baseline.skops"
_ELSEWHERE = "move usecase.split in conf/usecase/, so that the holdout is new to it, and: dvc repro"
_UNJUDGED = "make it again, or promote once without judgement: python -m dovetail promote usecase.gate.mode=off"


@dataclass(frozen=True)
class Judgement:
    """What the gate found about a challenger.

    Attributes:
        champion: Who it was compared with; None: nobody yet.
        rules: The settings it was judged by, the mode too.
        found: The decision with its checks, numbers, intervals, slices and behaviour; None when the gate is off.
        rows: Which rows decided: path, DVC's hash, count, positives, first and last moment; None when it is off.
    """

    challenger: ModelVersion
    champion: ModelVersion | None
    rules: Gate
    found: Decision | None
    rows: Mapping[str, Any] | None

    @property
    def decision(self) -> str:
        """`PASSED`, `REFUSED`, or `OFF`: nothing was judged."""
        if self.found is None:
            return OFF
        return PASSED if self.found.passed else REFUSED

    @property
    def promotes(self) -> bool:
        """Whether the challenger may become the champion: it passed, or nobody wanted to know; never in a dry run."""
        return self.decision != REFUSED and self.rules.mode != "dry_run"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences with the numbers."""
        return self.found.reasons if self.found else ("the gate is off (usecase.gate.mode): nothing was judged",)

    @property
    def numbers(self) -> Mapping[str, float]:
        """By the names of MLflow's metrics."""
        return self.found.numbers if self.found else {}

    def as_dict(self) -> dict[str, Any]:
        """All of it, for a JSON file; null is what could not be measured."""
        found = self.found or undecided(())
        record = {
            "challenger": str(self.challenger),
            "run_id": self.challenger.run_id,
            "champion": str(self.champion) if self.champion else None,
            "champion_run_id": self.champion.run_id if self.champion else None,
            "decision": self.decision,
            "reasons": self.reasons,
            "numbers": self.numbers,
            "checks": [asdict(check) for check in found.checks],
            "rows": self.rows,
            "rules": self.rules.model_dump(mode="json", exclude_none=True),
            "models": found.models,
            "gains": found.gains,
            "slices": found.slices,
            "calibration": found.calibration,
            "behaviour": found.answers,
        }
        return {key: _plain(value) for key, value in record.items()}


def judge(
    settings: Pipeline, workspace: Workspace, challenger: ModelVersion, champion: ModelVersion | None
) -> Judgement:
    """What the rules of `usecase.gate` say about the challenger, on the holdout of the workspace.

    Both models are given the same rows, and it is checked that neither has learned from any of them. A champion whose
    features are no longer computed is taken at the word it gave about these rows when it was evaluated.

    Raises:
        WorkspaceError: the holdout or the baseline is not what the pipeline made, or not the challenger's.
        SettingsError: a behaviour names an input that there is not, or a value of another type.
        ModelUnavailableError: a model cannot be loaded, or the champion has not said anything about a row.
    """
    gate, versions = settings.usecase.gate, [challenger, *([champion] if champion else [])]
    if gate.mode == OFF:
        _load(challenger)
        return Judgement(challenger, champion, gate, found=None, rows=None)
    require_as_made(workspace.root, [HOLDOUT, DEFINITION, BASELINE_FILE])
    rows = read_parquet(workspace.read(HOLDOUT)).to_pandas()
    _require_inputs(gate.behaviour, rows[input_columns(rows.columns, settings.usecase.label)], settings, workspace)
    fair = [check for version in versions for check in unseen(version, rows, settings)]
    if all(check.holds for check in fair):
        decision = _measured(settings, workspace, challenger, champion, rows)
        decision = replace(decision, checks=(*decision.checks, *fair))
    else:
        decision = undecided(fair)
    return Judgement(challenger, champion, gate, decision, _described(rows, settings, workspace))


def unseen(version: ModelVersion, rows: pd.DataFrame, settings: Pipeline) -> list[Check]:
    """Whether the version can be judged on the rows: none of them, and none so old, was learned from.

    Unknown does not hold: a version that has kept no keys may have seen any row.
    """
    return [_keys_unseen(version, rows[settings.usecase.label.key]), _time_unseen(version, rows["event_timestamp"])]


def _keys_unseen(version: ModelVersion, keys: "pd.Series[Any]") -> Check:
    name = f"rows unseen by {version}"
    with tempfile.TemporaryDirectory(prefix="dovetail-keys-") as folder:
        path = model_registry.fetch_evidence(version, KEYS_FILE, Path(folder))
        learned = read_parquet(path) if path else None
    if learned is None:
        return Check(name, False, f"{version} has kept no keys of its rows, so it may have seen these; {_UNJUDGED}")
    known = keys[seen(keys, learned)]
    if known.empty:
        return Check(name, True, f"{version} has seen none of the {len(keys)} rows ({learned.num_rows} keys compared)")
    examples = ", ".join(str(key)[:40] for key in known[:5])
    said = f"{version} has learned from {len(known)} of the {len(keys)} rows (e.g. {examples})"
    return Check(name, False, f"{said}; {_ELSEWHERE}")


def _time_unseen(version: ModelVersion, moments: "pd.Series[Any]") -> Check:
    until, first = version.tags.get(TRAINED_UNTIL, ""), moments.min().to_pydatetime()
    try:
        holds = datetime.fromisoformat(until) <= first
    except (ValueError, TypeError):  # no tag, no moment, or one without a zone
        holds = False
    said = f"{version} has learned from the time before {until or '(unknown)'}, these rows begin at {first.isoformat()}"
    return Check(f"time unseen by {version}", holds, said if holds else f"{said}; {_ELSEWHERE}")


def _measured(
    settings: Pipeline,
    workspace: Workspace,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    rows: pd.DataFrame,
) -> Decision:
    usecase = settings.usecase
    X, y = rows[input_columns(rows.columns, usecase.label)], rows[usecase.label.column].to_numpy(dtype=int)
    meaning = read_json(workspace.read(DEFINITION))["definition_hash"]
    _require_own_features(challenger, meaning)
    model = _load(challenger)
    predictions = {CHALLENGER: estimators.probabilities(model, X)}
    if champion:
        is_same = champion.tags.get(DEFINITION_HASH) == meaning
        keys = rows[usecase.label.key]
        predictions[CHAMPION] = estimators.probabilities(_load(champion), X) if is_same else _said(champion, keys)
    baseline = model_files.load_model(workspace.read(BASELINE_FILE))
    predictions[BASELINE] = estimators.probabilities(baseline, X)
    blocks = time_blocks(rows["event_timestamp"], usecase.evaluation.block_hours)
    resampling = Resampling(usecase.evaluation.n_bootstrap, usecase.gate.confidence, settings.seed, blocks)
    answers = [
        _answer(name, behaviour, model, X, predictions[CHALLENGER], resampling)
        for name, behaviour in usecase.gate.behaviour.items()
    ]
    slices = slice_columns(X, usecase.evaluation.slices)
    return decide(y, predictions, slices, answers, usecase.gate, usecase.evaluation.min_slice_rows, resampling)


def _load(version: ModelVersion) -> Any:
    with model_registry.model_file(version) as path:
        return model_files.load_model(path)


def _said(version: ModelVersion, keys: "pd.Series[Any]") -> Numbers:
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


def _answer(
    name: str, behaviour: Behaviour, model: Any, X: pd.DataFrame, before: Numbers, resampling: Resampling
) -> Answer:
    frame = changed(X, behaviour)
    rows = frame.index.to_numpy()
    moves = estimators.probabilities(model, frame) - before[rows] if len(rows) else before[rows]
    return answer(name, behaviour, moves, resampling.within(rows))


def _require_own_features(challenger: ModelVersion, meaning: str) -> None:
    if challenger.tags.get(DEFINITION_HASH) != meaning:
        raise WorkspaceError(
            f"the training set has other features than {challenger}",
            where="in data/training_set/: the feature definitions were changed, and nothing was trained since.",
            todo="Train with them:  dvc repro",
        )


def _require_inputs(
    behaviours: Mapping[str, Behaviour], X: pd.DataFrame, settings: Pipeline, workspace: Workspace
) -> None:
    problems = [
        Problem(f"usecase.gate.behaviour.{name}.change.{column}", text)
        for name, behaviour in behaviours.items()
        for column, change in behaviour.change.items()
        if (text := _misfit(column, change, X))
    ]
    stop_at(problems, settings.model_dump(mode="json"), workspace.root / "conf")


def _misfit(name: str, change: Change, X: pd.DataFrame) -> str:
    """Why the input cannot be changed so; empty when it can."""
    if name not in X:
        return f"no input of the model{nearest(name, list(X.columns))}"
    if pd.api.types.is_numeric_dtype(X[name]):
        return "is a number, and cannot be set to a text" if isinstance(change.set, str) else ""
    return "" if isinstance(change.set, str) else "is a text, and can only be set to another"


def _described(rows: pd.DataFrame, settings: Pipeline, workspace: Workspace) -> dict[str, Any]:
    moments = rows["event_timestamp"]
    return {
        "path": HOLDOUT,
        "md5": dvc_hash(workspace.read(HOLDOUT)),
        "rows": len(rows),
        "positives": int(rows[settings.usecase.label.column].sum()),
        "first": moments.min().isoformat(),
        "last": moments.max().isoformat(),
    }


def _plain(value: Any) -> Any:
    """The value as JSON has it: records as objects, nan as null."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
