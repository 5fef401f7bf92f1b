"""Slices: rows that share a value of a column, or a range of it, on which a model is looked at by itself."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from dovetail.science.metrics import Numbers
from dovetail.settings.schema import Slice

MISSING = "missing"


def slice_columns(frame: pd.DataFrame, slices: Mapping[str, Slice]) -> dict[str, Numbers]:
    """The value of each slice on each row, as strings, by the slice's name."""
    return {name: _values(frame[chosen.column], chosen.edges) for name, chosen in slices.items()}


def slice_rows(slices: Mapping[str, Numbers]) -> list[tuple[str, str, Numbers]]:
    """Each slice's name, value and row numbers; values in order."""
    return [
        (name, str(value), np.flatnonzero(column == value))
        for name, column in slices.items()
        for value in np.unique(column)
    ]


def _values(column: pd.Series, edges: Sequence[float] | None) -> Numbers:
    if edges is None:
        return np.where(column.isna(), MISSING, column.astype(str)).astype(str)
    names = np.array([*_range_names(edges), MISSING])
    # A missing number sorts behind all edges: it gets the last name.
    return names[np.where(column.isna(), len(names) - 1, np.searchsorted(edges, column, side="right"))]


def _range_names(edges: Sequence[float]) -> list[str]:
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"]
