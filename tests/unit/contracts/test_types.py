"""What becomes of values on their way to a contract's type."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.contracts.types import ARROW_TYPES, as_text, converted, unconvertible

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def column(values: list, kind: pa.DataType | None = None) -> pa.ChunkedArray:
    """A column of values."""
    return pa.chunked_array([pa.array(values, kind)])


@pytest.mark.parametrize(
    ("given_values", "wanted", "expected"),
    [
        (["5", "5.0", None], "integer", [5, 5, None]),
        ([5.0, float("nan")], "integer", [5, None]),
        ([str(2**60 + 1), "5.0"], "integer", [2**60 + 1, 5]),
        (["1e3", "-0.5", "nan"], "number", [1000.0, -0.5, None]),
        ([7, None], "number", [7.0, None]),
        (["true", "False", "1"], "boolean", [True, False, True]),
        ([0, 1], "boolean", [False, True]),
        (["2013-01-01T12:00:00Z", "2013-01-01 14:00:00+02:00"], "timestamp", [NOON, NOON]),
        (["2013-01-01T12:00:00"], "timestamp", [NOON]),
        ([date(2013, 1, 1)], "timestamp", [NOON.replace(hour=0)]),
        ([datetime(2013, 1, 1, 12)], "timestamp", [NOON]),
        ([7, None], "string", ["7", None]),
        ([None, None], "timestamp", [None, None]),
        ([], "integer", []),
    ],
)
def test_values_become_the_wanted_type(given_values: list, wanted: str, expected: list) -> None:
    """A value that means the same in the wanted type is taken, whatever it was written as."""
    found = converted(column(given_values), wanted)
    assert found is not None
    assert (found.type, found.to_pylist()) == (ARROW_TYPES[wanted], expected)


@pytest.mark.parametrize(
    ("given_values", "wanted"),
    [
        (["5.5"], "integer"),
        ([5.5], "integer"),
        ([datetime(2013, 1, 1)], "integer"),
        ([True], "number"),
        (["1,5"], "number"),
        ([2], "boolean"),
        (["yes"], "boolean"),
        ([20130101], "timestamp"),
        (["01/02/2013"], "timestamp"),
        ([[1, 2]], "string"),
        ([b"\xff"], "string"),
    ],
)
def test_nothing_is_guessed(given_values: list, wanted: str) -> None:
    """A value that could mean something else in the wanted type is refused."""
    assert converted(column(given_values), wanted) is None


def test_nanoseconds_are_cut_to_microseconds() -> None:
    """A timestamp's digits beyond the microsecond are dropped, in any zone."""
    nanoseconds = column([1_357_041_600_000_000_999], pa.timestamp("ns", tz="America/New_York"))
    assert converted(nanoseconds, "timestamp").to_pylist() == [NOON]


def test_text_of_lists_is_left_as_it_is() -> None:
    """A column that has no text stays what it was."""
    lists = column([[1], [2]])
    assert as_text(lists).equals(lists)


@given(st.lists(st.sampled_from(["1", "2.0", "x", "3.5", None, ""])), st.integers(0, 6))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_unconvertible_finds_the_first_values_that_do_not_fit(values: list[str | None], limit: int) -> None:
    """The halving search finds what looking at one value after the other finds."""
    one_by_one = [value for value in values if value in ("x", "3.5", "")]
    assert unconvertible(column(values, pa.string()), "integer", limit) == one_by_one[:limit]
