"""Appending to Parquet sources and logs: what was there stays readable, whatever happens to the writer."""

import fcntl
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq

from dovetail.offline_store.moments import OfflineStoreError


def append(table: pa.Table, path: Path) -> None:
    """Add rows to a Parquet file, or a file of rows to a folder; another writer waits for its turn.

    A file is written anew beside the old one, batch by batch, and takes its place when it is on the disk.

    Raises:
        OfflineStoreError: there is nothing to append to, or the columns are others than those that are there.
    """
    with _alone(path):
        if path.is_dir():
            first = next(iter(sorted(path.rglob("*.parquet"))), None)
            rows = table if first is None else _fitted(table, pq.read_schema(first), path)
            _write(path / f"{uuid.uuid4().hex}.parquet", rows.schema, rows.to_batches())
            return
        if not path.exists():
            raise OfflineStoreError(
                "there is no source to append to",
                where=f"at {path}",
                expected="Expected: a Parquet file, or a folder for them.",
                todo=f"Make the folder:  mkdir -p {path}",
            )
        with pq.ParquetFile(path) as there:
            rows = _fitted(table, there.schema_arrow, path)
            _write(path, there.schema_arrow, chain(there.iter_batches(), rows.to_batches()))


def add_files(table: pa.Table, folder: Path, partition_by: Sequence[str] | None) -> None:
    """Add rows to a folder as new files, by partition if asked; a file has its name when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[str] = []
    try:
        pyarrow.dataset.write_dataset(
            table,
            base_dir=folder,
            basename_template=f"{uuid.uuid4().hex}-{{i}}.partial",
            partitioning=list(partition_by) if partition_by else None,
            partitioning_flavor="hive" if partition_by else None,
            format="parquet",
            existing_data_behavior="overwrite_or_ignore",
            file_visitor=lambda file: written.append(file.path),
        )
        for name in written:
            _flush(Path(name))
            Path(name).rename(Path(name).with_suffix(".parquet"))
    finally:
        for name in written:
            Path(name).unlink(missing_ok=True)


def _fitted(table: pa.Table, schema: pa.Schema, path: Path) -> pa.Table:
    """The rows with the columns of a schema, in its order and of its types."""
    problems = [f"'{name}' is missing" for name in schema.names if name not in table.column_names]
    problems += [f"'{name}' is not there yet" for name in table.column_names if name not in schema.names]
    columns = []
    for field in schema if not problems else []:
        try:
            columns.append(table[field.name].cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            problems.append(f"'{field.name}' is {table[field.name].type}, not {field.type}")
    if problems:
        raise OfflineStoreError(
            f"rows of other columns cannot be appended: {', '.join(problems[:10])}",
            where=f"to {path}; nothing was written.",
            expected=f"It has: {', '.join(schema.names[:40])}.",
            todo="Correct the rows, or write them to a source of their own.",
        )
    return pa.table(columns, schema=schema)


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with pq.ParquetWriter(partial, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        _flush(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
