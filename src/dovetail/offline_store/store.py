"""The Feast offline store and its settings: Feast's calls become queries, a connection each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
from feast.data_source import DataSource
from feast.errors import InvalidEntityType
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL, FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import compute_non_entity_date_range
from pydantic import PositiveInt, StrictStr

from dovetail.offline_store.asof import History, events_between, features_as_of, rows_between, text
from dovetail.offline_store.label_rows import LabelRows, from_frame, from_query
from dovetail.offline_store.moments import OfflineStoreError, to_datetime, to_moment, warn_of_naive
from dovetail.offline_store.retrieval import DuckDBAsofRetrievalJob
from dovetail.offline_store.sources import open_rows
from dovetail.offline_store.views import RequestedView, requested_view


class DuckDBAsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast is untyped
    """`offline_store` in `feature_store.yaml`.

    Args:
        type: This store.
        memory_limit: What DuckDB may use before it spills to disk, in its own words.
        threads: How many threads DuckDB may use; None for all processors.
        temp_directory: The folder to spill to; None for the system's.
    """

    type: StrictStr = "dovetail.offline_store.DuckDBAsofOfflineStore"
    memory_limit: StrictStr = "2GB"
    threads: PositiveInt | None = None
    temp_directory: StrictStr | None = None


class DuckDBAsofOfflineStore(OfflineStore):  # type: ignore[misc]  # Feast is untyped
    """Point-in-time reads of Parquet sources with DuckDB; Feast's own meaning, except that no label row is ever lost.

    It reads, and persists what it read; it does not write to sources.
    """

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """A job for the label rows, each once and in their order, with the features known at its moment beside them.

        Args:
            config: Feast's settings.
            feature_views: The views asked for.
            feature_refs: The features asked for, as `view:feature`.
            entity_df: The label rows, or a DuckDB query for them; None for every event between the two dates.
            registry: Feast's registry.
            project: Feast's project.
            full_feature_names: Whether features are called `view__feature`.
            filter_by_created_timestamp: Whether a value is unknown before its created timestamp. None: yes for label
                rows, which ask what was known; no between dates, which ask what happened.
            start_date: The first event, when there are no label rows; None for the longest time to live before the end.
            end_date: The last event, when there are no label rows; None for now.

        Raises:
            OfflineStoreError: the label rows have no proper timestamps. When the job runs: a source cannot be read,
                columns are missing, keys are of another type, or a feature is called like a column of the label rows.
        """
        views = [requested_view(view, feature_refs, full_feature_names) for view in feature_views]
        created_counts = entity_df is not None if filter_by_created_timestamp is None else filter_by_created_timestamp
        with _connect(config) as connection:
            if entity_df is None:
                start, end = compute_non_entity_date_range(feature_views, start_date, end_date)
                labels = from_query(connection, _events(connection, config, views, start, end))
            else:
                labels = _label_rows(connection, entity_df)

        def read() -> pa.Table:
            with _connect(config) as connection:
                return _join(connection, config, labels, views, created_counts)

        return DuckDBAsofRetrievalJob(
            read,
            config.repo_path,
            full_feature_names=full_feature_names,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=_metadata(labels, feature_refs),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """A job for the newest row of each key between two dates, both included; no features: all columns."""
        columns = (join_key_columns, timestamp_field, created_timestamp_column, feature_name_columns)
        return _pull(config, data_source, columns, (start_date, end_date), latest_only=True)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """A job for all rows between two dates, both included (None: open), in order; no features: all columns."""
        columns = (join_key_columns, timestamp_field, created_timestamp_column, feature_name_columns)
        return _pull(config, data_source, columns, (start_date, end_date), latest_only=False)


@contextmanager
def _connect(config: RepoConfig) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database in memory, which spills to a folder that goes with it."""
    settings: Any = config.offline_store
    with TemporaryDirectory(prefix="duckdb-", dir=settings.temp_directory) as spill:
        options = {"memory_limit": settings.memory_limit, "threads": settings.threads, "temp_directory": spill}
        with duckdb.connect(config={name: value for name, value in options.items() if value}) as connection:
            # Not an option of connect: the setting comes with an extension that is loaded by its first use (2.0.0).
            connection.execute("SET TimeZone = 'UTC'")
            # A query for label rows sees files, from the feature repository on, and not this module's variables.
            connection.execute("SET python_enable_replacements = false")
            connection.execute(f"SET file_search_path = {text(str(config.repo_path or ''))}")
            yield connection


def _label_rows(connection: duckdb.DuckDBPyConnection, entity_df: pd.DataFrame | str) -> LabelRows:
    if isinstance(entity_df, pd.DataFrame):
        return from_frame(entity_df)
    if isinstance(entity_df, str):
        return from_query(connection, entity_df)
    raise InvalidEntityType(type(entity_df))


def _events(
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
        rows = open_rows(connection, view.source, config.repo_path, columns)
        rows.check(columns, view.timestamps)
        histories.append((view.history(rows.relation), list(view.keys.values())))
    return events_between(histories, to_moment(start), to_moment(end))


def _join(
    connection: duckdb.DuckDBPyConnection,
    config: RepoConfig,
    labels: LabelRows,
    views: Sequence[RequestedView],
    created_counts: bool,
) -> pa.Table:
    """The label rows with each view's features appended; a view at a time, so that memory holds one join."""
    table, naive = labels.table, labels.naive
    for view in views:
        _check_names(table, view)
        rows = open_rows(connection, view.source, config.repo_path, view.columns)
        naive += rows.check(view.columns, view.timestamps)
        kinds = [rows.schema.field(key).type for key in view.keys]
        connection.register("label_rows", labels.keyed(list(view.keys.values()), kinds))
        query = features_as_of(
            view.history(rows.relation), "label_rows", labels.span or (0, 0), created_counts=created_counts
        )
        for name, column in zip(view.features, connection.sql(query).to_arrow_table().columns, strict=True):
            table = table.append_column(name, column)
    warn_of_naive(naive)
    return table


def _check_names(table: pa.Table, view: RequestedView) -> None:
    taken = [name for name in view.features if name in table.column_names]
    if taken:
        raise OfflineStoreError(
            f"features are called like columns of the label rows: {', '.join(taken[:10])}",
            where=f"source '{view.source.name}'",
            expected="Expected: a name for each column.",
            todo="Rename the columns, or ask with full_feature_names=True.",
        )


def _metadata(labels: LabelRows, feature_refs: list[str]) -> RetrievalMetadata:
    first, last = (to_datetime(moment) for moment in labels.span) if labels.span else (None, None)
    keys = [name for name in labels.table.column_names if name != labels.event]
    return RetrievalMetadata(feature_refs, keys, first, last)


def _pull(
    config: RepoConfig,
    source: DataSource,
    columns: tuple[list[str], str, str | None, list[str]],
    dates: tuple[datetime | None, datetime | None],
    *,
    latest_only: bool,
) -> RetrievalJob:
    keys, event, created, features = columns
    start, end = (to_moment(date) if date else None for date in dates)
    times = [event, created] if created else [event]

    def read() -> pa.Table:
        with _connect(config) as connection:
            named = [*keys, *times, *features] if features else []
            rows = open_rows(connection, source, config.repo_path, named)
            warn_of_naive(rows.check([*keys, *times, *features], times))
            history = History(rows.relation, tuple(keys), event, created or None, tuple(features or rows.schema.names))
            table = connection.sql(rows_between(history, start, end, latest_only=latest_only)).to_arrow_table()
        return table if keys else table.append_column(DUMMY_ENTITY_ID, pa.repeat(DUMMY_ENTITY_VAL, table.num_rows))

    return DuckDBAsofRetrievalJob(read, config.repo_path)
