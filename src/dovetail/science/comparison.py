"""Models against each other on the same rows: paired bootstrap intervals, overall and by slice.

Each replicate draws rows once, for all models: their difference is then free of the luck of the draw.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from dovetail.science.metrics import METRICS, SMALLER_IS_BETTER, Metrics, Numbers, rank
from dovetail.science.slices import slice_rows


class Estimate(NamedTuple):
    """A number with its bootstrap interval; nan means that it cannot be measured."""

    value: float
    low: float
    high: float


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class Resampling:
    """How many replicates are drawn, from which seed, and what share of them an interval holds.

    Rows of one block are drawn together or not at all: they share what no model can know, like a day's weather.
    `blocks` is each row's block, whatever its value; None: every row is its own.
    """

    n: int
    confidence: float
    seed: int
    blocks: Numbers | None = None

    def within(self, rows: Numbers) -> "Resampling":
        """The same for these rows alone."""
        return self if self.blocks is None else replace(self, blocks=self.blocks[rows])

    def weights(self, n_rows: int) -> Iterator[Numbers]:
        """How often each row was drawn, one array a replicate."""
        block = None if self.blocks is None else np.unique(self.blocks, return_inverse=True)[1]
        n_blocks = self.n_blocks(n_rows)
        random = np.random.default_rng(self.seed)
        for _ in range(self.n):
            # Counting drawn numbers is the multinomial weight vector, six times faster than drawing it directly.
            drawn = np.bincount(random.integers(0, n_blocks, n_blocks), minlength=n_blocks).astype(np.float64)
            yield drawn if block is None else drawn[block]

    def n_blocks(self, n_rows: int) -> int:
        """How many blocks the rows lie in."""
        return n_rows if self.blocks is None else len(np.unique(self.blocks))

    def estimate(self, value: float, draws: Numbers, n_rows: int) -> Estimate:
        """The value with the interval of its replicates, which are of so many rows.

        Few blocks vary less in replicates than in truth: the interval is as much wider as Student's is than the
        normal one (the expanded percentile interval: https://doi.org/10.1080/00031305.2015.1089789, section 4).
        """
        # A replicate of a small slice may lack a class and measure nothing: it is left out.
        known, n = draws[~np.isnan(draws)], self.n_blocks(n_rows)
        if not len(known) or n < 2:
            return UNKNOWN._replace(value=float(value))
        level = ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 + self.confidence) / 2))
        low, high = np.quantile(known, [1 - level, level])
        return Estimate(float(value), float(low), float(high))


class SliceRow(NamedTuple):
    """One model's metric on the rows of one value of one slice; all of `metric` is nan when `too_small`."""

    slice: str
    value: str
    model: str
    rows: int
    positives_share: float
    metric: Estimate
    too_small: bool


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The models' metrics on all rows, and on each replicate: (replicates, metrics), the same rows for all models."""

    point: dict[str, Metrics]
    draws: dict[str, Numbers]
    n_rows: int
    resampling: Resampling

    def estimate(self, model: str, metric: str) -> Estimate:
        """A model's metric with its interval."""
        column = METRICS.index(metric)
        return self.resampling.estimate(self.point[model][column], self.draws[model][:, column], self.n_rows)

    def estimates(self, model: str) -> dict[str, Estimate]:
        """All of a model's metrics with their intervals, by metric."""
        return {metric: self.estimate(model, metric) for metric in METRICS}

    def gain(self, model: str, reference: str, metric: str) -> Estimate:
        """How much better the model is than the reference, with the paired interval; above 0 is better."""
        column, sign = METRICS.index(metric), -1 if metric in SMALLER_IS_BETTER else 1
        difference = self.draws[model][:, column] - self.draws[reference][:, column]
        value = self.point[model][column] - self.point[reference][column]
        return self.resampling.estimate(sign * value, sign * difference, self.n_rows)

    def gains(self, model: str, reference: str) -> dict[str, Estimate]:
        """All of `gain`, by metric."""
        return {metric: self.gain(model, reference, metric) for metric in METRICS}


def time_blocks(moments: "pd.Series[Any]", hours: float | None) -> Numbers | None:
    """Each row's block: the stretch of so many hours of UTC that its moment lies in; None: every row is its own."""
    if hours is None:
        return None
    since = moments - pd.Timestamp(0, tz="UTC")
    return (since // pd.Timedelta(hours=hours)).to_numpy()


def bootstrap(y: Numbers, predictions: Mapping[str, Numbers], resampling: Resampling) -> Bootstrap:
    """Every model's metrics and their replicates, paired; `predictions` are by model, in the order of `y`."""
    rankings = {model: rank(y, p) for model, p in predictions.items()}
    draws: dict[str, Numbers] = {model: np.empty((resampling.n, len(METRICS))) for model in rankings}
    for replicate, weight in enumerate(resampling.weights(len(y))):
        for model, ranking in rankings.items():
            draws[model][replicate] = ranking.measure(weight)
    return Bootstrap({model: ranking.measure() for model, ranking in rankings.items()}, draws, len(y), resampling)


def by_slice(
    y: Numbers,
    predictions: Mapping[str, Numbers],
    slices: Mapping[str, pd.Categorical],
    metric: str,
    min_rows: int,
    resampling: Resampling,
) -> list[SliceRow]:
    """One row a slice, value and model; a slice under `min_rows` or with one class only gets no number."""
    table = []
    for name, value, rows in slice_rows(slices):
        share, too_small = float(y[rows].mean()), not is_enough(y[rows], min_rows)
        parts = {model: p[rows] for model, p in predictions.items()}
        measured = None if too_small else bootstrap(y[rows], parts, resampling.within(rows))
        for model in predictions:
            estimate = measured.estimate(model, metric) if measured else UNKNOWN
            table.append(SliceRow(name, value, model, len(rows), share, estimate, too_small))
    return table


def is_enough(y: Numbers, min_rows: int) -> bool:
    """Whether a metric of these labels says something: enough rows, of both classes."""
    return len(y) >= min_rows and 0 < y.sum() < len(y)
