"""The rules of a column's values, as pandera checks, and the rows that break them; pandera is used here only."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
from pandera.errors import SchemaErrorReason

from dovetail.contracts.types import ARROW_TYPES
from dovetail.settings.schema import Column

MAX_EXAMPLES = 5
MAX_CHARACTERS = 40


@dataclass(frozen=True)
class Broken:
    """A rule in words, the positions of the rows that break it, and the first values that do, as text.

    A rule that could not be evaluated has a `failure` and no rows.
    """

    rule: str
    rows: tuple[int, ...]
    examples: tuple[str, ...] = ()
    failure: str | None = None


def short(text: str) -> str:
    """The text's first forty characters; what was cut off is told by an ellipsis."""
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def schema(columns: Mapping[str, Column], key: list[str]) -> pandera.DataFrameSchema:
    """What pandera asks of a frame in Arrow's types with these columns and, when there is a key, with unique keys."""
    return pandera.DataFrameSchema(
        {
            name: pandera.Column(
                pd.ArrowDtype(ARROW_TYPES[column.type]), checks=list(_checks(column)), nullable=column.nullable
            )
            for name, column in columns.items()
        },
        unique=key or None,
        report_duplicates="all",
    )


def broken_rules(table: pa.Table, columns: Mapping[str, Column], key: list[str]) -> list[Broken]:
    """The rules that the table's rows break; the table has these columns, in their types, and the key's are among them.

    Of rows with the same key, all break the key's rule. A null breaks no rule but 'not null'.
    """
    frame = table.to_pandas(types_mapper=pd.ArrowDtype)
    try:
        schema(columns, key).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as found:
        return [_broken(error, frame, key) for error in found.schema_errors]
    return []


def _checks(column: Column) -> Iterator[pandera.Check]:
    if column.type == "number":
        yield pandera.Check(lambda values: ~values.isin([float("inf"), float("-inf")]), error="finite")
    if column.min is not None:
        yield pandera.Check.ge(column.min, error=f"at least {column.min:g}")
    if column.max is not None:
        yield pandera.Check.le(column.max, error=f"at most {column.max:g}")
    if column.one_of is not None:
        yield pandera.Check.isin(column.one_of, error=f"one of {short(', '.join(column.one_of))}")
    if column.matches is not None:
        pattern = column.matches
        yield pandera.Check(lambda values: values.str.fullmatch(pattern), error=f"matches {short(column.matches)}")


def _broken(error: pandera.errors.SchemaError, frame: pd.DataFrame, key: list[str]) -> Broken:
    if error.reason_code == SchemaErrorReason.CHECK_ERROR:
        return Broken(f"{error.column_name}: {error.check.error}", (), failure=str(error.failure_cases)[:200])
    rows = tuple(sorted({int(row) for row in error.failure_cases["index"]}))
    first = frame.iloc[list(rows[:MAX_EXAMPLES])]
    if error.reason_code == SchemaErrorReason.DUPLICATES:
        return Broken(f"{', '.join(key)}: unique", rows, tuple(first[key].astype(str).agg(" ".join, axis=1)))
    if error.reason_code == SchemaErrorReason.SERIES_CONTAINS_NULLS:
        return Broken(f"{error.column_name}: not null", rows)
    return Broken(f"{error.column_name}: {error.check.error}", rows, tuple(map(str, first[error.column_name])))
