"""Tells which missing column of a source is probably a new one under another name."""

from difflib import SequenceMatcher

import pyarrow as pa

from dovetail.contracts.rules import broken_rules
from dovetail.contracts.types import converted
from dovetail.settings.schema import Column, Source

# The share of a new column's values that must keep the missing column's rules.
MIN_OVERLAP = 0.9


def probable_renames(table: pa.Table, source: Source) -> dict[str, tuple[str, float]]:
    """For each missing column that has one, the new column that looks the same, and the overlap.

    The overlap is the share (0 to 1) of the new column's present values that the missing column would take: they are
    of its type and keep its rules. Among several, the one with the more similar name wins; none is used twice.
    """
    missing = [column for column in source.columns if column not in table.column_names]
    new = [
        column
        for column in table.column_names
        if table.column_names.count(column) == 1 and column not in source.columns
    ]
    overlaps = {(old, name): overlap(table[name], source.columns[old]) for old in missing for name in new}
    ranked = sorted(overlaps, key=lambda pair: (-similarity(*pair), -overlaps[pair], pair))
    found: dict[str, tuple[str, float]] = {}
    for old, name in ranked:
        is_taken = old in found or name in {taken for taken, _ in found.values()}
        if overlaps[old, name] >= MIN_OVERLAP and not is_taken:
            found[old] = (name, overlaps[old, name])
    return found


def similarity(one: str, other: str) -> float:
    """How similar two names are, 0 to 1."""
    return SequenceMatcher(None, one, other).ratio()


def overlap(values: pa.ChunkedArray, column: Column) -> float:
    """The share of the present values that the column would take; 0 when none is present or one has another type."""
    present = values.drop_null()
    typed = converted(present, column.type)
    if typed is None or len(present) == 0:
        return 0.0
    broken = broken_rules(pa.table({"value": typed}), {"value": column}, key=[])
    n_bad = len({row for each in broken for row in each.rows})
    return 1 - n_bad / len(present)
