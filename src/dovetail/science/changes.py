"""What differs between two versions of a table: rows that came or left, and columns that say something else."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd

from dovetail.science.metrics import Numbers


class ChangedColumn(NamedTuple):
    """A column that differs on rows of both versions: how many, and the earliest of their times, if they have one."""

    name: str
    rows: int
    since: pd.Timestamp | None


@dataclass(frozen=True)
class TableChange:
    """How many rows came and left, and the columns that changed, those first that did on most rows."""

    came: int
    left: int
    columns: tuple[ChangedColumn, ...]


def table_change(old: pd.DataFrame, new: pd.DataFrame, key: Sequence[str], time: str | None) -> TableChange:
    """What differs between two versions, row by row of the key; of equal keys the first row counts."""
    before, after = (rows.drop_duplicates(list(key)).set_index(list(key)) for rows in (old, new))
    both = before.index.intersection(after.index)
    came, left = len(after) - len(both), len(before) - len(both)
    before, after = before.loc[both], after.loc[both]
    changed = []
    for name in (name for name in before if name in after):
        rows = differing(before[name], after[name])
        if rows.any():
            since = after.loc[rows, time].min() if time in after else None
            changed.append(ChangedColumn(str(name), int(rows.sum()), since))
    return TableChange(came, left, tuple(sorted(changed, key=lambda column: -column.rows)))


def differing(old: "pd.Series[Any]", new: "pd.Series[Any]") -> Numbers:
    """Where the values of equal rows differ, as a mask; a missing value equals a missing one."""
    before, after = old.to_numpy(), new.to_numpy()
    differs: Numbers = (before != after) & ~(pd.isna(before) & pd.isna(after))
    return differs
