"""Was it the data or the model? Cells of models on data versions, the effects in them, and what luck explains.

Rows are drawn by day: those of one day share their weather and their delays, and are no independent witnesses.
docs/adr/0025 has the reasons and the measurements.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from dovetail.science.comparison import Estimate
from dovetail.science.metrics import METRICS, SMALLER_IS_BETTER, Numbers, rank

OLD, NEW = "old", "new"
# Models that no side has: the one side's recipe on the other side's data.
OLD_ON_NEW, NEW_ON_OLD = "old recipe, new data", "new recipe, old data"
Cause = Literal["data", "model", "data or model"]
Outcome = Literal["noise", "data", "model", "both", "data or model"]
UNKNOWN = float("nan")
# What rounding alone may do to a metric.
NOTHING = 1e-12


class Cell(NamedTuple):
    """A model, judged on the rows of a data version."""

    model: str
    data: str


class Draws(NamedTuple):
    """How many draws of days there are, from which seed, and how sure all that is asked of them is to be."""

    n: int
    confidence: float
    seed: int


Combination = Mapping[Cell, float]


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one data version that models are judged on.

    Args:
        keys: The label key of each.
        days: The day of each, as a number.
        y: Its label, 0 or 1.
        predictions: Model -> its probability for each.
    """

    keys: Numbers
    days: Numbers
    y: Numbers
    predictions: Mapping[str, Numbers]

    @property
    def n_days(self) -> int:
        """How many days there are."""
        return len(np.unique(self.days))

    @property
    def is_measurable(self) -> bool:
        """Whether there are rows of both classes, on more than one day."""
        return len(self.y) > 0 and 0 < self.y.sum() < len(self.y) and self.n_days > 1

    def only(self, wanted: Numbers) -> "Rows":
        """Those rows, by a mask or by number."""
        predictions = {model: p[wanted] for model, p in self.predictions.items()}
        return Rows(self.keys[wanted], self.days[wanted], self.y[wanted], predictions)


@dataclass(frozen=True, eq=False)
class Cells:
    """Each cell's metric, on all rows and on each draw of days, the same days for all cells."""

    metric: str
    point: Mapping[Cell, float]
    draws: Mapping[Cell, Numbers]
    n_days: Mapping[str, int]  # by data version

    def level(self, cell: Cell, confidence: float) -> Estimate:
        """A cell's metric with its interval."""
        return self._estimate({cell: 1.0}, confidence)

    def effect(self, combination: Combination, confidence: float) -> Estimate:
        """A sum of cells with its interval; above 0 is better, whatever the metric."""
        sign = -1.0 if self.metric in SMALLER_IS_BETTER else 1.0
        return self._estimate({cell: sign * weight for cell, weight in combination.items()}, confidence)

    def _estimate(self, combination: Combination, confidence: float) -> Estimate:
        value = sum(weight * self.point[cell] for cell, weight in combination.items())
        draws = sum(weight * self.draws[cell] for cell, weight in combination.items())
        # A draw without a class measures nothing: it is left out.
        known = np.asarray(draws)[~np.isnan(draws)]
        n_days = min(self.n_days[cell.data] for cell in combination)
        if n_days < 2 or len(known) < 2:
            return Estimate(float(value), UNKNOWN, UNKNOWN)
        # The draws' own deviation is that of n - 1 days; Student's t is for few of them.
        deviation = np.std(known, ddof=1) * np.sqrt(n_days / (n_days - 1))
        half = float(stdtrit(n_days - 1, (1 + confidence) / 2) * deviation)
        return Estimate(float(value), float(value - half), float(value + half))


@dataclass(frozen=True)
class Attribution:
    """What a change came from.

    Args:
        outcome: In one word.
        total: From the old model on the old data to the new model on the new data; above 0 is better.
        effects: What each cause that differs has done; they add up to the total.
        parts: Of the total: `asked`, because models are asked about other rows or values, and `trained`, because it
            is another model; empty when the cells do not say.
        confidence: Of each interval.
    """

    outcome: Outcome
    total: Estimate
    effects: Mapping[Cause, Estimate]
    parts: Mapping[str, Estimate]
    confidence: float


def measure_cells(columns: Mapping[str, Rows], metric: str, n: int, seed: int) -> Cells:
    """The cells of all predictions of all columns, by data version, with `n` draws of days."""
    days = np.unique(np.concatenate([rows.days for rows in columns.values()]))
    at = {data: np.searchsorted(days, rows.days) for data, rows in columns.items()}
    rankings = {
        Cell(model, data): rank(rows.y, p) for data, rows in columns.items() for model, p in rows.predictions.items()
    }
    position, random = METRICS.index(metric), np.random.default_rng(seed)
    draws = {cell: np.full(n, UNKNOWN) for cell in rankings}
    for replicate in range(n):
        drawn = np.bincount(random.integers(0, len(days), len(days)), minlength=len(days)).astype(np.float64)
        weights = {data: drawn[place] for data, place in at.items()}
        for cell, ranking in rankings.items():
            if weights[cell.data].any():
                draws[cell][replicate] = ranking.measure(weights[cell.data])[position]
    point = {cell: float(ranking.measure()[position]) for cell, ranking in rankings.items()}
    return Cells(metric, point, draws, {data: rows.n_days for data, rows in columns.items()})


def attribute(cells: Cells, differs: frozenset[Literal["data", "model"]], confidence: float) -> Attribution:
    """What the change from the old model on the old data to the new one on the new data came from.

    `differs` says what the thread allows as a cause: the raw data, or anything else that a model is made of.
    `confidence` is that of the whole answer: two questions are asked, and each interval gets half of the error.
    """
    each = 1 - (1 - confidence) / 2
    before, after = Cell(OLD, OLD), Cell(NEW, NEW)
    total = cells.effect({after: 1.0, before: -1.0}, each)
    effects: dict[Cause, Estimate] = {}
    if differs == {"data", "model"}:
        by_data, by_model = _halves(cells, before, Cell(OLD_ON_NEW, NEW), Cell(NEW_ON_OLD, OLD), after)
        if by_data:
            effects = {"data": cells.effect(by_data, each), "model": cells.effect(by_model, each)}
        else:
            effects = {"data or model": total}
    elif differs:
        (cause,) = differs
        effects = {cause: total}
    asked, other = _halves(cells, before, Cell(OLD, NEW), Cell(NEW, OLD), after)
    parts = {"asked": cells.effect(asked, each), "trained": cells.effect(other, each)} if asked else {}
    return Attribution(_outcome(effects), total, effects, parts, each)


def is_real(effect: Estimate) -> bool:
    """Whether luck does not explain it: its interval excludes zero."""
    return effect.low > NOTHING or effect.high < -NOTHING


def _halves(cells: Cells, old: Cell, first: Cell, second: Cell, new: Cell) -> tuple[Combination, Combination]:
    """What the first and the second of two steps from `old` to `new` do, on average over both orders of them.

    `first` is where the first step alone leads, `second` where the second does. A cell that is not there leaves one
    order; two leave none, and nothing comes back.
    """
    orders = []
    if first in cells.point:
        orders.append(({first: 1.0, old: -1.0}, {new: 1.0, first: -1.0}))
    if second in cells.point:
        orders.append(({new: 1.0, second: -1.0}, {second: 1.0, old: -1.0}))
    return _mean([order[0] for order in orders]), _mean([order[1] for order in orders])


def _mean(combinations: list[dict[Cell, float]]) -> Combination:
    cells = {cell: 0.0 for combination in combinations for cell in combination}
    for combination in combinations:
        for cell, weight in combination.items():
            cells[cell] += weight / len(combinations)
    return cells


def _outcome(effects: Mapping[Cause, Estimate]) -> Outcome:
    real = [cause for cause, effect in effects.items() if is_real(effect)]
    if not real:
        return "noise"
    return real[0] if len(real) == 1 else "both"
