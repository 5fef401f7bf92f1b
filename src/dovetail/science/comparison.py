"""Models against each other on the same rows: bootstrap intervals, slices, and the gate's decision.

Each bootstrap replicate draws rows once, for all models: their difference is then free of the luck of the draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from dovetail.science.metrics import METRICS, SMALLER_IS_BETTER, Metrics, Numbers, measure, rank
from dovetail.science.slices import slice_rows
from dovetail.settings.schema import Evaluation, Gate


class Estimate(NamedTuple):
    """A number with its bootstrap interval; nan means that it cannot be measured."""

    value: float
    low: float
    high: float


class SliceRow(NamedTuple):
    """One model's metric on the rows of one value of one slice; all of `metric` is nan when `too_small`."""

    slice: str
    value: str
    model: str
    rows: int
    positives_share: float
    metric: Estimate
    too_small: bool


@dataclass(frozen=True)
class Decision:
    """The gate's answer, with a sentence for each reason and the numbers behind them."""

    promoted: bool
    reasons: tuple[str, ...]
    numbers: dict[str, float]


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """The models' metrics on all rows, and on each replicate: (replicates, metrics), the same rows for all models."""

    point: dict[str, Metrics]
    draws: dict[str, Numbers]
    confidence: float

    def estimate(self, model: str, metric: str) -> Estimate:
        """A model's metric with its interval."""
        column = METRICS.index(metric)
        return self._estimate(self.point[model][column], self.draws[model][:, column])

    def estimates(self, model: str) -> dict[str, Estimate]:
        """All of a model's metrics with their intervals, by metric."""
        return {metric: self.estimate(model, metric) for metric in METRICS}

    def gain(self, model: str, reference: str, metric: str) -> Estimate:
        """How much better the model is than the reference, with the paired interval; above 0 is better."""
        column, sign = METRICS.index(metric), -1 if metric in SMALLER_IS_BETTER else 1
        difference = self.draws[model][:, column] - self.draws[reference][:, column]
        return self._estimate(sign * (self.point[model][column] - self.point[reference][column]), sign * difference)

    def _estimate(self, value: float, draws: Numbers) -> Estimate:
        # A replicate of a small slice may lack a class and measure nothing: it is left out.
        known = draws[~np.isnan(draws)]
        if not len(known):
            return Estimate(value, float("nan"), float("nan"))
        low, high = np.quantile(known, [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return Estimate(float(value), float(low), float(high))


def bootstrap(y: Numbers, predictions: Mapping[str, Numbers], n: int, confidence: float, seed: int) -> Bootstrap:
    """`n` replicates of every model's metrics, paired; `predictions` are by model, in the order of `y`."""
    rankings = {model: rank(y, p) for model, p in predictions.items()}
    random = np.random.default_rng(seed)
    draws: dict[str, Numbers] = {model: np.empty((n, len(METRICS))) for model in rankings}
    for replicate in range(n):
        # Counting drawn row numbers is the multinomial weight vector, six times faster than drawing it directly.
        weight = np.bincount(random.integers(0, len(y), len(y)), minlength=len(y)).astype(np.float64)
        for model, ranking in rankings.items():
            draws[model][replicate] = ranking.measure(weight)
    return Bootstrap({model: ranking.measure() for model, ranking in rankings.items()}, draws, confidence)


def by_slice(
    y: Numbers,
    predictions: Mapping[str, Numbers],
    slices: Mapping[str, pd.Categorical],
    metric: str,
    settings: Evaluation,
    seed: int,
) -> list[SliceRow]:
    """One row a slice, value and model; a slice under `min_slice_rows` or with one class only gets no number."""
    table = []
    for name, value, rows in slice_rows(slices):
        share, too_small = float(y[rows].mean()), not _is_enough(y[rows], settings.min_slice_rows)
        parts = {model: p[rows] for model, p in predictions.items()}
        n = 0 if too_small else settings.n_bootstrap
        estimates = _slice_estimates(y[rows], parts, metric, n, settings.confidence, seed)
        table += [
            SliceRow(name, value, model, len(rows), share, estimate, too_small) for model, estimate in estimates.items()
        ]
    return table


def decide(
    y: Numbers,
    predictions: Mapping[str, Numbers],
    slices: Mapping[str, pd.Categorical],
    gate: Gate,
    evaluation: Evaluation,
    seed: int,
) -> Decision:
    """Whether `predictions['challenger']` takes the place of `predictions['champion']`; all have the same rows.

    It must beat `predictions['baseline']`, its interval above 0. Where there is a champion it must also be better by
    the margin, the paired interval above 0, and on no slice worse by more than the tolerance. Slices under
    `min_slice_rows` have no say: there a difference of the tolerance is luck.
    """
    result = bootstrap(y, predictions, evaluation.n_bootstrap, evaluation.confidence, seed)
    over_baseline = result.gain("challenger", "baseline", gate.metric)
    verdicts = [(over_baseline.low > 0, f"{_said(over_baseline, gate.metric)} over the baseline; must be above 0")]
    numbers = {f"challenger_{gate.metric}": result.estimate("challenger", gate.metric).value}
    numbers |= _numbers("gain_over_baseline", over_baseline)
    if "champion" in predictions:
        gain = result.gain("challenger", "champion", gate.metric)
        is_better = gain.value >= gate.margin and gain.value > 0 and gain.low > 0
        wanted = f"must be at least {gate.margin:g} with its interval above 0"
        verdicts.append((is_better, f"{_said(gain, gate.metric)} over the champion; {wanted}"))
        numbers[f"champion_{gate.metric}"] = result.estimate("champion", gate.metric).value
        numbers |= _numbers("gain_over_champion", gain)
        damaged, worst = _damaged_slices(y, predictions, slices, gate, evaluation, seed)
        verdicts += [(False, sentence) for sentence in damaged]
        numbers |= {"worst_slice_gain": worst} if np.isfinite(worst) else {}
    promoted = all(holds for holds, _ in verdicts)
    return Decision(promoted, tuple(sentence for holds, sentence in verdicts if holds == promoted), numbers)


def _damaged_slices(
    y: Numbers,
    predictions: Mapping[str, Numbers],
    slices: Mapping[str, pd.Categorical],
    gate: Gate,
    evaluation: Evaluation,
    seed: int,
) -> tuple[list[str], float]:
    """A sentence for each damaged slice, and the smallest gain on any slice that is big enough (nan: none is)."""
    sentences, worst = [], float("nan")
    for name, value, rows in slice_rows(slices):
        if not _is_enough(y[rows], evaluation.min_slice_rows):
            continue
        pair = {model: predictions[model][rows] for model in ("challenger", "champion")}
        gain = _point_gain(y[rows], pair, gate.metric)
        worst = float(np.fmin(worst, gain))
        # Resampling is slow and only a slice beyond the tolerance needs it.
        if gain < -gate.slice_tolerance:
            paired = bootstrap(y[rows], pair, evaluation.n_bootstrap, evaluation.confidence, seed)
            estimate = paired.gain("challenger", "champion", gate.metric)
            limit = f"may be worse by {gate.slice_tolerance:g}"
            sentences.append(f"{_said(estimate, gate.metric)} on {name} {value} ({len(rows)} rows); {limit}")
    return sentences, worst


def _point_gain(y: Numbers, pair: Mapping[str, Numbers], metric: str) -> float:
    new, old = (getattr(measure(y, pair[model]), metric) for model in ("challenger", "champion"))
    return float(old - new if metric in SMALLER_IS_BETTER else new - old)


def _slice_estimates(
    y: Numbers, predictions: Mapping[str, Numbers], metric: str, n: int, confidence: float, seed: int
) -> dict[str, Estimate]:
    if not n:
        return dict.fromkeys(predictions, Estimate(float("nan"), float("nan"), float("nan")))
    result = bootstrap(y, predictions, n, confidence, seed)
    return {model: result.estimate(model, metric) for model in predictions}


def _is_enough(y: Numbers, min_rows: int) -> bool:
    return len(y) >= min_rows and 0 < y.sum() < len(y)


def _said(gain: Estimate, metric: str) -> str:
    return f"gain in {metric} {gain.value:+.4f} (interval {gain.low:+.4f} to {gain.high:+.4f})"


def _numbers(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
