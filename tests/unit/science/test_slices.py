"""Slices."""

import pandas as pd

from dovetail.science.slices import slice_columns, slice_rows
from dovetail.settings.schema import Slice

FRAME = pd.DataFrame({"carrier": ["UA", None, "AA", "UA"], "hour": [9.0, 10.0, float("nan"), 18.0]})


def test_edges_begin_a_range() -> None:
    """A range is half-open: its lower edge is in it; a missing number is a slice of its own."""
    columns = slice_columns(FRAME, {"hour_band": Slice(column="hour", edges=[10, 18])})
    assert list(columns["hour_band"]) == ["below 10", "10 to 18", "missing", "from 18"]


def test_every_row_is_in_one_slice_of_each_name() -> None:
    """Values come in order, each with the numbers of its rows."""
    columns = slice_columns(FRAME, {"carrier": Slice(column="carrier")})
    found = [(name, value, list(rows)) for name, value, rows in slice_rows(columns)]
    assert found == [("carrier", "AA", [2]), ("carrier", "UA", [0, 3]), ("carrier", "missing", [1])]


def test_ranges_come_in_the_order_of_their_edges() -> None:
    """Below comes before from, whatever the alphabet says; a range without rows is not listed."""
    columns = slice_columns(FRAME, {"hour_band": Slice(column="hour", edges=[9.5, 12, 18])})
    assert [value for _, value, _ in slice_rows(columns)] == ["below 9.5", "9.5 to 12", "from 18", "missing"]
