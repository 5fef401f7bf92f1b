"""Which rows moved between two sides of a comparison: those that changed, came or left, and by slice."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from dovetail.science.attribution import NEW, OLD, Cell, Draws, Rows, measure_cells
from dovetail.science.comparison import Estimate
from dovetail.science.inputs import Judged, differing_cells, metric_of
from dovetail.science.metrics import Numbers
from dovetail.science.slices import slice_rows

UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))
Fate = Literal["the same", "changed", "came", "left"]


class Group(NamedTuple):
    """Rows with one fate between the old side and the new; a share or metric is nan where a side lacks them.

    Args:
        fate: What became of them.
        rows: How many.
        labels: On how many of them the label itself changed.
        first, last: Their moments.
        positives_old, positives_new: The share of positives.
        metric_old, metric_new: Of each side's own model.
        change: Of the metric, better above 0: of those that changed from old to new, of those that came from all old
            rows.
    """

    fate: Fate
    rows: int
    labels: int
    first: pd.Timestamp
    last: pd.Timestamp
    positives_old: float
    positives_new: float
    metric_old: float
    metric_new: float
    change: Estimate


class MovedSlice(NamedTuple):
    """One value of one slice on both sides; `change` is better above 0, whatever the metric."""

    slice: str
    value: str
    old: float
    new: float
    change: Estimate
    rows_old: int
    rows_new: int
    share_old: float
    share_new: float
    positives_old: float
    positives_new: float


def groups(old: Judged, new: Judged, metric: str, draws: Draws) -> list[Group]:
    """The rows of both sides by fate; fates without rows are left out."""
    both = old.X.index.intersection(new.X.index)
    before, after = old.at(both), new.at(both)
    differs = differing_cells(before.X, after.X).any(axis=1) | (before.y != after.y)
    fates: dict[Fate, pd.Index] = {
        "the same": both[~differs],
        "changed": both[differs],
        "came": new.X.index.difference(old.X.index, sort=False),
        "left": old.X.index.difference(new.X.index, sort=False),
    }
    return [_group(fate, keys, old, new, metric, draws) for fate, keys in fates.items() if len(keys)]


def moved_slices(
    sides: Mapping[str, Rows],
    slices: Mapping[str, Mapping[str, pd.Categorical]],
    metric: str,
    draws: Draws,
    min_rows: int,
) -> list[MovedSlice]:
    """Each slice from the old model on the old data to the new on the new, those first that surely moved most.

    `sides` and `slices` are by side; a slice under `min_rows`, or with one class, on a side has no metric there. The
    error that the draws' confidence leaves is shared by all slices that are measured.
    """
    old, new = ({(name, value): rows for name, value, rows in slice_rows(slices[side])} for side in (OLD, NEW))
    none = np.array([], dtype=int)
    parts = {
        slice_: {OLD: sides[OLD].only(old.get(slice_, none)), NEW: sides[NEW].only(new.get(slice_, none))}
        for slice_ in dict.fromkeys([*old, *new])
    }
    measured = {
        slice_
        for slice_, both in parts.items()
        if all(len(rows.y) >= min_rows and rows.is_measurable for rows in both.values())
    }
    each = draws._replace(confidence=1 - (1 - draws.confidence) / max(1, len(measured)))
    table = [
        _moved_slice(slice_, both, sides, metric, _change(both, metric, each) if slice_ in measured else UNKNOWN)
        for slice_, both in parts.items()
    ]
    return sorted(table, key=lambda row: (-_surely(row.change), -abs(np.nan_to_num(row.change.value))))


def _change(both: Mapping[str, Rows], metric: str, draws: Draws) -> Estimate:
    cells = measure_cells(both, metric, draws.n, draws.seed)
    return cells.effect({Cell(NEW, NEW): 1.0, Cell(OLD, OLD): -1.0}, draws.confidence)


def _moved_slice(
    slice_: tuple[str, str],
    both: Mapping[str, Rows],
    sides: Mapping[str, Rows],
    metric: str,
    change: Estimate,
) -> MovedSlice:
    old, new = both[OLD], both[NEW]
    name, value = slice_
    return MovedSlice(
        slice=name,
        value=value,
        old=metric_of(old.y, old.predictions[OLD], metric),
        new=metric_of(new.y, new.predictions[NEW], metric),
        change=change,
        rows_old=len(old.y),
        rows_new=len(new.y),
        share_old=len(old.y) / max(1, len(sides[OLD].y)),
        share_new=len(new.y) / max(1, len(sides[NEW].y)),
        positives_old=_share(old.y),
        positives_new=_share(new.y),
    )


def _surely(change: Estimate) -> float:
    """How far the change is from zero at the least; nothing when its interval holds zero."""
    nearest = max(change.low, -change.high)
    return nearest if nearest > 0 else 0.0


def _group(fate: Fate, keys: pd.Index, old: Judged, new: Judged, metric: str, draws: Draws) -> Group:
    before = None if fate == "came" else old.at(keys)
    after = None if fate == "left" else new.at(keys)
    moments = (before or after or old).moments
    change = UNKNOWN
    if after is not None and fate != "the same":
        parts = {OLD: _rows(before or old, OLD), NEW: _rows(after, NEW)}
        is_measurable = all(rows.is_measurable for rows in parts.values())
        change = _change(parts, metric, draws) if is_measurable else UNKNOWN
    return Group(
        fate=fate,
        rows=len(keys),
        labels=int((before.y != after.y).sum()) if before and after else 0,
        first=moments.min(),
        last=moments.max(),
        positives_old=_share(before.y) if before else UNKNOWN.value,
        positives_new=_share(after.y) if after else UNKNOWN.value,
        metric_old=metric_of(before.y, before.p, metric) if before else UNKNOWN.value,
        metric_new=metric_of(after.y, after.p, metric) if after else UNKNOWN.value,
        change=change,
    )


def _rows(side: Judged, name: str) -> Rows:
    return Rows(side.X.index.to_numpy(), side.moments.floor("D").asi8, side.y, {name: side.p})


def _share(y: Numbers) -> float:
    return float(y.mean()) if len(y) else UNKNOWN.value
