"""A small airport whose flights are late together: a source, its features, models of them, and defects to plant."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dovetail.science.attribution import NEW, OLD, Rows
from dovetail.science.inputs import Judged

PER_DAY = 40
DAYS, TRAINED_DAYS = 140, 70


@dataclass(frozen=True)
class Airport:
    """One row a flight in the order of time: its day, minutes of delay, and the weather, which says little."""

    days: Any
    delay: Any
    temperature: Any

    @property
    def late(self) -> Any:
        """The label: 1 where the flight is late."""
        return (self.delay > 15).astype(int)


def airport(seed: int) -> Airport:
    """Delays come in waves of some flights, and some days are worse than others."""
    random = np.random.default_rng(seed)
    days = np.repeat(np.arange(DAYS), PER_DAY)
    wave = np.convolve(random.normal(0, 30, len(days) + 8), np.ones(9) / 3, mode="valid")
    delay = 5 + wave + random.normal(0, 8, DAYS)[days] + random.normal(0, 10, len(days))
    return Airport(days, np.round(delay), random.normal(15, 8, len(days)) + delay / 20)


def features(flights: Airport, delay: Any, window: int = 4) -> pd.DataFrame:
    """What is known of a flight before it leaves: delays of the flights before it, as the source tells them."""
    keys = pd.Index([f"F{n}" for n in range(len(delay))])
    before = pd.Series(delay, index=keys).shift(1)
    return pd.DataFrame(
        {
            "temperature": flights.temperature,
            "mean_delay": before.rolling(window, min_periods=1).mean().fillna(0),
            "mean_delay_of_the_day_before": before.rolling(PER_DAY, min_periods=1).mean().shift(PER_DAY).fillna(0),
        },
        index=keys,
    )


def train(X: pd.DataFrame, flights: Airport) -> Any:
    """A model that has learned from the first half of the days."""
    rows = flights.days < TRAINED_DAYS
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X[rows], flights.late[rows])


def judged(X: pd.DataFrame, flights: Airport, model: Any) -> Judged:
    """The side of a model, on the days that it has not seen."""
    rows = flights.days >= TRAINED_DAYS
    moments = pd.Timestamp("2013-01-01", tz="UTC") + pd.to_timedelta(flights.days[rows], unit="D")
    p = model.predict_proba(X[rows])[:, 1]
    return Judged(X[rows], flights.late[rows], p, pd.DatetimeIndex(moments), lambda X: model.predict_proba(X)[:, 1])


def columns(old: Judged, new: Judged, flights: Airport) -> dict[str, Rows]:
    """The four cells' rows, where both sides' features have the same columns."""
    days = flights.days[flights.days >= TRAINED_DAYS]
    return {
        data: Rows(
            side.X.index.to_numpy(),
            days,
            side.y,
            {name: each.predict(side.X) for name, each in ((OLD, old), (NEW, new))},
        )
        for data, side in ((OLD, old), (NEW, new))
    }
