"""The gate's decision: rules about numbers, each with a sentence that says what was found and what must be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from dovetail.science.behaviour import Answer
from dovetail.science.comparison import UNKNOWN, Estimate, Resampling, bootstrap, is_enough
from dovetail.science.metrics import SMALLER_IS_BETTER, Calibration, Numbers, calibration
from dovetail.science.slices import slice_rows
from dovetail.science.splits import Check
from dovetail.settings.schema import Gate

CHALLENGER, CHAMPION, BASELINE = "challenger", "champion", "baseline"


class SliceGain(NamedTuple):
    """Both models' metric on one value of one slice, and the gain; nan where `too_small`, or without a champion."""

    slice: str
    value: str
    rows: int
    positives_share: float
    challenger: Estimate
    champion: Estimate
    gain: Estimate
    too_small: bool


@dataclass(frozen=True)
class Decision:
    """What the rules say, and all that they looked at; estimates are by metric, gains above 0 are better.

    `numbers` has the names that MLflow shows. `models` and what follows are empty when nothing was measured;
    `calibration` is the challenger's and the champion's.
    """

    checks: tuple[Check, ...]
    numbers: Mapping[str, float]
    models: Mapping[str, Mapping[str, Estimate]]
    gains: Mapping[str, Mapping[str, Estimate]]
    slices: tuple[SliceGain, ...] = ()
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every rule holds."""
        return all(check.holds for check in self.checks)

    @property
    def reasons(self) -> tuple[str, ...]:
        """A sentence for each broken rule; when none is broken, for each rule."""
        return tuple(check.detail for check in self.checks if check.holds == self.passed)


def undecided(checks: Sequence[Check]) -> Decision:
    """The refusal of a challenger that was not measured, since it could not be done fairly."""
    return Decision(tuple(checks), numbers={}, models={}, gains={})


def decide(
    y: Numbers,
    predictions: Mapping[str, Numbers],
    slices: Mapping[str, pd.Categorical],
    answers: Sequence[Answer],
    gate: Gate,
    min_slice_rows: int,
    resampling: Resampling,
) -> Decision:
    """Whether `predictions['challenger']` takes the place of `predictions['champion']`; all have the same rows.

    Where there is a champion it must be better by the margin, the paired interval above 0, and on no slice worse by
    more than the tolerance. Any version must beat `predictions['baseline']`, its interval above 0, reach the floor,
    and answer as the use case expects. Slices under `min_slice_rows` have no say: a difference there is luck.
    """
    overall = bootstrap(y, predictions, resampling)
    models = {role: overall.estimates(role) for role in predictions}
    gains = {role: overall.gains(CHALLENGER, role) for role in predictions if role != CHALLENGER}
    found = _slice_gains(y, predictions, slices, gate.metric, min_slice_rows, resampling)
    checks = [
        *([_beats_champion(gains[CHAMPION][gate.metric], gate)] if CHAMPION in gains else []),
        _beats_baseline(gains[BASELINE][gate.metric], gate),
        _reaches_floor(models[CHALLENGER][gate.metric].value, gate),
        *(_damaged(row, gate) for row in found if row.gain.value < -gate.slice_tolerance),
        *(Check(f"behaviour {answer.name}", answer.holds, answer.detail) for answer in answers),
    ]
    numbers = _numbers(models, gains, found, answers, gate.metric)
    bins = {role: calibration(y, p) for role, p in predictions.items() if role != BASELINE}
    return Decision(tuple(checks), numbers, models, gains, tuple(found), bins, tuple(answers))


def _beats_champion(gain: Estimate, gate: Gate) -> Check:
    holds = gain.value >= gate.margin and gain.value > 0 and gain.low > 0
    wanted = f"must be at least {gate.margin:g} with its interval above 0"
    return Check("gain over the champion", holds, f"{_said(gain, gate.metric)} over the champion; {wanted}")


def _beats_baseline(gain: Estimate, gate: Gate) -> Check:
    said = f"{_said(gain, gate.metric)} over the baseline; must be above 0"
    return Check("gain over the baseline", gain.low > 0, said)


def _reaches_floor(value: float, gate: Gate) -> Check:
    is_smaller_better = gate.metric in SMALLER_IS_BETTER
    holds = value <= gate.floor if is_smaller_better else value >= gate.floor
    wanted = f"must be {gate.floor:g} or {'less' if is_smaller_better else 'more'} for any version (floor)"
    return Check("floor", holds, f"{gate.metric} is {value:.4f}; {wanted}")


def _damaged(row: SliceGain, gate: Gate) -> Check:
    where = f"on {row.slice} {row.value} ({row.rows} rows); may be worse by {gate.slice_tolerance:g}"
    return Check(f"slice {row.slice} {row.value}", False, f"{_said(row.gain, gate.metric)} {where}")


def _slice_gains(
    y: Numbers,
    predictions: Mapping[str, Numbers],
    slices: Mapping[str, pd.Categorical],
    metric: str,
    min_rows: int,
    resampling: Resampling,
) -> list[SliceGain]:
    rivals = {role: predictions[role] for role in (CHALLENGER, CHAMPION) if role in predictions}
    table = []
    for name, value, rows in slice_rows(slices):
        share, too_small = float(y[rows].mean()), not is_enough(y[rows], min_rows)
        estimates = dict.fromkeys((CHALLENGER, CHAMPION, "gain"), UNKNOWN)
        if not too_small:
            parts = {role: p[rows] for role, p in rivals.items()}
            measured = bootstrap(y[rows], parts, resampling.within(rows))
            estimates |= {role: measured.estimate(role, metric) for role in parts}
            if CHAMPION in parts:
                estimates["gain"] = measured.gain(CHALLENGER, CHAMPION, metric)
        table.append(SliceGain(name, value, len(rows), share, **estimates, too_small=too_small))
    return table


def _numbers(
    models: Mapping[str, Mapping[str, Estimate]],
    gains: Mapping[str, Mapping[str, Estimate]],
    slices: Sequence[SliceGain],
    answers: Sequence[Answer],
    metric: str,
) -> dict[str, float]:
    """By the names that MLflow shows; what could not be measured is left out."""
    numbers = {f"gate/{metric}": models[CHALLENGER][metric].value}
    if CHAMPION in models:
        numbers[f"gate/champion_{metric}"] = models[CHAMPION][metric].value
    for role, by_metric in gains.items():
        value, low, high = by_metric[metric]
        name = f"gate/gain_over_{role}"
        numbers |= {name: value, f"{name}_low": low, f"{name}_high": high}
    slice_gains = [row.gain.value for row in slices if not np.isnan(row.gain.value)]
    numbers |= {"gate/worst_slice_gain": min(slice_gains)} if slice_gains else {}
    numbers |= {f"gate/behaviour/{answer.name}": answer.mean.value for answer in answers}
    return {name: value for name, value in numbers.items() if not np.isnan(value)}


def _said(gain: Estimate, metric: str) -> str:
    return f"gain in {metric} {gain.value:+.4f} (interval {gain.low:+.4f} to {gain.high:+.4f})"
