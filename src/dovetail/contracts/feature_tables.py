"""What a feature table and the label rows must look like; pure functions of Arrow tables that return what is wrong."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

TIME = "event_timestamp"
KNOWN = "label_known_at"
MOMENT = pa.timestamp("us", tz="UTC")
MAX_EXAMPLES, MAX_LENGTH = 5, 40


@dataclass(frozen=True)
class TableRule:
    """What a table must be.

    Attributes:
        name: How a problem names it.
        columns: The columns it must have, in their order, and their types; None is any type.
        is_open: Whether it may have others.
        unique: The columns that are never null and that no two rows share.
        order: The columns its rows are sorted by.
    """

    name: str
    columns: Mapping[str, pa.DataType | None]
    is_open: bool
    unique: list[str]
    order: list[str]


def schema_problems(rule: TableRule, schema: pa.Schema) -> Iterator[str]:
    """Columns that are missing, of another type, or not expected."""
    for name, wanted in rule.columns.items():
        if name not in schema.names:
            yield f"{rule.name}: column '{name}' is missing"
        elif wanted is not None and schema.field(name).type != wanted:
            yield f"{rule.name}: column '{name}' is {schema.field(name).type}, not {wanted}"
    if not rule.is_open:
        others = (name for name in schema.names if name not in rule.columns)
        yield from (f"{rule.name}: column '{name}' is not in the view" for name in others)


def row_problems(rule: TableRule, table: pa.Table) -> Iterator[str]:
    """Keys and moments that are null, and keys that are there more than once."""
    for name in dict.fromkeys([*rule.unique, TIME]):
        if nulls := table[name].null_count:
            yield f"{rule.name}: '{name}' is null in {nulls} rows"
    counts = table.group_by(rule.unique).aggregate([([], "count_all")])
    repeated = counts.filter(pc.greater(counts["count_all"], 1)).select(rule.unique)
    if repeated.num_rows:
        shown = repeated.sort_by([(name, "ascending") for name in rule.unique]).slice(0, MAX_EXAMPLES).to_pylist()
        examples = "; ".join(", ".join(str(value)[:MAX_LENGTH] for value in row.values()) for row in shown)
        yield f"{rule.name}: {repeated.num_rows} keys ({', '.join(rule.unique)}) are there more than once: {examples}"


def label_problems(rows: pa.Table, label: str, features: Set[str]) -> Iterator[str]:
    """Columns named like a feature, labels without the moment they are known at, and labels known too early."""
    yield from (f"label_rows: column '{name}' is also a feature" for name in rows.column_names if name in features)
    if half := pc.sum(pc.xor(rows[label].is_valid(), rows[KNOWN].is_valid())).as_py():
        yield f"label_rows: {half} rows have a '{label}' without '{KNOWN}', or the other way round"
    if early := pc.sum(pc.less_equal(rows[KNOWN], rows[TIME])).as_py():
        yield f"label_rows: {early} labels are known at or before '{TIME}': nothing is left to predict"
