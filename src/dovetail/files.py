"""Files that are written whole or not at all, and the hashes that name them."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dovetail.errors import DiskFullError, WorkspaceError

if TYPE_CHECKING:
    import pyarrow as pa


def is_disk_full(error: BaseException | None) -> bool:
    """Whether no space being left is the error, or what led to it; a tool may have wrapped it in its own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if getattr(error, "sqlite_errorname", None) in ("SQLITE_FULL", "SQLITE_IOERR_WRITE"):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes `path`'s place when the block ends well.

    The file is flushed to the disk before it is renamed, so a reader sees the old file or the new one, whole.

    Raises:
        DiskFullError: no space is left; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"no space left to write {path.name}",
                where=f"in {path.parent}; what was there before is untouched.",
                todo="Free some space and run the same command again:  df -h .",
            ) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(content: bytes, path: Path) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(text: str, path: Path) -> None:
    """Write text as UTF-8, whole or not at all."""
    write_bytes(text.encode(), path)


def write_json(value: Any, path: Path) -> None:
    """Write a value as JSON that people and `git diff` can read; keys keep their order."""
    write_text(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n", path)


def read_json(path: Path) -> Any:
    """What `write_json` wrote.

    Raises:
        WorkspaceError: the file is not there: the stage that makes it has not run.
    """
    if not path.exists():
        raise WorkspaceError(f"{path.name} is missing", where=f"at {path}", todo="Make it:  dvc repro")
    return json.loads(path.read_text(encoding="utf-8"))


def write_parquet(table: "pa.Table", path: Path, encoding: Mapping[str, str] | None = None) -> None:
    """Write a table as Parquet: same rows, same bytes; timestamps in microseconds, pages with checksums.

    `encoding` is by column, for all columns or none; Parquet chooses a good one by itself.
    """
    import pyarrow.parquet as pq

    with replacing(path) as temporary:
        pq.write_table(
            # A page would end where a chunk does.
            table.replace_schema_metadata(None).combine_chunks(),
            temporary,
            compression="zstd",
            coerce_timestamps="us",
            write_page_checksum=True,
            use_dictionary=encoding is None,
            column_encoding=encoding and dict(encoding),
        )


def read_parquet(path: Path, columns: list[str] | None = None) -> "pa.Table":
    """A Parquet file's rows, in their order, page checksums verified.

    Raises:
        WorkspaceError: the file is not there: the stage that makes it has not run.
    """
    import pyarrow.parquet as pq

    if not path.exists():
        raise WorkspaceError(f"{path.name} is missing", where=f"at {path}", todo="Make it:  dvc repro")
    return pq.ParquetFile(path, page_checksum_verification=True).read(columns)


def sha256(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(content: bytes) -> str:
    """The SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
