"""How good predicted probabilities are: numbers, the best threshold and the curves' points, with numpy alone.

A `Ranking` sorts the predictions once, so that the bootstrap can measure them under many weights quickly.
Each number equals scikit-learn's, ties and weights included; the tests hold it to that.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]
METRICS = ("roc_auc", "average_precision", "brier", "log_loss")
SMALLER_IS_BETTER = frozenset({"brier", "log_loss"})


class Metrics(NamedTuple):
    """What the predictions score: all are in 0..1 but `log_loss`; nan means that a class is absent."""

    roc_auc: float
    average_precision: float
    brier: float
    log_loss: float


class Roc(NamedTuple):
    """A ROC curve's points, from (0, 0) to (1, 1)."""

    false_positive_rate: Numbers
    true_positive_rate: Numbers


class Calibration(NamedTuple):
    """Bins of rows by prediction, lowest first: mean prediction, share of positives, number of rows."""

    predicted: Numbers
    observed: Numbers
    rows: Numbers


class Counts(NamedTuple):
    """How many positives and negatives are predicted at or above each distinct value, the highest value first."""

    positives: Numbers
    negatives: Numbers


@dataclass(frozen=True, eq=False)
class Ranking:
    """Predictions sorted from the highest to the lowest, once; a run is the rows of one distinct prediction.

    Args:
        order: Where each sorted row stood.
        ends: How many sorted rows end with each run.
        hits: How many positives end with each run.
        positives: Where each positive stood, sorted likewise.
        before, until, hits_until: Of the runs that hold a positive: rows before, rows and positives until their end.
        losses: Squared and logarithmic loss of each row, rows in their first order.
    """

    order: Numbers
    ends: Numbers
    hits: Numbers
    positives: Numbers
    before: Numbers
    until: Numbers
    hits_until: Numbers
    losses: Numbers

    def counts(self) -> Counts:
        """The rows at or above each distinct prediction, by label."""
        return Counts(self.hits, self.ends - self.hits)

    def measure(self, weight: Numbers | None = None) -> Metrics:
        """The metrics of all rows, each counting by its weight (1 where None; in the rows' first order)."""
        weight = np.ones(len(self.order)) if weight is None else weight
        total = _sums(weight[self.order])
        hits = _sums(weight[self.positives])[self.hits_until]
        brier, log_loss = self.losses @ weight / total[-1]
        if not len(hits) or not 0 < hits[-1] < total[-1]:
            return Metrics(float("nan"), float("nan"), float(brier), float(log_loss))
        gained, seen = np.diff(hits, prepend=0.0), total[self.until]
        # Half of the negatives that tie with a positive stand above it. Zero weights may leave nothing seen: 0 / 1.
        above = (seen - hits + total[self.before] - (hits - gained)) / 2
        return Metrics(
            roc_auc=float(gained @ (1 - above / (total[-1] - hits[-1])) / hits[-1]),
            average_precision=float(gained @ (hits / np.where(seen > 0, seen, 1)) / hits[-1]),
            brier=float(brier),
            log_loss=float(log_loss),
        )


def rank(y: Numbers, p: Numbers) -> Ranking:
    """The predictions sorted and their losses: `y` is 0 or 1, `p` the probability of 1, row by row.

    Raises:
        ValueError: there are no rows, or a label is not 0 or 1, or a prediction is not in 0..1.
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if not (len(y) == len(p) > 0 and np.isin(y, (0, 1)).all() and ((p >= 0) & (p <= 1)).all()):
        raise ValueError("metrics need one row or more, labels of 0 or 1 and probabilities from 0 to 1")
    order, ends = _runs(p)
    hits = _sums(y[order])[ends].astype(int)
    has_positive = np.diff(hits, prepend=0) > 0
    # log(0) is cut off where scikit-learn cuts it: at the smallest step of a float.
    smallest = np.finfo(np.float64).eps
    clipped = np.clip(p, smallest, 1 - smallest)
    return Ranking(
        order=order,
        ends=ends,
        hits=hits,
        positives=order[y[order] == 1],
        before=np.append(0, ends[:-1])[has_positive],
        until=ends[has_positive],
        hits_until=hits[has_positive],
        losses=np.stack([(p - y) ** 2, -np.where(y == 1, np.log(clipped), np.log1p(-clipped))]),
    )


def measure(y: Numbers, p: Numbers, weight: Numbers | None = None) -> Metrics:
    """The metrics of predictions `p` for labels `y`; to measure the same rows often, keep their `rank`."""
    return rank(y, p).measure(weight)


def roc_auc(y: Numbers, score: Numbers) -> float:
    """How well any score, not only a probability, ranks the labels: 0.5 is chance, nan means that a class is absent."""
    order, ends = _runs(score)
    positives = _sums(y[order])[ends]
    negatives = ends - positives
    if not (negatives[-1] and positives[-1]):
        return float("nan")
    heights, steps = np.append(0.0, positives), np.diff(negatives, prepend=0.0)
    return float(steps @ ((heights[1:] + heights[:-1]) / 2) / negatives[-1] / positives[-1])


def best_threshold(y: Numbers, p: Numbers) -> float:
    """The prediction from which on "yes" gives the highest F1; the highest such prediction where several do."""
    ranking = rank(y, p)
    f1 = 2 * ranking.hits / (ranking.ends + ranking.hits[-1])
    return float(p[ranking.order[ranking.ends[np.argmax(f1)] - 1]])


def roc_points(y: Numbers, p: Numbers, n_points: int = 200) -> Roc:
    """The ROC curve at no more than `n_points` of its points, evenly spread over the distinct predictions."""
    positives, negatives = rank(y, p).counts()
    kept = np.unique(np.linspace(0, len(positives) - 1, n_points - 1).round().astype(int))
    return Roc(*(np.append(0.0, part[kept] / part[-1]) for part in (negatives, positives)))


def calibration(y: Numbers, p: Numbers, n_bins: int = 10) -> Calibration:
    """Bins of about equally many rows; equal predictions share a bin, so that there may be fewer bins."""
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))
    bins = np.unique(np.searchsorted(edges, p, side="left"), return_inverse=True)[1]
    rows = np.bincount(bins)
    return Calibration(np.bincount(bins, p) / rows, np.bincount(bins, y) / rows, rows)


def _runs(score: Numbers) -> tuple[Numbers, Numbers]:
    """Row numbers from the highest score to the lowest, and how many rows end with each run of equal scores."""
    order = np.argsort(-score, kind="stable")
    return order, np.append(np.flatnonzero(np.diff(score[order])) + 1, len(order))


def _sums(values: Numbers) -> Numbers:
    """Sums of the first 0, 1, 2, ... values."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums
