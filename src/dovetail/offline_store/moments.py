"""Moments: whole microseconds since 1970 UTC, out of whatever kind of timestamp a table holds.

Whole numbers compare the same in pandas, Arrow and DuckDB, whatever their units and time zones; what is finer than
a microsecond is cut off.
"""

import warnings
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class OfflineStoreError(ValueError):
    """Label rows or a source cannot be joined point in time: what, where, what was expected, what to do."""

    def __init__(self, what: str, *, where: str, expected: str, todo: str) -> None:
        self.what, self.where, self.expected, self.todo = what, where, expected, todo
        super().__init__("\n  ".join([what, where, expected, todo]))

    @classmethod
    def of_all(cls, errors: "Sequence[OfflineStoreError]") -> "OfflineStoreError":
        """One error that says what all of them say, a line each; the only one as it is."""
        if len(errors) == 1:
            return errors[0]
        return cls(
            f"{len(errors)} feature views cannot be read"
            + "".join(f"\n  - {error.what}, {error.where}" for error in errors),
            where="nothing was joined.",
            expected=errors[0].expected,
            todo=errors[0].todo,
        )


def to_moment(value: datetime) -> int:
    """A datetime's moment; without a zone it is UTC, as everywhere in Feast."""
    return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND


def to_datetime(moment: int) -> datetime:
    """A moment as a datetime in UTC."""
    return EPOCH + moment * MICROSECOND


def moments_of(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A timestamp column's moments, int64, in its order; without a zone they are UTC."""
    microseconds = pa.timestamp("us", column.type.tz)
    return pc.cast(pc.cast(column, microseconds, safe=False), pa.int64())


def check_timestamps(kind: pa.DataType, column: str, where: str) -> None:
    """Nothing, when a column's type is a timestamp.

    Raises:
        OfflineStoreError: it holds something else, such as text.
    """
    if not pa.types.is_timestamp(kind):
        raise OfflineStoreError(
            f"column '{column}' holds {kind}, not timestamps",
            where=f"in {where}",
            expected="Expected: timestamps in UTC.",
            todo=f"Convert it where it is made:  pd.to_datetime(df['{column}'], utc=True)",
        )


def warn_of_naive(columns: list[str]) -> None:
    """One warning that names all timestamp columns without a time zone; none when there are none."""
    if columns:
        warnings.warn(f"timestamps without a time zone are taken as UTC: {', '.join(columns)}", stacklevel=2)
