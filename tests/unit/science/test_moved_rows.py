"""Which rows moved between two sides: by fate, and by slice."""

import numpy as np
import pandas as pd
import pytest

from dovetail.science.attribution import NEW, OLD, Draws, Rows
from dovetail.science.inputs import Judged
from dovetail.science.moved_rows import groups, moved_slices

DRAWS = Draws(50, 0.95, seed=0)


def side(frame: dict[str, list[float]], keys: str, y: list[int], first: str = "2013-01-01") -> Judged:
    """Rows a day apart, each with a letter as its key; the model says `x`."""
    X = pd.DataFrame(frame, index=pd.Index(list(keys)))
    moments = pd.DatetimeIndex(pd.date_range(first, periods=len(y), tz="UTC"))

    def predict(rows: pd.DataFrame):
        return rows["x"].fillna(0).to_numpy()

    return Judged(X, np.array(y), predict(X), moments, predict)


def test_rows_are_told_by_their_fate() -> None:
    """a left, b and c are the same, d has another label, e another value, f came."""
    old = side({"x": [0.1, 0.2, 0.3, 0.8, 0.9]}, "abcde", [1, 0, 1, 0, 1])
    new = side({"x": [0.2, 0.3, 0.8, 0.7, 0.4]}, "bcdef", [0, 1, 1, 1, 0], first="2013-01-02")
    found = {group.fate: group for group in groups(old, new, "roc_auc", DRAWS)}
    assert {fate: (group.rows, group.labels) for fate, group in found.items()} == {
        "the same": (2, 0),
        "changed": (2, 1),
        "came": (1, 0),
        "left": (1, 0),
    }
    assert (found["changed"].positives_old, found["changed"].positives_new) == (0.5, 1.0)
    assert (found["the same"].metric_old, found["the same"].metric_new) == (1.0, 1.0)
    assert np.isnan(found["changed"].metric_new)
    assert (found["left"].first, found["came"].last) == (pd.Timestamp("2013-01-01", tz="UTC"), new.moments[-1])


def test_a_missing_value_equals_a_missing_one() -> None:
    """Else every row with a gap would count as changed."""
    old = side({"x": [0.1, np.nan, 0.3]}, "abc", [1, 0, 1])
    new = side({"x": [0.1, np.nan, np.nan]}, "abc", [1, 0, 1])
    assert {group.fate: group.rows for group in groups(old, new, "roc_auc", DRAWS)} == {"the same": 2, "changed": 1}


def test_slices_come_by_what_they_surely_moved() -> None:
    """A slice that broke is first, one that is too small has no number, and equal ones moved by nothing."""
    random = np.random.default_rng(0)
    n = 3000
    where = pd.Categorical(np.where(np.arange(n) < 40, "tiny", np.where(np.arange(n) % 2, "sound", "broken")))
    y = random.integers(0, 2, n)
    p = np.clip(0.5 + 0.3 * (y - 0.5) + random.normal(0, 0.2, n), 0, 1)
    worse = np.where(where == "broken", random.random(n), p)
    keys, days = np.arange(n), np.arange(n) % 30
    found = moved_slices(
        {OLD: Rows(keys, days, y, {OLD: p}), NEW: Rows(keys, days, y, {NEW: worse})},
        {OLD: {"origin": where}, NEW: {"origin": where}},
        "roc_auc",
        DRAWS,
        min_rows=100,
    )
    assert [(row.slice, row.value) for row in found] == [("origin", "broken"), ("origin", "sound"), ("origin", "tiny")]
    assert found[0].change.high < 0
    assert found[1].change == (0, 0, 0)
    assert np.isnan(found[2].change.value)
    assert found[0].share_old == pytest.approx(1480 / 3000)
