"""Reads tables from files and databases; SQLAlchemy and fsspec are used here only. Writes nothing."""

import importlib.util
import lzma
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy
from pyarrow import csv
from pyarrow.parquet import ParquetFile
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dovetail.contracts.types import as_text, converted
from dovetail.errors import SourceError
from dovetail.settings.schema import Source

BATCH_ROWS = 50_000
LONGEST_REASON = 200


def read(name: str, source: Source, connections: Mapping[str, str], until: datetime, root: Path) -> pa.Table:
    """A source's rows, sorted by its key; of a source with a `time`, those before `until`.

    The contract's columns have the contract's names and types (timestamps in UTC, microseconds; missing is null, never
    NaN), but for a column with a value that cannot be converted: that one is text, for the contract to complain about.
    A column that the contract does not know is carried along; one that is missing stays missing.

    Args:
        name: The source's name in the settings, for messages.
        source: Where to read, and the contract.
        connections: The profile's SQLAlchemy URLs by name.
        until: Rows at or after this moment do not exist yet.
        root: The folder that local paths start from.

    Raises:
        SourceError: it is missing, damaged or not allowed to be read, or its query fails.
    """
    table = _query(name, source, connections) if source.kind == "sql" else _file(name, source, root)
    renamed = table.rename_columns([source.rename.get(column, column) for column in table.column_names])
    return _sorted(_before(until, _typed(renamed, source), source.time), source.key)


def origin(source: Source) -> str:
    """Where a source comes from, without a secret and without a folder of this machine."""
    if source.kind == "sql":
        return f"a query on the connection '{source.connection}'"
    path = _masked(str(source.path))
    return PurePath(path).name if PurePath(path).is_absolute() else path


def _masked(url: str) -> str:
    """The URL without its user, password and parameters' values."""
    return re.sub(r"(?<=[?&])([^=&]+)=[^&]*", r"\1=***", re.sub(r"(?<=://)[^/]*@", "***@", url))


# --- files -----------------------------------------------------------------------------------------------------------


def _file(name: str, source: Source, root: Path) -> pa.Table:
    with _file_errors(name, source), fsspec.open(_location(name, source, root), compression="infer") as file:
        is_csv = source.kind == "csv"
        table = _csv(file, source) if is_csv else ParquetFile(file, page_checksum_verification=True).read()
    if len(table.column_names) == 1 < len(source.columns):
        raise SourceError(
            f"source '{name}' has a single column: {table.column_names[0][:40]}",
            where=f"at {origin(source)}",
            expected=f"{len(source.columns)} columns with '{source.separator}' between them.",
            todo=f"Set what is between them in conf/:  usecase.sources.{name}.separator",
        )
    return table


def _location(name: str, source: Source, root: Path) -> str:
    """The address for fsspec; package://NAME/... is a file of an installed package, found without an import."""
    path = str(source.path)
    if not path.startswith("package://"):
        return path if "://" in path else str(root / path)
    package, _, inside = path.removeprefix("package://").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            f"source '{name}' is missing: the package '{package}' is not installed",
            where=f"at {path}",
            todo=f"Install it:  pip install {package}",
        )
    return str(Path(spec.submodule_search_locations[0]) / inside)


def _csv(file: Any, source: Source) -> pa.Table:
    """Every column as text: what the contract wants of it is tried afterwards, and then nothing is lost."""
    return csv.read_csv(
        file,
        parse_options=csv.ParseOptions(delimiter=source.separator, newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            default_column_type=pa.string(), null_values=source.missing, strings_can_be_null=True
        ),
    )


@contextmanager
def _file_errors(name: str, source: Source) -> Iterator[None]:
    setting = f"usecase.sources.{name}"
    where = f"at {origin(source)}"
    try:
        yield
    except FileNotFoundError as error:
        todo = f"Put the file there, or correct {setting}.path in conf/."
        raise SourceError(f"source '{name}' is missing", where=where, todo=todo) from error
    except PermissionError as error:
        todo = "Ask for the right to read it, or put your credentials in the environment."
        raise SourceError(f"source '{name}' must not be read: permission denied", where=where, todo=todo) from error
    except ImportError as error:
        raise _needs_package(name, where, error) from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise SourceError(
            f"source '{name}' cannot be read: {_reason(error)}",
            where=where,
            expected=f"A whole {source.kind} file; is it empty, cut off, or of another kind?",
            todo=f"Put a whole file there, or correct {setting} in conf/.",
        ) from error


def _needs_package(name: str, where: str, error: ImportError) -> SourceError:
    return SourceError(
        f"source '{name}' needs a package that is not installed: {error.name or _reason(error)}",
        where=where,
        todo="Install it, or the extra that brings it:  pip install 'dovetail[postgres,s3]'",
    )


def _reason(error: BaseException, secret: str | None = None) -> str:
    """An error's first line, short, without the secret."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (text.replace(secret, "***") if secret else text)[:LONGEST_REASON]


# --- databases -------------------------------------------------------------------------------------------------------


def _query(name: str, source: Source, connections: Mapping[str, str]) -> pa.Table:
    """The query's rows; read in batches in a transaction that is rolled back."""
    url = _url(name, source, connections)
    with _database_errors(name, source, url):
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        with engine.connect().execution_options(stream_results=True) as connection:
            # The database's own SQL, untouched: text() would take the ':30' of a time for a parameter.
            result = connection.exec_driver_sql(str(source.query))
            names = list(result.keys())
            batches = [[_array(values) for values in zip(*rows, strict=True)] for rows in result.partitions(BATCH_ROWS)]
    columns = zip(*batches, strict=True) if batches else [[] for _ in names]
    return pa.table([_joined(list(chunks)) for chunks in columns], names=names)


def _url(name: str, source: Source, connections: Mapping[str, str]) -> sqlalchemy.URL:
    connection = str(source.connection)
    if connection not in connections:
        raise SourceError(
            f"source '{name}' asks for the unknown connection '{connection}'",
            where="in the profile's connections (conf/profile/)",
            expected=f"Available: {', '.join(connections) or 'none'}.",
            todo=f"Correct usecase.sources.{name}.connection, or add the connection to the profile.",
        )
    try:
        url = sqlalchemy.make_url(connections[connection])
    except SQLAlchemyError as error:
        raise SourceError(
            f"the connection '{connection}' of source '{name}' is not a database URL",
            where=f"at connections.{connection} of the profile (conf/profile/)",
            expected="Such as sqlite:///data/operational.sqlite",
            todo="Correct it there, or in the environment variable that it names.",
        ) from error
    return _read_only_sqlite(name, url) if url.get_backend_name() == "sqlite" else url


def _read_only_sqlite(name: str, url: sqlalchemy.URL) -> sqlalchemy.URL:
    """The URL that opens the file read-only; SQLite would make an empty database where there is none.

    https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#uri-connections
    """
    if not Path(str(url.database)).is_file():
        raise SourceError(
            f"source '{name}' is missing: its database is not there",
            where=f"at {_masked(str(url))}",
            todo="Make the example's operational system:  make sources",
        )
    return url.set(database=f"file:{quote(str(url.database))}", query={"mode": "ro", "uri": "true"})


@contextmanager
def _database_errors(name: str, source: Source, url: sqlalchemy.URL) -> Iterator[None]:
    where = f"on the connection '{source.connection}', {url.get_backend_name()} database {url.database}"
    try:
        yield
    except ImportError as error:
        raise _needs_package(name, where, error) from error
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise SourceError(
            f"the query of source '{name}' fails: {_reason(cause, url.password)}",
            where=where,
            todo=f"Correct usecase.sources.{name}.query in conf/, or see that the database answers.",
        ) from error


def _array(values: tuple[Any, ...]) -> pa.Array:
    """A batch of a column in the type of its Python values; as text when they have no common one."""
    try:
        return pa.array(values)
    except (ValueError, TypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values])


def _joined(chunks: list[pa.Array]) -> pa.ChunkedArray:
    """A column from its batches, which a database without strict types may have typed differently."""
    schemas = [pa.schema([("", chunk.type)]) for chunk in chunks] or [pa.schema([("", pa.null())])]
    try:
        common = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        common = pa.string()
    return pa.chunked_array([chunk.cast(common) for chunk in chunks], common)


# --- what every source becomes ---------------------------------------------------------------------------------------


def _typed(table: pa.Table, source: Source) -> pa.Table:
    for position, name in enumerate(table.column_names):
        if name in source.columns:
            values = table.column(position)
            typed = converted(values, source.columns[name].type)
            table = table.set_column(position, name, as_text(values) if typed is None else typed)
    return table


def _before(until: datetime, table: pa.Table, time: str | None) -> pa.Table:
    """The rows before `until`, and those without a time; all of them when there is no such column of timestamps."""
    if time is None or table.column_names.count(time) != 1 or not pa.types.is_timestamp(table[time].type):
        return table
    exists = pc.less(table[time], pa.scalar(until, table[time].type))
    return table.filter(pc.fill_null(exists, True))


def _sorted(table: pa.Table, key: list[str]) -> pa.Table:
    """In the order of the key, then of the other columns, so that equal rows in another order give the same table."""
    sortable = [name for name in table.column_names if table.column_names.count(name) == 1 and _has_order(table[name])]
    first = [name for name in key if name in sortable]
    order = [*first, *(name for name in sortable if name not in first)]
    return table.sort_by([(name, "ascending") for name in order]) if order else table


def _has_order(values: pa.ChunkedArray) -> bool:
    return not pa.types.is_nested(values.type) and not pa.types.is_null(values.type)
