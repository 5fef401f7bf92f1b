"""How a model's predictions answer when some inputs change and all others stay: the use case says what they must do."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dovetail.science.comparison import UNKNOWN, Estimate, Resampling
from dovetail.science.metrics import Numbers
from dovetail.settings.schema import Behaviour, Change


class Answer(NamedTuple):
    """What the predictions did: their mean move, and the share of rows that did not move against what is expected."""

    name: str
    rows: int  # those that the change concerns: an input is known, and was another
    mean: Estimate
    share: float
    holds: bool
    detail: str


def changed(X: pd.DataFrame, behaviour: Behaviour) -> pd.DataFrame:
    """The rows that the change concerns, changed; a missing value stays missing, and concerns nobody."""
    after = {name: _after(X[name], change) for name, change in behaviour.change.items()}
    differs = pd.DataFrame({name: X[name].notna() & (values != X[name]) for name, values in after.items()})
    return X.assign(**after)[differs.any(axis=1)]


def answer(name: str, behaviour: Behaviour, moves: Numbers, resampling: Resampling) -> Answer:
    """Whether the predictions answer as expected; `moves` is after less before, for each row of `changed`."""
    if not len(moves):
        detail = f"{_said(behaviour)} changes no row of the holdout: nobody can say how the predictions answer"
        return Answer(name, 0, UNKNOWN, float("nan"), False, detail)
    draws = np.array([weight @ moves / weight.sum() for weight in resampling.weights(len(moves))])
    mean = resampling.estimate(float(moves.mean()), draws, len(moves))
    share = float(_goes_along(moves, behaviour).mean())
    holds = _is_expected(mean, behaviour) and share >= behaviour.share
    detail = (
        f"{_said(behaviour)} moves the predictions by {mean.value:+.4f} (interval {mean.low:+.4f} to {mean.high:+.4f}),"
        f" and {share:.1%} of {len(moves)} rows {_ALONG[behaviour.expect]} by more than {behaviour.tolerance:g};"
        f" must {behaviour.expect} on average, and {behaviour.share:.1%} keep to it"
    )
    return Answer(name, len(moves), mean, share, holds, detail)


_ALONG = {"rise": "do not fall", "fall": "do not rise", "stay": "do not move"}


def _after(before: "pd.Series[Any]", change: Change) -> "pd.Series[Any]":
    if change.add is not None:
        return before + change.add
    if change.multiply is not None:
        return before * change.multiply
    return before.mask(before.notna(), change.set)


def _goes_along(moves: Numbers, behaviour: Behaviour) -> Numbers:
    limit = behaviour.tolerance
    return {"rise": moves >= -limit, "fall": moves <= limit, "stay": np.abs(moves) <= limit}[behaviour.expect]


def _is_expected(mean: Estimate, behaviour: Behaviour) -> bool:
    match behaviour.expect:
        case "rise":
            return mean.low > 0
        case "fall":
            return mean.high < 0
        case "stay":
            return -behaviour.tolerance <= mean.low and mean.high <= behaviour.tolerance


def _said(behaviour: Behaviour) -> str:
    """The change in words, like `distance +1`."""
    return " and ".join(f"{name} {_changed(change)}" for name, change in behaviour.change.items())


def _changed(change: Change) -> str:
    if change.add is not None:
        return f"{change.add:+g}"
    if change.multiply is not None:
        return f"times {change.multiply:g}"
    return f"set to {change.set if isinstance(change.set, str) else format(change.set, 'g')}"
