"""The models and rows of a comparison: each recipe's features of each data version, and what models say of them."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pandas as pd

from dovetail.errors import SplitError, WorkspaceError
from dovetail.lineage import DEFINITION_HASH
from dovetail.operations.compare.builds import Bench, Build, Trained, bench, registered
from dovetail.operations.compare.points import RAW, TRAINED_ON, Point
from dovetail.operations.compare.thread import Difference, causes, differences
from dovetail.science import estimators
from dovetail.science.attribution import NEW, NEW_ON_OLD, OLD, OLD_ON_NEW, Rows
from dovetail.science.inputs import Judged
from dovetail.science.metrics import Numbers
from dovetail.science.splits import input_columns
from dovetail.settings.schema import Label
from dovetail.settings.workspace import Workspace
from dovetail.tools import model_registry

log = logging.getLogger(__name__)
# Model -> whose recipe it is made by, and of whose data.
MADE_OF = {OLD: (OLD, OLD), OLD_ON_NEW: (OLD, NEW), NEW: (NEW, NEW), NEW_ON_OLD: (NEW, OLD)}


@dataclass(frozen=True, eq=False)
class Gathered:
    """All that a comparison needs.

    Args:
        builds: By recipe and data version, like (old, new): the old recipe on the new data.
        models: By name, as `MADE_OF` has them; the mixed ones where they are needed and can be had.
        differences: What differs between the two points.
    """

    builds: Mapping[tuple[str, str], Build]
    models: Mapping[str, Trained]
    differences: list[Difference]

    @property
    def is_same_data(self) -> bool:
        """Whether both sides have the same raw data."""
        return self.builds[OLD, OLD].hashes[RAW] == self.builds[NEW, NEW].hashes[RAW]

    @property
    def is_same_model(self) -> bool:
        """Whether the model itself did not change."""
        return self.models[OLD].sha256 == self.models[NEW].sha256

    def at(self, data: str) -> list[str]:
        """The models that are judged on a data version: both sides', and the one that was mixed for it."""
        mixed = {OLD: NEW_ON_OLD, NEW: OLD_ON_NEW}[data]
        return [name for name in (OLD, NEW, mixed) if name in self.models and (MADE_OF[name][0], data) in self.builds]


def gather(old: Point, new: Point, workspace: Workspace, label: Label) -> Gathered:
    """The builds and models of both points; where data and recipe both differ, those of each recipe on both data.

    Raises:
        DataVersionError: raw data is no longer in the cache, nor in the remote.
        WorkspaceError: nobody knows the code of a version, or its pipeline stops.
    """
    with ExitStack() as stack:
        benches = _Benches(stack, {OLD: old, NEW: new}, workspace, label)
        builds, models = _own(benches)
        found = differences((old, builds[OLD, OLD]), (new, builds[NEW, NEW]), workspace.root)
        gathered = Gathered(builds, models, found)
        for recipe, data, name in ((OLD, NEW, OLD_ON_NEW), (NEW, OLD, NEW_ON_OLD)):
            with _going_without(f"the {recipe} recipe on the {data} data"):
                builds[recipe, data] = _cross(benches, gathered, recipe, data)
                if causes(found) == {"data", "model"}:
                    models[name] = _mixed(benches, gathered, recipe, data)
    return gathered


def columns(gathered: Gathered, label: Label) -> dict[str, Rows]:
    """The rows of each data version that no model was trained on, with what each model says of them.

    Where models have seen all rows of a data version between them, those remain that its own model has not, and the
    other models say nothing of them.

    Raises:
        SplitError: a side's own model has no such row.
    """
    found = {}
    for data in (OLD, NEW):
        rows = _unseen(gathered, data, gathered.at(data), label)
        found[data] = rows if rows.is_measurable else _unseen(gathered, data, [data], label)
        if not found[data].is_measurable:
            raise SplitError(
                f"the {data} data has no labelled rows of both classes that its model was not trained on",
                where="in its holdout and after it, on two days or more.",
                todo="Compare points whose usecase.split leaves a holdout that is known by then.",
            )
    return found


def judged(gathered: Gathered, rows: Mapping[str, Rows], side: str, label: Label) -> Judged:
    """What the side's own model is judged on."""
    frame = gathered.builds[side, side].rows.loc[rows[side].keys]
    model = gathered.models[side].model
    return Judged(
        X=frame[input_columns(frame.columns, label)],
        y=rows[side].y,
        p=rows[side].predictions[side],
        moments=pd.DatetimeIndex(frame["event_timestamp"]),
        predict=lambda X: estimators.probabilities(model, X),
    )


class _Benches:
    """The benches of both points, each opened when it is first needed."""

    def __init__(self, stack: ExitStack, points: Mapping[str, Point], workspace: Workspace, label: Label) -> None:
        self._stack, self.points, self._workspace, self._label = stack, points, workspace, label
        self._opened: dict[str, Bench] = {}

    def __getitem__(self, side: str) -> Bench:
        if side not in self._opened:
            opening = bench(self.points[side], self._workspace, self._label)
            self._opened[side] = self._stack.enter_context(opening)
        return self._opened[side]


def _own(benches: _Benches) -> tuple[dict[tuple[str, str], Build], dict[str, Trained]]:
    """What each point made of its own data."""
    old, new = benches.points[OLD], benches.points[NEW]
    builds, models = {}, {}
    if _have_same_rows(old, new):
        # One build serves both, so the code of one is enough.
        side, other = (NEW, OLD) if new.commit else (OLD, NEW)
        builds[side, side] = benches[side].own()
        builds[other, other] = _as_of(benches.points[other], builds[side, side])
    else:
        builds = {(side, side): benches[side].own() for side in (OLD, NEW)}
    for side, point in benches.points.items():
        models[side] = registered(point.version) if point.version else benches[side].trained()
    return builds, models


def _have_same_rows(old: Point, new: Point) -> bool:
    """Whether two versions were trained on the same bytes, made of the same raw data by the same definitions."""
    if not (old.version and new.version and old.params and new.params):
        return False
    is_same = all(old.recorded(path) == new.recorded(path) for path in (RAW, *TRAINED_ON))
    holdouts = [point.params["usecase"]["split"]["holdout"] for point in (old, new) if point.params]
    meanings = [point.version.tags.get(DEFINITION_HASH) for point in (old, new) if point.version]
    return is_same and holdouts[0] == holdouts[1] and meanings[0] == meanings[1]


def _as_of(point: Point, build: Build) -> Build:
    """The build with the settings of another version and what it says of its features."""
    meaning = model_registry.meaning_of(point.version) if point.version else {}
    return replace(build, params=point.params or build.params, meaning=meaning or build.meaning)


def _cross(benches: _Benches, gathered: Gathered, recipe: str, data: str) -> Build:
    if gathered.is_same_data:
        return gathered.builds[recipe, recipe]
    if not any(difference.rows for difference in gathered.differences if difference.part != "data"):
        return gathered.builds[data, data]
    return benches[recipe].on(gathered.builds[data, data])


def _mixed(benches: _Benches, gathered: Gathered, recipe: str, data: str) -> Trained:
    """What the recipe's model would be on the other data; its own where that changes nothing that it learns from."""
    own, cross = gathered.builds[recipe, recipe], gathered.builds[recipe, data]
    if cross.has_same_training_set(own):
        return gathered.models[recipe]
    log.info("%s: is trained on the %s data: this takes minutes, once", benches.points[recipe].title, data)
    if cross is gathered.builds[data, data]:  # made in the other's checkout
        benches[recipe].on(cross)
    return benches[recipe].train()


@contextmanager
def _going_without(what: str) -> Iterator[None]:
    """Leaves out what cannot be computed: the effects that need it are said together."""
    try:
        yield
    except WorkspaceError as error:
        log.warning("%s cannot be had: %s\n  %s", what, error.what, error.where)


def _unseen(gathered: Gathered, data: str, models: list[str], label: Label) -> Rows:
    frames = {name: gathered.builds[MADE_OF[name][0], data].rows for name in models}
    truth = frames.get(NEW, frames[models[0]])
    since = max(gathered.models[name].until for name in models) + timedelta(hours=label.maturity_hours)
    wanted = (truth["event_timestamp"] >= since).to_numpy()
    for name, frame in frames.items():
        wanted &= truth.index.isin(frame.index) & ~truth.index.isin(gathered.builds[MADE_OF[name]].learned)
    rows = truth[wanted]
    predictions: dict[str, Numbers] = {}
    for name, frame in frames.items():
        model = gathered.models[name]
        alike = [m for m in predictions if frames[m] is frame and gathered.models[m].sha256 == model.sha256]
        predictions[name] = (
            predictions[alike[0]] if alike else estimators.probabilities(model.model, frame.loc[rows.index])
        )
    return Rows(
        keys=rows.index.to_numpy(),
        days=rows["event_timestamp"].dt.floor("D").astype("int64").to_numpy(),
        y=rows[label.column].to_numpy(dtype=int),
        predictions=predictions,
    )
