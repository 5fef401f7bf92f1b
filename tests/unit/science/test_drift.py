"""What can be compared, and the verdicts."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from dovetail.science.drift import ColumnDrift, comparable, conclude, judge, newest_full_month, obstacle
from dovetail.settings.schema import Drift

SETTINGS = Drift(reference="train", min_rows=3, threshold=0.1, missing_tolerance=0.1)
NUMBERS = pd.Series([1.0, 2.0, 3.0, 4.0])
WORDS = pd.Series(["a", "b", "a", "b"])


def utc(*numbers: int) -> datetime:
    """A moment of UTC."""
    return datetime(*numbers, tzinfo=UTC)


@pytest.mark.parametrize(
    ("until", "name"), [(utc(2013, 12, 1), "2013-11"), (utc(2013, 12, 31), "2013-11"), (utc(2014, 1, 1), "2013-12")]
)
def test_the_newest_full_month_is_over_at_until(until: datetime, name: str) -> None:
    """A month that is not over is not full; the first of a month ends the month before."""
    month = newest_full_month(pd.Series([utc(2013, 10, 1, 3)]), until)
    assert month is not None
    assert month.name == name
    assert month.start.day == month.end.day == 1


def test_a_month_that_the_live_part_only_ends_in_is_not_full() -> None:
    """Live rows from 15 November on have no full November, and no rows have no month."""
    assert newest_full_month(pd.Series([utc(2013, 11, 15)]), utc(2013, 12, 1)) is None
    assert newest_full_month(pd.Series([], dtype="datetime64[us, UTC]"), utc(2013, 12, 1)) is None


@pytest.mark.parametrize(
    ("reference", "current", "reason"),
    [
        (NUMBERS, NUMBERS, ""),
        (WORDS, WORDS, ""),
        (None, NUMBERS, "the column is missing in the reference"),
        (NUMBERS, None, "the column is missing in the current data"),
        (NUMBERS, NUMBERS[:0], "empty in the current data"),
        (NUMBERS * np.nan, NUMBERS, "empty in the reference"),
        (NUMBERS, WORDS.where(WORDS == "c"), "empty in the current data"),
        (NUMBERS, NUMBERS[:1], "1 known values in the current data, fewer than usecase.drift.min_rows (3)"),
        (NUMBERS, NUMBERS * 0 + 7, "constant in the current data (7.0)"),
        (pd.Series(["x"] * 4), WORDS, "constant in the reference (x)"),
        (NUMBERS, pd.Series([1.0, np.inf, -np.inf, 2.0]), "2 infinite values in the current data"),
        (NUMBERS, WORDS, "the reference holds numbers, the current data categories"),
    ],
)
def test_what_cannot_be_compared_says_why(
    reference: "pd.Series | None", current: "pd.Series | None", reason: str
) -> None:
    """Missing, empty, tiny, constant, infinite and retyped columns are refused before any distance is taken."""
    assert obstacle(reference, current, SETTINGS) == reason


def test_a_sample_is_spread_evenly_over_the_known_rows() -> None:
    """Missing values go, and the first and last row stay; a short column stays whole."""
    column = pd.Series([0.0, None, 1.0, 2.0, 3.0, 4.0])
    assert list(comparable(column, 3)) == [0.0, 2.0, 4.0]
    assert list(comparable(column, 10)) == [0.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(("distance", "outcome"), [(0.0999, "ok"), (0.1, "drift")])
def test_a_distance_at_the_threshold_is_drift(distance: float, outcome: str) -> None:
    """The threshold itself is drift already."""
    assert judge("x", NUMBERS, NUMBERS, distance, SETTINGS).outcome == outcome


@pytest.mark.parametrize("distance", [float("nan"), "Evidently: no", ""])
def test_without_a_distance_there_is_no_verdict(distance: float | str) -> None:
    """Not a number, or a text, is never taken for ok."""
    verdict = judge("x", NUMBERS, NUMBERS, distance, SETTINGS)
    assert (verdict.outcome, verdict.distance) == ("could_not_evaluate", None)


def test_values_that_go_missing_are_drift() -> None:
    """Half of the values are lost and the others are as before: the distance sees nothing, the verdict does."""
    verdict = judge("x", NUMBERS, pd.Series([1.0, 4.0, None, None]), 0.0, SETTINGS)
    assert (verdict.outcome, verdict.reason) == ("drift", "missing share 50.0%, was 0.0%")


def test_new_categories_are_shown_with_their_share() -> None:
    """A value that the reference does not have is named; a missing one is no new category."""
    verdict = judge("x", WORDS, pd.Series(["a", "z", "y", None]), 0.0, SETTINGS)
    assert verdict.new_categories == ("y", "z")
    assert verdict.new_share == 0.5


def columns(*outcomes: str) -> list[ColumnDrift]:
    """Verdicts with these outcomes."""
    return [ColumnDrift("x", outcome, "", None, None, None, (), 0.0) for outcome in outcomes]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outcomes", "whole"),
    [
        (("ok", "ok", "drift"), "ok"),
        (("ok", "drift"), "drift"),
        (("ok", "drift", "could_not_evaluate", "could_not_evaluate"), "drift"),
        (("could_not_evaluate",), "could_not_evaluate"),
        ((), "could_not_evaluate"),
    ],
)
def test_the_whole_drifts_when_half_of_the_evaluated_columns_do(outcomes: tuple[str, ...], whole: str) -> None:
    """Columns that could not be evaluated have no vote; without votes nothing is said."""
    assert conclude(columns(*outcomes)).outcome == whole
