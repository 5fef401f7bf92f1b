"""Judges a source's table by its contract: what stops the run, what warns, which rows are good and which are not.

A column that is missing, doubled, of another type or entirely null stops the run, and so does a source without rows.
A row that breaks a rule of its values, or shares its key with another row, is put aside with the reasons.
Of rows with the same key none is kept: nothing says which of them is right.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from dovetail.contracts.renames import probable_renames
from dovetail.contracts.rules import MAX_EXAMPLES, Broken, broken_rules, short
from dovetail.contracts.types import ARROW_TYPES, unconvertible
from dovetail.settings.schema import Column, Source


@dataclass(frozen=True)
class Verdict:
    """What a contract says of a table.

    Attributes:
        problems: What stops the run, each with a hint on the following line where there is one.
        warnings: What does not, but should be known.
        broken: The number of rows that break a rule, by the rule's words; a row may break several.
        valid: The good rows: the contract's columns, in the contract's order. Without meaning when there are problems.
        quarantined: The other rows, and their `reason`. Without meaning when there are problems.
        missing: The share of nulls among the valid rows of each nullable column.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    broken: dict[str, int]
    valid: pa.Table
    quarantined: pa.Table
    missing: dict[str, float]


def check(name: str, table: pa.Table, source: Source) -> Verdict:
    """The contract's verdict on a source's table."""
    usable = {column: rule for column, rule in source.columns.items() if _is_usable(table, column, rule)}
    known = table.select([table.column_names.index(column) for column in usable])
    broken = broken_rules(known, usable, source.key if set(source.key) <= set(usable) else [])
    reasons = _reasons(broken)
    is_bad = pa.array([row in reasons for row in range(table.num_rows)], pa.bool_())
    valid = known.filter(pc.invert(is_bad))
    return Verdict(
        problems=(*_structure(name, table, source), *_failures(broken), *_too_many(name, broken, table, source)),
        warnings=tuple(_news(table, source)),
        broken={each.rule: len(each.rows) for each in broken},
        valid=valid,
        quarantined=known.filter(is_bad).append_column("reason", pa.array(reasons.values(), pa.string())),
        missing={column: _missing_share(valid[column]) for column, rule in usable.items() if rule.nullable},
    )


# --- the table -------------------------------------------------------------------------------------------------------


def _structure(name: str, table: pa.Table, source: Source) -> Iterator[str]:
    """What is wrong with the table as a whole."""
    if table.num_rows == 0:
        yield "it has no rows"
    yield from _missing_columns(name, table, source)
    for column in dict.fromkeys(table.column_names):
        if table.column_names.count(column) > 1:
            yield f"column '{short(column)}' is there {table.column_names.count(column)} times"
    for column, wanted in source.columns.items():
        if table.num_rows > 0 and table.column_names.count(column) == 1:
            yield from _wrong_column(table[column], column, wanted)


def _missing_columns(name: str, table: pa.Table, source: Source) -> Iterator[str]:
    renames = probable_renames(table, source)
    for column in source.columns:
        if column in renames:
            new, overlap = renames[column]
            like = f"'{short(new)}' is new and looks the same (overlap {overlap:.2f}): renamed?"
            setting = f"usecase.sources.{name}.rename: {{{new}: {column}}}"
            yield f"column '{column}' is missing; {like}\n    accept it:  {setting}"
        elif column not in table.column_names:
            yield f"column '{column}' is missing"


def _wrong_column(values: pa.ChunkedArray, column: str, wanted: Column) -> Iterator[str]:
    if values.null_count == len(values):
        if not wanted.nullable:
            yield f"column '{column}' is entirely null"
    elif values.type != ARROW_TYPES[wanted.type]:
        found = unconvertible(values, wanted.type, MAX_EXAMPLES)
        yield f"column '{column}' should be of type {wanted.type}, and is not{_examples(found)}"


def _is_usable(table: pa.Table, column: str, wanted: Column) -> bool:
    """Whether its rows can be judged: it is there once, in its type, and not null throughout where it must not be."""
    if table.column_names.count(column) != 1 or table[column].type != ARROW_TYPES[wanted.type]:
        return False
    return wanted.nullable or table[column].null_count < table.num_rows or table.num_rows == 0


def _news(table: pa.Table, source: Source) -> Iterator[str]:
    for column in dict.fromkeys(table.column_names):
        if column not in source.columns:
            yield f"column '{short(column)}' is not in the contract and is left out"


# --- the rows --------------------------------------------------------------------------------------------------------


def _reasons(broken: list[Broken]) -> dict[int, str]:
    """The broken rules of each row that breaks one, in the rows' order."""
    reasons: dict[int, list[str]] = {}
    for each in broken:
        for row in each.rows:
            reasons.setdefault(row, []).append(each.rule)
    return {row: "; ".join(reasons[row]) for row in sorted(reasons)}


def _failures(broken: list[Broken]) -> Iterator[str]:
    for each in broken:
        if each.failure:
            yield f"{each.rule} — cannot be evaluated: {each.failure}"


def _too_many(name: str, broken: list[Broken], table: pa.Table, source: Source) -> Iterator[str]:
    n_bad, n_rows = len({row for each in broken for row in each.rows}), table.num_rows
    if n_bad > source.max_quarantined * n_rows:
        yield (
            f"{n_bad:,} of {n_rows:,} rows break a rule: {n_bad / n_rows:.2%}, at most {source.max_quarantined:.2%} may"
            f"\n    how many may:  usecase.sources.{name}.max_quarantined"
        )
        for each in broken:
            yield f"{each.rule} — {len(each.rows):,} rows{_examples(each.examples)}"


def _examples(values: Iterable[str]) -> str:
    shown = ", ".join(short(value) for value in dict.fromkeys(values))
    return f" (e.g. {shown})" if shown else ""


def _missing_share(values: pa.ChunkedArray) -> float:
    return round(values.null_count / len(values), 6) if len(values) else 0.0
