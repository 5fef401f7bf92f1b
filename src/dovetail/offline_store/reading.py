"""Reads for Feast: a connection each, sources checked before anything is joined, results as a whole or in batches."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.errors import InvalidEntityType
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.repo_config import RepoConfig

from dovetail.offline_store.asof import History, Question, events_between, rows_between, text
from dovetail.offline_store.label_rows import LabelRows, from_frame, from_query
from dovetail.offline_store.moments import OfflineStoreError, to_datetime, to_moment, warn_of_naive
from dovetail.offline_store.retrieval import DeferredRetrievalJob
from dovetail.offline_store.sources import Rows, open_rows
from dovetail.offline_store.views import RequestedView


@contextmanager
def connect(config: RepoConfig, timeout: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory, which spills to a folder that goes with it.

    Raises:
        OfflineStoreError: it is in use for longer than the timeout, in seconds.
    """
    settings: Any = config.offline_store
    with TemporaryDirectory(prefix="duckdb-", dir=settings.temp_directory) as spill:
        options = {"memory_limit": settings.memory_limit, "threads": settings.threads, "temp_directory": spill}
        with duckdb.connect(config={name: value for name, value in options.items() if value}) as connection:
            # Not an option of connect: the setting comes with an extension that is loaded by its first use (2.0.0).
            connection.execute("SET TimeZone = 'UTC'")
            # A query for label rows sees files, from the feature repository on, and not this module's variables.
            connection.execute("SET python_enable_replacements = false")
            # Standard output is the user's.
            connection.execute("SET enable_progress_bar = false")
            connection.execute(f"SET file_search_path = {text(str(config.repo_path or ''))}")
            try:
                with _stopped_after(connection, timeout):
                    yield connection
            except duckdb.InterruptException as error:
                raise OfflineStoreError(
                    f"the query took longer than {timeout} s",
                    where="and was stopped.",
                    expected="Expected: an end within `timeout`.",
                    todo="Ask for fewer label rows or views, or give it more time.",
                ) from error


@contextmanager
def _stopped_after(connection: duckdb.DuckDBPyConnection, timeout: float | None) -> Iterator[None]:
    """Interrupts whatever query runs in the block once the time is over."""
    if timeout is None:
        yield
        return
    is_over = Event()

    def watch() -> None:
        if not is_over.wait(timeout):
            # Between two queries there is nothing to interrupt.
            while not is_over.wait(0.01):
                connection.interrupt()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def label_rows(connection: duckdb.DuckDBPyConnection, config: RepoConfig, entity_df: pd.DataFrame | str) -> LabelRows:
    """The label rows, from a frame or a query.

    Raises:
        OfflineStoreError: they have no proper timestamps.
    """
    if isinstance(entity_df, pd.DataFrame):
        return from_frame(entity_df)
    if isinstance(entity_df, str):
        return from_query(connection, entity_df, config.offline_store.temp_directory)
    raise InvalidEntityType(type(entity_df))


def events(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    views: Sequence[RequestedView],
    start: datetime,
    end: datetime,
) -> str:
    """A query for label rows where there are none: every event of the views in a span of time."""
    histories = []
    for view in views:
        columns = [*view.keys, *view.timestamps]
        rows = open_rows(connection, view.source, config.repo_path)
        rows.check(columns, view.timestamps)
        histories.append((view.history(rows.relation), list(view.keys.values())))
    return events_between(histories, to_moment(start), to_moment(end))


def join(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    labels: LabelRows,
    views: Sequence[RequestedView],
    created_counts: bool,
) -> pa.Table:
    """The label rows with each view's features appended; a view at a time, so that memory holds one join.

    Raises:
        OfflineStoreError: a source, a column or a key is not what a view says; all that is wrong with all is said.
    """
    table = labels.table
    for view, query in _queries(connection, config, labels, views, created_counts):
        for name, column in zip(view.features, connection.sql(query).to_arrow_table().columns, strict=True):
            table = table.append_column(name, column)
    return table


def join_in_batches(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    labels: LabelRows,
    views: Sequence[RequestedView],
    created_counts: bool,
    max_rows: int,
) -> Iterator[pa.RecordBatch]:
    """As `join`, a batch at a time: each view's features are a table of DuckDB's, which it spills like any other."""
    names: list[str] = []
    parts: list[str] = []
    for view, query in _queries(connection, config, labels, views, created_counts):
        columns = ", ".join(f"feature_{len(names) + place}" for place in range(len(view.features)))
        names += view.features
        if len(parts) < len(views) - 1:
            parts.append(f"features_{len(parts)}")
            connection.execute(f"CREATE TABLE {parts[-1]} ({columns}) AS {query}")
        else:
            # The last one is read as it comes.
            parts.append(f"({query}) AS last ({columns})")
    if not parts:
        yield from labels.table.to_batches(max_rows)
        return
    start = 0
    for batch in connection.sql(f"FROM {' POSITIONAL JOIN '.join(parts)}").to_arrow_reader(max_rows):
        for part in (batch.slice(at, max_rows) for at in range(0, batch.num_rows, max_rows)):
            rows = labels.table.slice(start, part.num_rows)
            start += part.num_rows
            for name, column in zip(names, part.columns, strict=True):
                rows = rows.append_column(name, column)
            yield from rows.combine_chunks().to_batches()


def _queries(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    labels: LabelRows,
    views: Sequence[RequestedView],
    created_counts: bool,
) -> Iterator[tuple[RequestedView, str]]:
    """Each view with the query for its features, which is to be run before the next one is asked for.

    Raises:
        OfflineStoreError: a source, a column or a key is not what a view says; all that is wrong with all is said.
    """
    sources = _checked(connection, config, labels, views)
    warn_of_naive([*labels.naive, *(name for _, naive in sources for name in naive)])
    for view, (rows, _) in zip(views, sources, strict=True):
        kinds = [rows.schema.field(key).type for key in view.keys]
        connection.register("label_rows", labels.keyed(list(view.keys.values()), kinds))
        question = Question(
            view.history(rows.relation),
            "label_rows",
            labels.span or (0, 0),
            created_counts,
            labels_are_fewer=labels.table.num_rows < _one(connection, f"SELECT count(*) FROM {rows.relation}"),  # noqa: S608
        )
        yield view, question.features(has_ties=_one(connection, question.has_ties()))


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """The one value that a query gives."""
    (value,) = connection.sql(query).fetchall()[0]
    return value


def _checked(
    connection: duckdb.DuckDBPyConnection, config: RepoConfig, labels: LabelRows, views: Sequence[RequestedView]
) -> list[tuple[Rows, list[str]]]:
    """Each view's rows, and which of its timestamps have no zone."""
    found: list[tuple[Rows, list[str]]] = []
    errors: list[OfflineStoreError] = []
    taken = set(labels.table.column_names)
    for view in views:
        try:
            view.check_names(taken)
            taken |= set(view.features)
            rows = open_rows(connection, view.source, config.repo_path)
            naive = rows.check(view.columns, view.timestamps)
            view.check_types(rows.schema, rows.where)
            labels.keyed(list(view.keys.values()), [rows.schema.field(key).type for key in view.keys])
            found.append((rows, naive))
        except OfflineStoreError as error:
            errors.append(error)
    if errors:
        raise OfflineStoreError.of_all(errors)
    return found


def metadata(labels: LabelRows, feature_refs: list[str]) -> RetrievalMetadata:
    """What Feast records with a saved dataset."""
    first, last = (to_datetime(moment) for moment in labels.span) if labels.span else (None, None)
    keys = [name for name in labels.table.column_names if name != labels.event]
    return RetrievalMetadata(feature_refs, keys, first, last)


def pull(
    config: RepoConfig,
    source: DataSource,
    columns: tuple[list[str], str, str | None, list[str]],
    dates: tuple[datetime | None, datetime | None],
    *,
    latest_only: bool,
) -> RetrievalJob:
    """A job for the rows of a source between two dates; `columns` are keys, event, created and features."""
    keys, event, created, features = columns
    start, end = (to_moment(date) if date else None for date in dates)
    times = [event, created] if created else [event]

    def query(connection: duckdb.DuckDBPyConnection) -> str:
        rows = open_rows(connection, source, config.repo_path)
        warn_of_naive(rows.check([*keys, *times, *features], times))
        history = History(rows.relation, tuple(keys), event, created or None, tuple(features or rows.schema.names))
        return rows_between(history, start, end, latest_only=latest_only)

    def keyed(rows: pa.Table) -> pa.Table:
        return rows if keys else rows.append_column(DUMMY_ENTITY_ID, pa.repeat(DUMMY_ENTITY_VAL, rows.num_rows))

    def read(timeout: float | None) -> pa.Table:
        with connect(config, timeout) as connection:
            return keyed(connection.sql(query(connection)).to_arrow_table())

    def stream(max_rows: int, timeout: float | None) -> Iterator[pa.RecordBatch]:
        with connect(config, timeout) as connection:
            for batch in connection.sql(query(connection)).to_arrow_reader(max_rows):
                yield from keyed(pa.Table.from_batches([batch])).to_batches(max_rows)

    return DeferredRetrievalJob(read, stream, config.repo_path)
