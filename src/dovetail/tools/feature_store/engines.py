"""The engines that compute feature tables: the same Ibis expressions, the same rows."""

from pathlib import Path
from typing import Any, Protocol

import ibis
import pyarrow as pa
from feast.repo_config import RepoConfig
from ibis.common.exceptions import UnsupportedOperationError

from dovetail.errors import FeatureError
from dovetail.settings.schema import FeatureEngine
from dovetail.tools.feature_store.configuration import feast_config

RESULT = "dovetail_result"


class Engine(Protocol):
    """What computes Ibis expressions; its session's time zone is UTC."""

    name: str

    def read(self, path: Path) -> ibis.Table:
        """The rows of a Parquet file, by the name of the file."""

    def rows(self, table: ibis.Table) -> pa.Table:
        """What an expression gives, in its order, with the types that it declares."""


def open_engine(name: FeatureEngine, feature_repo: Path, config_file: str) -> Engine:
    """DuckDB in this process, or the Spark session that `feature_repo/config_file` describes.

    Raises:
        FeatureError: Spark is asked for, and the file has no settings of Spark, or Spark does not start.
    """
    return DuckDB() if name == "duckdb" else Spark(feast_config(feature_repo, config_file), feature_repo / config_file)


class DuckDB:
    """DuckDB in memory."""

    name = "DuckDB"

    def __init__(self) -> None:
        self._connection = ibis.duckdb.connect()

    def read(self, path: Path) -> ibis.Table:
        """The rows of a Parquet file, by the name of the file."""
        return self._connection.read_parquet(path, table_name=path.stem)

    def rows(self, table: ibis.Table) -> pa.Table:
        """What an expression gives, in its order, with the types that it declares."""
        return table.to_pyarrow()


class Spark:
    """The session of `SparkUnionOfflineStore`, started with its `spark_conf` when there is none yet.

    Args:
        config: Feast's configuration.
        file: Where it was read, for messages.
    """

    name = "Spark"

    def __init__(self, config: RepoConfig, file: Path) -> None:
        self._session = _session(config, file)
        self._connection = ibis.pyspark.connect(self._session)

    def read(self, path: Path) -> ibis.Table:
        """The rows of a Parquet file, which lies at the same path for every executor, by the name of the file."""
        self._session.read.parquet(f"file://{path.resolve()}").createOrReplaceTempView(path.stem)
        table = self._connection.table(path.stem)
        # Spark's timestamps are moments in microseconds; Ibis takes them for ones without a zone.
        return table.cast({name: "timestamp('UTC', 6)" for name, kind in table.schema().items() if kind.is_timestamp()})

    def rows(self, table: ibis.Table) -> pa.Table:
        """What an expression gives, in its order, with the types that it declares; all of it in the driver's memory.

        Ibis itself would lead the rows through pandas, which knows no nulls among integers, and takes NaN for null.

        Raises:
            UnsupportedOperationError: Spark does not know what the expression asks for.
        """
        from pyspark.errors import AnalysisException

        try:
            self._connection.create_view(RESULT, table, overwrite=True)
        except AnalysisException as error:
            raise UnsupportedOperationError(str(error).splitlines()[0]) from error
        found = self._session.table(RESULT).toArrow()
        return found.cast(pa.schema([(field.name, field.type) for field in table.schema().to_pyarrow()]))


def _session(config: RepoConfig, file: Path) -> Any:
    if not isinstance(getattr(config.offline_store, "spark_conf", None), dict):
        raise FeatureError(
            "feature tables are to be computed on Spark, and nothing says on which",
            where=f"in {file}: offline_store",
            expected="Expected: type: dovetail.offline_store.spark.SparkUnionOfflineStore, whose spark_conf says it.",
            todo="Name such a file in conf/profile: feature_store, or set feature_engine: duckdb there.",
        )
    from dovetail.offline_store.moments import OfflineStoreError
    from dovetail.offline_store.spark_session import session

    try:
        return session(config)
    except OfflineStoreError as error:
        raise FeatureError(error.what, where=error.where, expected=error.expected, todo=error.todo) from error
