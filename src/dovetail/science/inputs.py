"""Which inputs moved between two sides of a comparison, and what each of them does to the metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from dovetail.science.changes import differing
from dovetail.science.metrics import SMALLER_IS_BETTER, Numbers, measure

# Enough to order the inputs, in seconds instead of minutes.
MAX_EXCHANGED_ROWS = 20_000
MAX_SHUFFLED_ROWS = 5_000


@dataclass(frozen=True, eq=False)
class Judged:
    """What a side's own model is judged on, and says: inputs by label key, labels, moments, probabilities."""

    X: pd.DataFrame
    y: Numbers
    p: Numbers
    moments: "pd.DatetimeIndex"
    predict: Callable[[pd.DataFrame], Numbers]

    def at(self, keys: pd.Index) -> "Judged":
        """The rows of these keys, in their order."""
        place = self.X.index.get_indexer(keys)
        return Judged(self.X.iloc[place], self.y[place], self.p[place], self.moments[place], self.predict)


class MovedInput(NamedTuple):
    """One input, and how much of the change it can explain.

    Args:
        name: The column.
        moves: What it moves the metric by: exchanged on the rows that both sides have, and by drift on the others.
        changed: The share of the rows that both sides have on which its value differs; nan without such rows.
        distance: Of the new side's values from the old side's; None when they cannot be compared.
        missing_old, missing_new: Shares of missing values.
    """

    name: str
    moves: float
    changed: float
    distance: float | None
    missing_old: float
    missing_new: float


def exchanged(old: Judged, new: Judged, metric: str) -> dict[str, tuple[float, float]]:
    """For each input that both sides have: what exchanging its values moves the metric by, and where they differ.

    On the rows of both sides, the input alone is exchanged: the old model gets the new values, and the new model the
    old ones. The mean of what that moves counts, whatever the direction: a model that has learned from a broken input
    is hurt by the sound one. Where a value is the same nothing is predicted again.
    """
    both = _thinned(old.X.index.intersection(new.X.index), MAX_EXCHANGED_ROWS)
    if not len(both):
        return {}
    sides = (old.at(both), new.at(both))
    names = common_columns(old.X, new.X)
    differs = differing_cells(sides[0].X[names], sides[1].X[names])
    moved: dict[str, list[float]] = {name: [] for name in names}
    for mine, others in (sides, sides[::-1]):
        before = metric_of(mine.y, mine.p, metric)
        for name in names:
            rows = differs[name].to_numpy()
            p = mine.p.copy()
            if rows.any():
                p[rows] = mine.predict(mine.X[rows].assign(**{name: others.X.loc[rows, name]}))
            moved[name].append(abs(metric_of(mine.y, p, metric) - before))
    return {name: (_mean(moved[name]), float(differs[name].mean())) for name in names}


def importances(side: Judged, metric: str, seed: int) -> dict[str, float]:
    """What the metric loses when an input is shuffled among the rows, none below 0."""
    rows = side.at(_thinned(side.X.index, MAX_SHUFFLED_ROWS))
    sign = -1 if metric in SMALLER_IS_BETTER else 1
    order = np.random.default_rng(seed).permutation(len(rows.y))
    before = metric_of(rows.y, rows.p, metric)
    lost = {}
    for name in common_columns(rows.X, rows.X):
        shuffled = rows.X.assign(**{name: rows.X[name].to_numpy()[order]})
        lost[name] = max(0.0, sign * (before - metric_of(rows.y, rows.predict(shuffled), metric)))
    return lost


def moved_inputs(
    old: Judged,
    new: Judged,
    metric: str,
    distances: Mapping[str, float | None],
    seed: int,
) -> list[MovedInput]:
    """The inputs of both sides, those first that explain most of the change.

    `distances` are of the rows that came, where there are some, and else of all rows of the new side.
    """
    by_exchange = exchanged(old, new, metric)
    came = ~new.X.index.isin(old.X.index)
    use = importances(new.at(new.X.index[came]), metric, seed) if 0 < new.y[came].sum() < came.sum() else {}
    rows = []
    for name in common_columns(old.X, new.X):
        moves, changed = by_exchange.get(name, (0.0, float("nan")))
        distance = distances.get(name)
        moves += float(came.mean()) * min(distance or 0.0, 1.0) * use.get(name, 0.0)
        missing_old, missing_new = (float(side.X[name].isna().mean()) for side in (old, new))
        rows.append(MovedInput(name, moves, changed, distance, missing_old, missing_new))
    return sorted(rows, key=lambda row: (-row.moves, -(row.distance or 0.0), row.name))


def differing_cells(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Where the values of equal rows differ, by the columns of both."""
    return pd.DataFrame({name: differing(old[name], new[name]) for name in common_columns(old, new)}, index=old.index)


def common_columns(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """The columns that both have, in the old one's order."""
    return [str(name) for name in old if name in new]


def _thinned(keys: pd.Index, most: int) -> pd.Index:
    """At most so many of the keys, evenly spread over them: no chance is needed to draw them."""
    return keys[np.linspace(0, len(keys) - 1, min(len(keys), most)).astype(int)]


def metric_of(y: Numbers, p: Numbers, metric: str) -> float:
    """The metric; nan without rows of both classes."""
    return float(getattr(measure(y, p), metric)) if 0 < y.sum() < len(y) else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else 0.0
