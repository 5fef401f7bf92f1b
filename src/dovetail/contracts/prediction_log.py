"""The prediction log: Parquet files that are only ever added, a row a prediction, each with an id that proves its row.

An id is `BATCH-ROW`. The batch is made of what all rows of one scoring share, so the smallest and the largest id that
Parquet notes for each file say at once whether it can hold an id. The row is made of what was predicted for whom: a
row that was altered no longer has its id.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dovetail.errors import WorkspaceError

ID = "prediction_id"
# Of one scoring, and of one row: what a prediction is.
_SHARED = ("model", "model_version", "run_id", "data_version", "scored_at")
_OWN = ("key", "event_timestamp", "probability", "is_positive")
_BATCH_DIGITS, _ROW_DIGITS = 8, 16


@dataclass(frozen=True)
class Prediction:
    """A row of the log, the file that holds it, and whether it is what its id was made of."""

    file: Path
    row: dict[str, Any]
    is_sound: bool


@dataclass(frozen=True)
class Made:
    """The predictions of one version: how many in how many files, first and last scored when.

    `altered` are the ids of rows that are no longer theirs; None when nobody looked. Rows of before there were ids
    are `without_id`.
    """

    rows: int = 0
    files: int = 0
    first: datetime | None = None
    last: datetime | None = None
    altered: tuple[str, ...] | None = None
    without_id: int = 0


def with_ids(rows: pa.Table) -> pa.Table:
    """The rows with their ids as the first column."""
    return rows.add_column(0, ID, pa.array([_id(row) for row in rows.to_pylist()], pa.string()))


def find(folder: Path, start: str) -> list[Prediction]:
    """The predictions whose id starts so, the newest files first; a whole id is of one prediction at most.

    Raises:
        WorkspaceError: a file of the log cannot be read.
    """
    found = []
    for file in _files(folder):
        if _may_hold(file, ID, start):
            rows = _read(file)
            hits = rows.filter(pc.starts_with(rows[ID], start)).to_pylist()
            found += [Prediction(file, row, row[ID] == _id(row)) for row in hits]
    return found


def made_by(folder: Path, run_id: str, version: int, *, verify: bool) -> Made:
    """What the log says of a version of the run's model; with `verify` each of its rows is held against its id.

    Raises:
        WorkspaceError: a file of the log cannot be read.
    """
    files = [file for file in _files(folder) if _may_hold(file, "run_id", run_id)]
    parts = [rows for rows in (_of(_read(file), run_id, version) for file in files) if rows.num_rows]
    if not parts:
        return Made(altered=() if verify else None)
    moments = [moment for rows in parts for moment in pc.unique(rows["scored_at"]).to_pylist()]
    named = [row for rows in parts if verify and ID in rows.column_names for row in rows.to_pylist()]
    return Made(
        rows=sum(rows.num_rows for rows in parts),
        files=len(parts),
        first=min(moments),
        last=max(moments),
        altered=tuple(row[ID] for row in named if row[ID] != _id(row)) if verify else None,
        without_id=sum(rows.num_rows for rows in parts if ID not in rows.column_names),
    )


def _files(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*.parquet"), reverse=True)


def _read(file: Path) -> pa.Table:
    try:
        return pq.ParquetFile(file, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(file) from error


def _of(rows: pa.Table, run_id: str, version: int) -> pa.Table:
    return rows.filter(pc.and_(pc.equal(rows["run_id"], run_id), pc.equal(rows["model_version"], version)))


def _may_hold(file: Path, column: str, start: str) -> bool:
    """Whether a value of the text column may start so, by the smallest and largest that Parquet notes of its groups."""
    try:
        metadata = pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(file) from error
    at = metadata.schema.to_arrow_schema().get_field_index(column)
    noted = [metadata.row_group(group).column(at).statistics for group in range(metadata.num_row_groups) if at >= 0]
    return any(
        not (each and each.has_min_max) or each.min[: len(start)] <= start <= each.max[: len(start)] for each in noted
    )


def _damaged(file: Path) -> WorkspaceError:
    return WorkspaceError(
        f"{file.name} cannot be read: it is damaged, or no Parquet file",
        where=f"in the prediction log at {file.parent}",
        todo=f"Restore it from a copy, or put it aside:  mv {file} {file}.damaged",
    )


def _id(row: dict[str, Any]) -> str:
    batch = _digest([row[name] for name in _SHARED])
    return f"{batch[:_BATCH_DIGITS]}-{_digest([batch, *(row[name] for name in _OWN)])[:_ROW_DIGITS]}"


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256("\n".join(map(_text, values)).encode()).hexdigest()


def _text(value: Any) -> str:
    """A value so that equal ones alone have the same text."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.hex() if isinstance(value, float) else str(value)
