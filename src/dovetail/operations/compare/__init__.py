"""Was it the data or the model? Old and new model on old and new data, and what moved between them."""

import json
import logging
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dovetail.files import write_bytes, write_json
from dovetail.operations.compare.cells import Gathered, columns, gather, judged
from dovetail.operations.compare.findings import Findings
from dovetail.operations.compare.points import Point, find_points
from dovetail.operations.compare.record import document, draw, record
from dovetail.operations.compare.report import screen
from dovetail.operations.compare.thread import causes
from dovetail.science import pictures
from dovetail.science.attribution import NEW, OLD, Draws, Rows, attribute, measure_cells
from dovetail.science.drift import comparable, is_number, obstacle
from dovetail.science.inputs import Judged, moved_inputs
from dovetail.science.moved_rows import groups, moved_slices
from dovetail.science.slices import slice_columns
from dovetail.settings.arguments import Compare
from dovetail.settings.schema import Pipeline, UseCase
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments

log = logging.getLogger(__name__)
# As many values as the drift stage compares.
MAX_DRIFT_ROWS = 20_000
# Groups and slices of rows are many, and each needs its deviation only.
N_DRAWS = 200
MONTH = "month"


def compare(settings: Pipeline, workspace: Workspace, arguments: Compare) -> None:
    """Print what the change from the old point to the new came from; leave a picture, and a run in MLflow.

    Nothing moves: no alias, no file of the workspace. What DVC has in its cache is brought from there; stages that
    never ran so run in checkouts of their own, and DVC caches what they make.

    Raises:
        SettingsError: the points are unknown, or not of a kind.
        NoChampionError: an alias is not there: nothing was promoted, or nothing registered yet.
        DataVersionError: the data of a point is no longer in the cache, nor in the remote.
        WorkspaceError: a point's code is not known, or its pipeline stops.
        SplitError: there are no rows that a model was not trained on.
    """
    if arguments.format == "json":
        _log_to_stderr()
    client = experiments.connect(workspace.profile.mlflow)
    old, new = find_points(settings, workspace, client, arguments)
    log.info(
        "compare %s with %s; what DVC has not in its cache is made now, which may take minutes", old.title, new.title
    )
    gathered = gather(old, new, workspace, settings.usecase.label)
    found = _find(settings, {OLD: old, NEW: new}, gathered)
    figure, picture = draw(found), workspace.write("comparison.png")
    write_bytes(pictures.png(figure), picture)
    places = record(client, workspace.profile.mlflow, settings.usecase.name, found, figure)
    answer = document(found) | places | {"picture": str(picture)}
    write_json(answer, workspace.write("comparison.json"))
    if arguments.format == "json":
        print(json.dumps(answer, indent=2, ensure_ascii=False, default=str))
    else:
        print(screen(found, _look_at(workspace, picture, places)))


def _find(settings: Pipeline, points: Mapping[str, Point], gathered: Gathered) -> Findings:
    usecase = settings.usecase
    metric, evaluation = usecase.gate.metric, usecase.evaluation
    rows = columns(gathered, usecase.label)
    cells = measure_cells(rows, metric, evaluation.n_bootstrap, settings.seed)
    sides = {side: judged(gathered, rows, side, usecase.label) for side in (OLD, NEW)}
    old, new = sides[OLD], sides[NEW]
    attribution = attribute(cells, causes(gathered.differences), evaluation.confidence)
    return Findings(
        points=points,
        gathered=gathered,
        rows=rows,
        cells=cells,
        attribution=attribution,
        groups=groups(old, new, metric, Draws(N_DRAWS, attribution.confidence, settings.seed)),
        inputs=moved_inputs(old, new, metric, _distances(old, new, usecase), settings.seed),
        slices=moved_slices(
            {side: _own(rows[side], side) for side in sides},
            {side: _slices(sides, side, usecase) for side in sides},
            metric,
            Draws(N_DRAWS, evaluation.confidence, settings.seed),
            evaluation.min_slice_rows,
        ),
    )


def _own(rows: Rows, side: str) -> Rows:
    return Rows(rows.keys, rows.days, rows.y, {side: rows.predictions[side]})


def _distances(old: Judged, new: Judged, usecase: UseCase) -> dict[str, float | None]:
    """Each input's distance from the old rows to those that came, or to all new ones where too few came."""
    with warnings.catch_warnings(action="ignore"):  # Evidently takes seconds, and uses what others call old
        from dovetail.tools import drift_reports

    came = ~new.X.index.isin(old.X.index)
    current = new.X[came] if came.sum() >= usecase.drift.min_rows else new.X
    found: dict[str, float | None] = {}
    for name in (name for name in old.X if name in new.X):
        before, after = old.X[name], current[name]
        distance: float | str = obstacle(before, after, usecase.drift)
        if not distance:
            reference, values = comparable(before, MAX_DRIFT_ROWS), comparable(after, MAX_DRIFT_ROWS)
            distance = drift_reports.distance(reference, values, is_number(before))
        found[str(name)] = distance if isinstance(distance, float) else None
    return found


def _slices(sides: Mapping[str, Judged], side: str, usecase: UseCase) -> dict[str, pd.Categorical]:
    """The slices of the settings that both sides have a column for, and the month."""
    both = {
        name: chosen
        for name, chosen in usecase.evaluation.slices.items()
        if all(chosen.column in each.X for each in sides.values())
    }
    months = sides[side].moments.strftime("%Y-%m")
    return slice_columns(sides[side].X, both) | {MONTH: pd.Categorical(months, categories=sorted(set(months)))}


def _look_at(workspace: Workspace, picture: Path, places: Mapping[str, str]) -> list[str]:
    shown = picture.relative_to(workspace.root) if picture.is_relative_to(workspace.root) else picture
    return [str(shown), f"run {places['run_id']} in the experiment '{places['experiment']}':  make ui"]


def _log_to_stderr() -> None:
    """Leave standard output to the answer."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
