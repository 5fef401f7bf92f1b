"""Label rows: what a user wants features for, kept as they came beside the moments that are joined on."""

from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import NamedTemporaryFile

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast.errors import EntityTimestampInferenceException
from numpy.typing import NDArray

from dovetail.offline_store.kinds import is_alike
from dovetail.offline_store.moments import OfflineStoreError, check_timestamps, moments_of

EVENT_TIMESTAMP = "event_timestamp"
WHERE = "the label rows"
ROWS_AT_ONCE = 262_144


@dataclass(frozen=True)
class LabelRows:
    """Label rows in their order.

    Args:
        table: The rows as they came, all columns.
        event: The column with the moment of each row.
        moments: That moment in microseconds since 1970 UTC.
    """

    table: pa.Table
    event: str
    moments: pa.ChunkedArray

    @property
    def span(self) -> tuple[int, int] | None:
        """The first and the last moment; None when there are no rows."""
        return (pc.min(self.moments).as_py(), pc.max(self.moments).as_py()) if self.table.num_rows else None

    @property
    def naive(self) -> list[str]:
        """The timestamp column, when it has no time zone."""
        return [] if self.table.schema.field(self.event).type.tz else [f"{self.event} of {WHERE}"]

    def keyed(self, keys: Sequence[str], kinds: Sequence[pa.DataType]) -> pa.Table:
        """`row_id`, `moment` and the keys as `key_0`, `key_1` and so on, ready to be joined with keys of these types.

        Raises:
            OfflineStoreError: a key column is missing, or is of another kind than the source's, as text and numbers.
        """
        missing = [key for key in keys if key not in self.table.column_names]
        if missing:
            raise OfflineStoreError(
                f"join keys are missing: {', '.join(missing)}",
                where=f"in {WHERE}",
                expected=f"They have: {', '.join(self.table.column_names[:40])}.",
                todo="Add the columns, or map them with FeatureView.with_join_key_map.",
            )
        columns = {f"key_{i}": self._key(key, kind) for i, (key, kind) in enumerate(zip(keys, kinds, strict=True))}
        return pa.table({"row_id": pa.arange(0, self.table.num_rows), "moment": self.moments, **columns})

    def _key(self, key: str, kind: pa.DataType) -> pa.ChunkedArray:
        column = self.table[key]
        if pa.types.is_null(column.type):
            return column.cast(kind)
        if not is_alike(column.type, kind):
            raise OfflineStoreError(
                f"join key '{key}' is {column.type} in {WHERE} and {kind} in the source",
                where=f"in {WHERE}",
                expected=f"Expected: {kind}; 1 is not '1', nor true.",
                todo=f"Convert it:  df['{key}'].astype(...)",
            )
        return column


def from_frame(frame: pd.DataFrame) -> LabelRows:
    """Label rows from a data frame; its index is dropped, its columns keep their types.

    Raises:
        OfflineStoreError: an event timestamp is text or missing; all such rows are counted, the first five numbered.
            Or a column holds values of several types.
        EntityTimestampInferenceException: there is no `event_timestamp`, and no single other timestamp column.
    """
    if EVENT_TIMESTAMP in frame and not pd.api.types.is_datetime64_any_dtype(frame[EVENT_TIMESTAMP]):
        _check_no_row(frame[EVENT_TIMESTAMP].map(lambda value: isinstance(value, str)).to_numpy(bool), "is text")
    try:
        return from_table(pa.Table.from_pandas(frame, preserve_index=False))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise OfflineStoreError(
            f"a column holds values of several types: {'; '.join(map(str, error.args))}",
            where=f"in {WHERE}",
            expected="Expected: one type a column.",
            todo="Convert the column, or leave it out:  df['...'].astype(...)",
        ) from error


def from_query(connection: duckdb.DuckDBPyConnection, query: str, folder: str | None) -> LabelRows:
    """Label rows from a SQL query on DuckDB, in the order of its result; raises what `from_frame` raises.

    They lie in a file in the folder (None: the system's for temporary files), which is mapped into memory: so there may
    be more than memory holds. The file has no name any more when this returns, and is gone with the label rows.
    """
    with NamedTemporaryFile(prefix="label-rows-", dir=folder) as file:
        try:
            reader = connection.sql(query).to_arrow_reader(ROWS_AT_ONCE)
            with pa.OSFile(file.name, "wb") as written, pa.ipc.new_stream(written, reader.schema) as writer:
                for batch in reader:
                    writer.write_batch(batch)
        except duckdb.Error as error:
            raise failed_query(str(error), "DuckDB's") from error
        return from_table(pa.ipc.open_stream(pa.memory_map(file.name)).read_all())


def failed_query(said: str, whose: str) -> OfflineStoreError:
    """The error of a query for label rows that an engine refused, with the first line of what it said."""
    return OfflineStoreError(
        f"the query for the label rows failed: {said.strip().splitlines()[0][:200]}",
        where=f"as {whose} SQL",
        expected="Expected: a query; paths of files in it start at the feature repository.",
        todo="Correct the query.",
    )


def from_table(table: pa.Table) -> LabelRows:
    """Label rows from an Arrow table; raises what `from_frame` raises."""
    event = _event_column(table.schema)
    check_timestamps(table.schema.field(event).type, event, WHERE)
    _check_no_row(table[event].is_null().to_numpy(), "is missing")
    return LabelRows(table, event, moments_of(table[event]))


def _event_column(schema: pa.Schema) -> str:
    """Feast's own rule: the column of that name, else the only timestamp column."""
    candidates = [field.name for field in schema if pa.types.is_timestamp(field.type)]
    if EVENT_TIMESTAMP in schema.names:
        return EVENT_TIMESTAMP
    if len(candidates) != 1:
        raise EntityTimestampInferenceException(EVENT_TIMESTAMP)
    return str(candidates[0])


def _check_no_row(bad: NDArray[np.bool_], problem: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        numbers = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
        raise OfflineStoreError(
            f"the event timestamp {problem} in {len(rows)} of {len(bad)} label rows (counted from 0: {numbers})",
            where=f"in {WHERE}",
            expected="Expected: a timestamp in UTC in every row.",
            todo="Convert or drop these rows:  pd.to_datetime(df['event_timestamp'], utc=True)",
        )
