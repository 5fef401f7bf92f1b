"""What the last run made, on one screen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dovetail.files import read_json
from dovetail.lineage import PROMOTION_FILE
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace

RECORD = f"reports/{PROMOTION_FILE}"
LOOK_AT = (
    ("reports/drift.html", "what moved between training and the newest month"),
    ("reports/pictures/holdout_slices.png", "where the model is good, and where it is not"),
    ("reports/evaluation.json", "every number behind this page"),
    ("reports/split_certificate.json", "why those numbers can be believed"),
)


def summary(settings: Pipeline, workspace: Workspace) -> None:
    """Print the metric with its interval, the gate's decision, drift, what to look at and how to look further."""
    evaluation = read_json(workspace.read("reports/evaluation.json"))
    version = read_json(workspace.read("models/version.json"))
    drift = read_json(workspace.read("metrics/drift.json"))
    newest = _newest_predictions(Path(workspace.profile.predictions) / settings.usecase.name)
    print(
        "\n".join(
            [
                "",
                f"{version['name']} version {version['version']} ({settings.model.name}), holdout of "
                f"{evaluation['rows']:,} rows:",
                *_metric_lines(evaluation),
                "",
                f"gate      {_gate_line(workspace, version)}",
                f"drift     {_drift_line(drift)}",
                "",
                "look at",
                *_table([*LOOK_AT, (_shown(newest, workspace.root), "what the champion predicts for the newest rows")]),
                "and compare runs:  make ui",
                "and who moved which model, and why:  python -m dovetail history",
            ]
        )
    )


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]


def _metric_lines(evaluation: dict[str, Any]) -> list[str]:
    titles = {"model": "this model", "request_only": "request only", "baseline": "baseline"}
    share = f"{evaluation['confidence']:.0%}"
    return [
        f"  {titles[name]:<13}ROC AUC {_interval(metrics['roc_auc'])}   Brier {_interval(metrics['brier'])}   {share}"
        for name, metrics in evaluation["models"].items()
    ]


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['value']:.4f} [{estimate['low']:.4f}, {estimate['high']:.4f}]"


def _gate_line(workspace: Workspace, version: dict[str, Any]) -> str:
    path = workspace.root / RECORD
    record = read_json(path) if path.exists() else {}
    if record.get("run_id") != version["run_id"]:
        return "not asked yet about this version:  python -m dovetail promote"
    over = f"against {record['champion']}" if record["champion"] else "as the first version"
    first, *others = record["reasons"]
    more = f" (and {len(others)} reasons more: {RECORD})" if others and record["decision"] == "refused" else ""
    dry = " (dry run)" if record["rules"]["mode"] == "dry_run" else ""
    waits = f"; waits for:  python -m dovetail approve version={version['version']} reason='…'"
    return f"{record['decision']}{dry} {over}: {first}{more}{waits if record['awaits_approval'] else ''}"


def _drift_line(drift: dict[str, Any]) -> str:
    moved = f"{drift['n_drifted']} of {drift['n_columns']} inputs drift, {drift['n_could_not_evaluate']} not evaluated"
    return f"{drift['outcome']} in {drift['month']}: {moved}"


def _newest_predictions(folder: Path) -> Path:
    """The file of predictions that was written last, by the time in its name; the folder when it is empty."""
    return max(folder.glob("*.parquet"), key=lambda path: path.stem.rpartition("_")[2], default=folder)


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
