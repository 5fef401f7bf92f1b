"""The Feast offline store and its settings: Feast's calls become queries, a connection each."""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import compute_non_entity_date_range
from pydantic import PositiveInt, StrictBool, StrictStr

from dovetail.offline_store.reading import connect, events, join, join_in_batches, label_rows, metadata, pull
from dovetail.offline_store.retrieval import DeferredRetrievalJob
from dovetail.offline_store.sources import local_path
from dovetail.offline_store.views import requested_views
from dovetail.offline_store.writing import add_files, append


class DuckDBAsofOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast is untyped
    """`offline_store` in `feature_store.yaml`.

    Args:
        type: This store.
        memory_limit: What DuckDB may use before it spills to disk, in its own words.
        threads: How many threads DuckDB may use; None for all processors.
        temp_directory: The folder to spill to; None for the system's.
        filter_by_created_timestamp: Whether a value is unknown before its created timestamp, where a call does not
            say: `FeatureStore` cannot pass on a false.
    """

    type: StrictStr = "dovetail.offline_store.DuckDBAsofOfflineStore"
    memory_limit: StrictStr = "2GB"
    threads: PositiveInt | None = None
    temp_directory: StrictStr | None = None
    filter_by_created_timestamp: StrictBool = True


class DuckDBAsofOfflineStore(OfflineStore):  # type: ignore[misc]  # Feast is untyped
    """Point-in-time reads of Parquet sources with DuckDB; Feast's own meaning, except that no label row is ever lost.

    It appends to Parquet sources and logs, and never changes a row that is there.
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
            filter_by_created_timestamp: Whether a value is unknown before its created timestamp. None: as the settings
                say for label rows, which ask what was known; no between dates, which ask what happened.
            start_date: The first event, when there are no label rows; None for the longest time to live before the end.
            end_date: The last event, when there are no label rows; None for now.

        Raises:
            OfflineStoreError: views or features are not there, or the label rows have no proper timestamps. When the
                job runs: a source cannot be read, columns are missing, keys are of another type, or a feature is
                called like a column of the label rows.
        """
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        views = requested_views(feature_views, on_demand, feature_refs, full_feature_names)
        created_counts = filter_by_created_timestamp
        if created_counts is None:
            created_counts = entity_df is not None and config.offline_store.filter_by_created_timestamp
        with connect(config) as connection:
            if entity_df is None:
                start, end = compute_non_entity_date_range(feature_views, start_date, end_date)
                entity_df = events(connection, config, views, start, end)
            labels = label_rows(connection, config, entity_df)

        def read(timeout: float | None) -> pa.Table:
            with connect(config, timeout) as connection:
                return join(connection, config, labels, views, created_counts)

        def stream(max_rows: int, timeout: float | None) -> Iterator[pa.RecordBatch]:
            with connect(config, timeout) as connection:
                yield from join_in_batches(connection, config, labels, views, created_counts, max_rows)

        return DeferredRetrievalJob(
            read,
            stream,
            config.repo_path,
            full_feature_names=full_feature_names,
            on_demand_feature_views=on_demand,
            metadata=metadata(labels, feature_refs),
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
        return pull(config, data_source, columns, (start_date, end_date), latest_only=True)

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
        return pull(config, data_source, columns, (start_date, end_date), latest_only=False)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Append rows to a view's source, a local Parquet file or a folder; all of them, or none.

        Raises:
            OfflineStoreError: the source is of another kind, or has other columns.
        """
        append(table, local_path(feature_view.batch_source, config.repo_path))
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,  # noqa: ARG004 - Feast's signature
        logging_config: LoggingConfig,
        registry: BaseRegistry,  # noqa: ARG004 - Feast's signature
    ) -> None:
        """Add a log of features to its folder, `FileLoggingDestination`, as new files."""
        destination = logging_config.destination
        if not isinstance(destination, FileLoggingDestination):
            raise TypeError(f"destination must be a FileLoggingDestination, not {type(destination).__name__}")
        rows = pq.read_table(data) if isinstance(data, Path) else data
        add_files(rows, Path(config.repo_path or "") / destination.path, destination.partition_by)
