"""What differs between two versions of a table."""

import pandas as pd

from dovetail.science.changes import ChangedColumn, TableChange, table_change

TIME = pd.to_datetime(["2013-01-01", "2013-01-02", "2013-01-03", "2013-01-04"], utc=True)


def test_columns_are_named_with_the_moment_they_changed() -> None:
    """c's delay is in hours from its day on, a left, e came; a gap that was one before is no change."""
    old = pd.DataFrame({"key": list("abcd"), "at": TIME, "delay": [5, None, 120, 60], "gate": ["1", "2", "3", "4"]})
    new = pd.DataFrame(
        {"key": list("ebcd"), "at": TIME, "delay": [9, None, 2, 1], "gate": ["9", "2", "3", "X"], "more": [1, 2, 3, 4]}
    )
    assert table_change(old, new, ["key"], "at") == TableChange(
        came=1, left=1, columns=(ChangedColumn("delay", 2, TIME[2]), ChangedColumn("gate", 1, TIME[3]))
    )


def test_a_table_without_time_changes_too() -> None:
    """Only when is not said; of rows with one key the first counts."""
    old = pd.DataFrame({"key": ["a", "a", "b"], "seats": [1, 7, 2]})
    new = pd.DataFrame({"key": ["b", "a"], "seats": [3, 1]})
    assert table_change(old, new, ["key"], None) == TableChange(0, 0, (ChangedColumn("seats", 1, None),))
