"""Files in S3, as DuckDB reads them: in pieces, through Arrow, which knows a source's endpoint and credentials.

DuckDB's own way to S3 is an extension that it would download. It also takes file systems of fsspec:
https://duckdb.org/docs/stable/guides/python/filesystems
"""

import glob
import re
import threading
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.fs
from feast.infra.offline_stores.file_source import FileSource
from fsspec.implementations.arrow import ArrowFSWrapper

ALIAS = re.compile(r"\bs3-\d+://")


def s3_pattern(connection: duckdb.DuckDBPyConnection, source: FileSource, path: str) -> str:
    """What this connection is to call a file, a folder (all `*.parquet` in it) or a pattern in S3.

    Each source has a file system of its own, for it may have an endpoint and credentials of its own.

    Raises:
        OSError: nobody answers, or it may not be read.
        CredentialResolutionError: the source's reference to credentials leads nowhere.
    """
    endpoint, credentials = source.s3_endpoint_override or "", source.resolve_credentials()
    filesystem, name = FileSource.create_filesystem_and_path(path, endpoint, credentials)
    found = filesystem.get_file_info(name).type
    alias = f"s3-{len(connection.list_filesystems())}"
    connection.register_filesystem(_S3Files(filesystem, alias))
    if found == pyarrow.fs.FileType.Directory:
        return f"{alias}://{glob.escape(name.rstrip('/'))}/**/*.parquet"
    return f"{alias}://{glob.escape(name) if found == pyarrow.fs.FileType.File else name}"


def as_s3(message: str) -> str:
    """What DuckDB says, with the URLs that the user knows."""
    return ALIAS.sub("s3://", message)


class _S3Files(ArrowFSWrapper):  # type: ignore[misc]  # fsspec is untyped
    """An Arrow file system for DuckDB, under a protocol of its own."""

    # fsspec would take two file systems of Arrow at one address, one after the other, for the same.
    cachable = False
    protocol = ""

    def __init__(self, filesystem: pyarrow.fs.FileSystem, alias: str) -> None:
        self.protocol = alias
        super().__init__(filesystem)

    @staticmethod
    def _strip_protocol(path: str) -> str:
        return ALIAS.sub("", path, count=1).rstrip("/")

    def _open(self, path: str, mode: str = "rb", **_: Any) -> "_S3File":  # noqa: ARG002 - fsspec's signature
        return _S3File(self.fs.open_input_file(path))


class _S3File:
    """An open file with a position a thread: DuckDB 2.0 lets many threads seek and read in one at the same time."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._of_thread = threading.local()

    def seek(self, position: int) -> int:
        self._of_thread.position = position
        return position

    def tell(self) -> int:
        return getattr(self._of_thread, "position", 0)

    def read(self, size: int) -> bytes:
        data: bytes = self._file.read_at(size, self.tell())
        self.seek(self.tell() + len(data))
        return data

    def close(self) -> None:
        self._file.close()
