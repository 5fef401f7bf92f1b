"""Slices: rows that share a value of a column, or a range of it, on which a model is looked at by itself."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from dovetail.science.metrics import Numbers
from dovetail.settings.schema import Slice

MISSING = "missing"


def slice_columns(frame: pd.DataFrame, slices: Mapping[str, Slice]) -> dict[str, pd.Categorical]:
    """The value of each slice on each row, by the slice's name; values are strings, and know their order."""
    return {name: _values(frame[chosen.column], chosen.edges) for name, chosen in slices.items()}


def slice_rows(slices: Mapping[str, pd.Categorical]) -> list[tuple[str, str, Numbers]]:
    """Each slice's name, value and row numbers, values in their order; a value without rows is left out."""
    return [
        (name, str(value), rows)
        for name, column in slices.items()
        for code, value in enumerate(column.categories)
        if len(rows := np.flatnonzero(column.codes == code))
    ]


def _values(column: pd.Series, edges: Sequence[float] | None) -> pd.Categorical:
    if edges is None:
        texts = column.astype(str).where(column.notna(), MISSING)
        return pd.Categorical(texts, categories=sorted(texts.unique()))
    names = [*_range_names(edges), MISSING]
    codes = np.where(column.isna(), len(names) - 1, np.searchsorted(edges, column, side="right"))
    return pd.Categorical(np.array(names)[codes], categories=names)


def _range_names(edges: Sequence[float]) -> list[str]:
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g}", *between, f"from {edges[-1]:g}"]
