"""A model version made again from its commit, its data and its settings, and what the two predict compared."""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from dovetail.contracts.model_folders import from_tag
from dovetail.errors import LineageError, TrackingError
from dovetail.files import read_json, read_parquet, sha256, write_bytes
from dovetail.lineage import (
    DATA_VERSION,
    DEFINITION_HASH,
    ENVIRONMENT_HASH,
    EVALUATED_PREFIX,
    EVIDENCE,
    GIT_COMMIT,
    GIT_DIRTY,
    INPUT_PREFIX,
    PARAMS_FILE,
    ModelReference,
)
from dovetail.science import estimators
from dovetail.science.metrics import METRICS, Metrics, measure
from dovetail.science.splits import input_columns
from dovetail.settings.arguments import Reproduce
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import Label, MLflow, Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.text import table
from dovetail.tools import data_versions, git, mlflow_records, sandbox
from dovetail.tools.mlflow_records import Run, Version
from dovetail.tools.model_files import load_model

log = logging.getLogger(__name__)
RAW = "data/raw"
HOLDOUT = "data/training_set/holdout.parquet"
PREDICTIONS = "holdout_predictions.parquet"
LOCK_FILE = "requirements.lock"
# Another processor may end a sum in another last digit; a model that learned something else differs by far more.
TOLERANCE = 1e-9
DIGITS = 12  # of a hash, for people


@dataclass(frozen=True)
class Comparison:
    """What a model and its double predict for the same rows: how many differ, by how much at most, and the metrics."""

    n_rows: int
    n_different: int
    largest: float
    recorded: Metrics
    again: Metrics

    def __str__(self) -> str:
        if self.n_different == 0:
            return f"all {self.n_rows:,} predictions on the holdout are equal to the bit"
        return (
            f"{self.n_different:,} of {self.n_rows:,} predictions on the holdout differ, by {self.largest:.2g} at most"
        )


def reproduce(settings: Pipeline, workspace: Workspace, asked: Reproduce) -> None:
    """Make the version again in a worktree of its commit, from its raw data on, and print how its double compares.

    Nothing of it stays: not in the workspace, not in DVC's cache, not in MLflow.

    Raises:
        LineageError: the double predicts something else, or the world has changed (exit code 2).
        ModelUnavailableError: there is no such version.
        TrackingError: what was recorded of it is lost, was changed, or is not enough to make it again.
        DataVersionError: its data is gone, or was changed.
        WorkspaceError: its commit is gone, or the pipeline fails there.
    """
    mlflow, root = workspace.profile.mlflow, workspace.root
    records = mlflow_records.records(mlflow, lambda: _connect(mlflow))
    version = mlflow_records.named(records, ModelReference.parse(asked.model, settings.usecase.name))
    commit = git.resolve(root, version.tags.get(GIT_COMMIT, "no commit"))
    if not asked.anyway:
        _require_same_world(version, root)
    run = records.runs([version.run_id]).get(version.run_id)
    with tempfile.TemporaryDirectory(prefix="dovetail-reproduce-") as folder:
        params, predicted = (_document(version, run, name, Path(folder)) for name in (PARAMS_FILE, PREDICTIONS))
        raw, holdout = (_recorded(version, key) for key in (INPUT_PREFIX + RAW, EVALUATED_PREFIX + HOLDOUT))
        data_versions.demand(root, {RAW: raw, HOLDOUT: holdout})
        log.info("reproduce %s: commit %s, data %s", version, commit[:DIGITS], version.tags.get(DATA_VERSION))
        cache = data_versions.cache_folder(root)
        with git.worktree(root, commit) as checkout:
            _make(checkout, params.read_bytes(), cache, raw, workspace.profile.name)
            data_versions.place(cache, holdout, Path(folder, "holdout.parquet"))
            rows = read_parquet(Path(folder, "holdout.parquet")).to_pandas()
            label = Label.model_construct(**yaml.safe_load(params.read_bytes())["usecase"]["label"])
            again = estimators.probabilities(
                load_model(checkout / "models/model.skops"), rows[input_columns(rows, label)]
            )
            parts = _parts(version, checkout)
        said = read_parquet(predicted).to_pandas().set_index("key")["probability"]
    compared = compare(said, pd.Series(again, rows[label.key]), rows.set_index(label.key)[label.column])
    print(_report(version, commit, parts, compared))
    if compared.largest > TOLERANCE:
        raise LineageError(
            f"{version} is not what its commit, data and settings give: {compared}",
            where=f"at commit {commit[:DIGITS]}; the table above says what else is not the same.",
            todo=f"See what is not as it was recorded:  "
            f"python -m dovetail trace model={version.name}/{version.version} verify=true",
        )


def compare(recorded: "pd.Series[Any]", again: "pd.Series[Any]", labels: "pd.Series[Any]") -> Comparison:
    """The comparison of two models' predictions of the same rows; all three are by the rows' key.

    A row that only one of them predicted differs by as much as a probability can.
    """
    both = pd.DataFrame({"recorded": recorded, "again": again, "label": labels})
    gap = (both["recorded"] - both["again"]).abs().fillna(1.0)
    whole = both.dropna()
    y = whole["label"].to_numpy(dtype=int)
    return Comparison(
        n_rows=len(both),
        n_different=int(np.count_nonzero(gap)),
        largest=float(gap.max()),
        recorded=measure(y, whole["recorded"].to_numpy(dtype=float)),
        again=measure(y, whole["again"].to_numpy(dtype=float)),
    )


def _connect(mlflow: MLflow) -> object:
    from dovetail.tools import experiments  # two seconds, for servers only

    return experiments.connect(mlflow)


def _recorded(version: Version, key: str) -> str:
    found = version.tags.get(key)
    if not found:
        raise TrackingError(
            f"{version} does not say all that it takes to make it again: it has no tag {key}",
            where="in MLflow; an earlier Dovetail registered it, or somebody did by hand.",
            todo="Train and register a model that does:  make run",
        )
    return found


def _require_same_world(version: Version, root: Path) -> None:
    """Nothing, when commit and packages are those of the time: said before minutes are spent."""
    problems = []
    if version.tags.get(GIT_DIRTY) != "false":
        problems.append(
            f"files that are not those of commit {version.tags[GIT_COMMIT][:DIGITS]} took part in training it"
        )
    path = root / LOCK_FILE
    installed, recorded = sha256(path) if path.exists() else "none", version.tags.get(ENVIRONMENT_HASH, "none")
    if installed != recorded:
        problems.append(
            f"the packages are others: {LOCK_FILE} is {installed[:DIGITS]} here, was {recorded[:DIGITS]};"
            " an environment made from that commit's file would do"
        )
    if problems:
        raise LineageError(
            "\n  - ".join([f"{version} can hardly be made again here", *problems]),
            where=f"in {root}; nothing was computed.",
            todo=f"Try all the same:  python -m dovetail reproduce model={version.name}/{version.version} anyway=true",
        )


def _document(version: Version, run: Run | None, name: str, folder: Path) -> Path:
    """A file of the run, as it was sealed when the version was registered."""
    path = mlflow_records.fetch(run.artifacts, name, folder) if run else None
    sealed = from_tag(version.tags.get(EVIDENCE)).get(name)
    if path and sealed and sha256(path) == sealed:
        return path
    what = "is lost" if path is None else "was not sealed" if sealed is None else "is not what was registered"
    raise TrackingError(
        f"{name} of {version} {what}",
        where=f"among the files of run {version.run_id}.",
        expected=f"its SHA-256 is {sha256(path)}, registered was {sealed}" if path and sealed else "",
        todo="Restore the artifact store, or make the model anew:  python -m dovetail mend",
    )


def _make(checkout: Path, params: bytes, cache: Path, raw: str, profile: str) -> None:
    """Run the commit's own pipeline in the checkout, from the raw data to the model; nothing is taken from a cache."""
    sandbox.isolate(checkout, profile)
    write_bytes(params, checkout / PARAMS_FILE)
    # As in `dvc exp run`, the settings are those of the file, whatever conf/ says.
    sandbox.dvc(checkout, "repro", "config", DVC_EXP_NAME="reproduce")
    data_versions.place(cache, raw, checkout / RAW)
    sandbox.dvc(checkout, "commit", "--force", "ingest")
    sandbox.dvc(checkout, "repro", "--no-run-cache", "--no-commit", "train", PROFILE=profile)


def _parts(version: Version, checkout: Path) -> list[tuple[str, str, str]]:
    """What lies between the raw data and the model: name, hash recorded, hash now."""
    hashes = {
        path: (version.tags.get(prefix + path, ""), dvc_hash(checkout / path) or "")
        for prefix, path in (
            (INPUT_PREFIX, RAW),
            (INPUT_PREFIX, "data/training_set/train.parquet"),
            (INPUT_PREFIX, "data/training_set/validation.parquet"),
            (EVALUATED_PREFIX, HOLDOUT),
        )
    }
    definition = read_json(checkout / "data/training_set/definition.json")["definition_hash"]
    hashes["feature definitions"] = (version.tags.get(DEFINITION_HASH, ""), definition)
    return [(name, recorded, again) for name, (recorded, again) in hashes.items()]


def _report(version: Version, commit: str, parts: list[tuple[str, str, str]], compared: Comparison) -> str:
    rows = [
        ("", "recorded", "made again", ""),
        *(
            (name, recorded[:DIGITS], again[:DIGITS], "" if recorded == again else "differs")
            for name, recorded, again in parts
        ),
        *(
            (name, f"{recorded:.6f}", f"{again:.6f}", "" if recorded == again else "differs")
            for name, recorded, again in zip(METRICS, compared.recorded, compared.again, strict=True)
        ),
    ]
    title = f"{version}, made again at commit {commit[:DIGITS]} on data {version.tags.get(DATA_VERSION)}"
    return f"{title}\n\n{table(rows, right=False)}\n\n{str(compared)[0].upper()}{str(compared)[1:]}."
