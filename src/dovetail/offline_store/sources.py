"""The rows behind a feature view: Parquet files, as a relation that DuckDB can query."""

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from feast.credentials import CredentialResolutionError
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.infra.offline_stores.file_source import FileSource

from dovetail.offline_store.asof import text
from dovetail.offline_store.moments import OfflineStoreError, check_timestamps
from dovetail.offline_store.names import nearest
from dovetail.offline_store.s3 import as_s3, s3_pattern


@dataclass(frozen=True)
class Rows:
    """A source's rows.

    Args:
        relation: SQL, with the columns of `schema` and `filename, file_row_number`, which say where a row lies.
        schema: The source's own columns.
        where: The file or folder, to name it in errors.
    """

    relation: str
    schema: pa.Schema
    where: str

    def check(self, columns: Sequence[str], timestamps: Sequence[str]) -> list[str]:
        """The timestamp columns without a time zone, once all columns are there and all timestamps are timestamps.

        Raises:
            OfflineStoreError: columns are missing, or a timestamp column holds something else.
        """
        missing = [column for column in dict.fromkeys(columns) if column not in self.schema.names]
        if missing:
            near = {column: nearest(column, self.schema.names) for column in missing[:10]}
            named = [f"{column} (nearest: {', '.join(names)})" if names else column for column, names in near.items()]
            raise OfflineStoreError(
                f"columns are missing: {', '.join(named)}",
                where=f"in {self.where}",
                expected=f"It has: {', '.join(self.schema.names[:40])}.",
                todo="Correct the feature view's fields, or the source's field_mapping.",
            )
        kinds = {column: self.schema.field(column).type for column in timestamps}
        for column, kind in kinds.items():
            check_timestamps(kind, column, self.where)
        return [f"{column} of {self.where}" for column, kind in kinds.items() if kind.tz is None]


def open_rows(connection: duckdb.DuckDBPyConnection, source: DataSource | None, repo_path: Path | None) -> Rows:
    """The rows of a Parquet file source, which are read as they are queried, and only where they are needed.

    A relative path starts at the feature repository. A path names a file, a folder (all `*.parquet` in it) or a
    pattern, on this machine or in S3.

    Raises:
        OfflineStoreError: it is another kind of source, there is no such file, or it may not be read.
    """
    path = _path(source, repo_path)
    is_in_s3 = path.startswith("s3://")
    try:
        relation = f"read_parquet({text(s3_pattern(connection, source, path) if is_in_s3 else _pattern(path))})"
        schema = connection.sql(f"FROM {relation} LIMIT 0").to_arrow_table().schema
    except duckdb.InterruptException:
        raise
    except (duckdb.Error, OSError, CredentialResolutionError) as error:
        raise OfflineStoreError(
            f"a source cannot be read: {as_s3(str(error).splitlines()[0])}",
            where=f"at {path}",
            expected="Expected: a Parquet file, a folder of them or a pattern; relative to the feature repository.",
            todo="Make the file, or correct the path of the FileSource"
            + (", its s3_endpoint_override, or the credentials (AWS_ACCESS_KEY_ID and so on)." if is_in_s3 else "."),
        ) from error
    return Rows(relation, schema, path)


def local_path(source: DataSource | None, repo_path: Path | None) -> Path:
    """Where a source's local file or folder is.

    Raises:
        OfflineStoreError: it is another kind of source, or not on this machine.
    """
    path = _path(source, repo_path)
    if "://" in path:
        raise OfflineStoreError(
            "only local sources can be appended to",
            where=f"not {path}",
            expected="Expected: a Parquet file or folder on this machine.",
            todo="Write to a local folder, and copy its new files.",
        )
    return Path(path)


def _path(source: DataSource | None, repo_path: Path | None) -> str:
    if not isinstance(source, FileSource) or not isinstance(source.file_format, ParquetFormat | None):
        raise OfflineStoreError(
            f"a source of kind {type(source).__name__} cannot be read",
            where=f"source '{source.name if source else None}'",
            expected="Expected: a FileSource of Parquet files.",
            todo="Change the feature view's source, or use another offline store for it.",
        )
    return str(FileSource.get_uri_for_file_path(repo_path, source.path))


def _pattern(path: str) -> str:
    """What DuckDB calls a path: a file or folder that exists keeps its name, whatever it looks like."""
    if Path(path).is_dir():
        return glob.escape(path) + "/**/*.parquet"
    return glob.escape(path) if Path(path).exists() else path
