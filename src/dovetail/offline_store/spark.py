"""The same Feast offline store on Spark, for those who outgrow one machine."""

from datetime import datetime

import pandas as pd
from feast.data_source import DataSource
from feast.errors import InvalidEntityType
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import compute_non_entity_date_range
from pydantic import Field, StrictBool, StrictStr
from pyspark.errors import PySparkException

from dovetail.offline_store.label_rows import failed_query, from_frame, from_table
from dovetail.offline_store.moments import to_moment
from dovetail.offline_store.reading import metadata
from dovetail.offline_store.spark_jobs import job
from dovetail.offline_store.spark_reading import events, join, pull
from dovetail.offline_store.spark_session import session
from dovetail.offline_store.store import DuckDBAsofOfflineStore
from dovetail.offline_store.views import requested_views


class SparkUnionOfflineStoreConfig(FeastConfigBaseModel):  # type: ignore[misc]  # Feast is untyped
    """`offline_store` in `feature_store.yaml`.

    Args:
        type: This store.
        spark_conf: Spark's settings, as `spark.master: yarn`; without a master, the session is local.
        filter_by_created_timestamp: Whether a value is unknown before its created timestamp, where a call does not
            say.
    """

    type: StrictStr = "dovetail.offline_store.spark.SparkUnionOfflineStore"
    spark_conf: dict[str, str] = Field(default_factory=dict)
    filter_by_created_timestamp: StrictBool = True


class SparkUnionOfflineStore(OfflineStore):  # type: ignore[misc]  # Feast is untyped
    """Point-in-time reads of Parquet sources with Spark; the meaning is that of `DuckDBAsofOfflineStore`.

    Label rows and results pass through the driver's memory; feature rows do not. It appends to what the driver sees as
    local files and folders, as the other does, and to nothing else.
    """

    supports_filter_by_created_timestamp = True
    offline_write_batch = staticmethod(DuckDBAsofOfflineStore.offline_write_batch)
    write_logged_features = staticmethod(DuckDBAsofOfflineStore.write_logged_features)

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
        """As `DuckDBAsofOfflineStore.get_historical_features`; a query for label rows is Spark's SQL."""
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        views = requested_views(feature_views, on_demand, feature_refs, full_feature_names)
        created_counts = filter_by_created_timestamp
        if created_counts is None:
            created_counts = entity_df is not None and config.offline_store.filter_by_created_timestamp
        if entity_df is None:
            start, end = compute_non_entity_date_range(feature_views, start_date, end_date)
            labels = from_table(events(config, views, to_moment(start), to_moment(end)).toArrow())
        elif isinstance(entity_df, pd.DataFrame):
            labels = from_frame(entity_df)
        elif isinstance(entity_df, str):
            try:
                labels = from_table(session(config).sql(entity_df).toArrow())
            except PySparkException as error:
                raise failed_query(str(error), "Spark's") from error
        else:
            raise InvalidEntityType(type(entity_df))
        return job(
            lambda: join(config, labels, views, created_counts),
            config,
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
