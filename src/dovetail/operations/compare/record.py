"""A comparison for programs, as a picture, and as a run in MLflow."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dovetail.operations.compare.builds import Build
from dovetail.operations.compare.findings import Findings, cell_names, effect_names, sentence, slice_name
from dovetail.operations.compare.points import RAW, Point
from dovetail.science import pictures
from dovetail.science.attribution import NEW, OLD, Rows
from dovetail.science.comparison import Estimate
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_DRAWN = 10
OUTCOME = "dovetail.comparison"


def document(found: Findings) -> dict[str, Any]:
    """The comparison for programs; a number that is not known is null."""
    attribution, gathered = found.attribution, found.gathered
    levels = {cell: found.cells.level(cell, attribution.confidence) for cell in found.cells.point}
    said = {
        "outcome": attribution.outcome,
        "because_of": _because_of(found),
        "sentence": sentence(found),
        "metric": found.metric,
        "confidence": attribution.confidence,
        **{side: _end(found.points[side], gathered.builds[side, side], found.rows[side]) for side in (OLD, NEW)},
        "same_model": gathered.is_same_model,
        "cells": [cell._asdict() | level._asdict() for cell, level in levels.items()],
        "total": attribution.total._asdict(),
        "effects": {cause: effect._asdict() for cause, effect in attribution.effects.items()},
        "parts": {part: effect._asdict() for part, effect in attribution.parts.items()},
        "differences": [{"part": difference.part, "said": difference.said} for difference in gathered.differences],
        "rows": [group._asdict() | {"change": group.change._asdict()} for group in found.groups],
        "inputs": [row._asdict() for row in found.inputs],
        "slices": [row._asdict() | {"change": row.change._asdict()} for row in found.slices],
    }
    return {name: _known(value) for name, value in said.items()}


def draw(found: Findings) -> "Figure":
    """The cells, what did it, and the inputs and slices that moved most."""
    confidence = found.attribution.confidence
    slices = {slice_name(row): row.change for row in found.slices if not math.isnan(row.change.value)}
    return pictures.comparison(
        cells={name: found.cells.level(cell, confidence) for cell, name in cell_names(found).items()},
        effects=effect_names(found),
        inputs={row.name: row.moves for row in found.inputs[:MOST_DRAWN] if row.moves > 0},
        slices=dict(list(slices.items())[:MOST_DRAWN]),
        metric=found.metric,
        title=f"{found.points[OLD].title} and {found.points[NEW].title}: {found.attribution.outcome}",
    )


def record(client: Any, settings: MLflow, usecase: str, found: Findings, figure: "Figure") -> dict[str, str]:
    """Where a new run in MLflow holds the comparison: its experiment, apart from the trainings', and its id."""
    old, new = found.points[OLD].title, found.points[NEW].title
    experiment = f"{usecase} comparisons"
    with runs.recording(
        client,
        settings,
        experiment=experiment,
        run_name=f"{old} and {new}",
        description=sentence(found),
        tags={OUTCOME: found.attribution.outcome, "mlflow.source.name": "dovetail compare"},
    ) as run_id:
        note = f"Comparisons of models of '{usecase}', by `python -m dovetail compare`; trainings are elsewhere."
        experiments.describe_experiment(client, run_id, note)
        params = {"old": old, "new": new, "metric": found.metric, "outcome": found.attribution.outcome}
        experiments.log_results(params, _metrics(found))
        experiments.log_document(document(found), "comparison.json")
        experiments.log_pictures({"comparison": figure})
    return {"experiment": experiment, "run_id": run_id}


def _metrics(found: Findings) -> dict[str, float]:
    """The cells and effects by names that MLflow allows."""
    names = {cell: name.replace(",", "") for cell, name in cell_names(found).items()}
    metrics = {f"{found.metric}/{name}": found.cells.point[cell] for cell, name in names.items()}
    effects: dict[str, Estimate] = {"total": found.attribution.total} | dict(found.attribution.effects.items())
    for cause, effect in effects.items():
        metrics[f"change/{cause}"] = effect.value
        metrics[f"change/{cause}_low"] = effect.low
        metrics[f"change/{cause}_high"] = effect.high
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


def _because_of(found: Findings) -> list[str]:
    """What the change came from; of the model its parts that differ."""
    outcome = found.attribution.outcome
    data = ["data"] if outcome in ("data", "both", "data or model") else []
    return [*data, *(found.parts if outcome in ("model", "both", "data or model") else [])]


def _end(point: Point, build: Build, rows: Rows) -> dict[str, Any]:
    return {
        "title": point.title,
        "commit": point.commit or None,
        "raw_data": build.hashes[RAW],
        "until": build.params["usecase"]["until"],
        "rows": len(rows.y),
        "days": rows.n_days,
    }


def _known(value: Any) -> Any:
    """The value with null for every number that is none: JSON knows no other way to say so."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: _known(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return value
