"""The Spark session of the process, which every read through `SparkUnionOfflineStore` shares."""

from feast.repo_config import RepoConfig
from pyspark.errors import PySparkRuntimeError
from pyspark.sql import SparkSession

from dovetail.offline_store.moments import OfflineStoreError

# Spark's own settings that the meaning of timestamps hangs on, and a local session where no master is named.
ALWAYS = {"spark.sql.session.timeZone": "UTC", "spark.sql.legacy.parquet.nanosAsLong": "true"}
LOCAL = {"spark.master": "local[*]", "spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "8"}


def session(config: RepoConfig) -> SparkSession:
    """The one Spark session of the process, made with the store's settings if there is none yet.

    Raises:
        OfflineStoreError: Spark does not start.
    """
    said = config.offline_store.spark_conf
    builder = SparkSession.builder.appName("dovetail")
    for name, value in {**({} if "spark.master" in said else LOCAL), **said, **ALWAYS}.items():
        builder = builder.config(name, value)
    try:
        found: SparkSession = builder.getOrCreate()
    except PySparkRuntimeError as error:
        raise OfflineStoreError(
            f"Spark does not start: {str(error).splitlines()[0]}",
            where=f"with spark.master: {said.get('spark.master', LOCAL['spark.master'])}",
            expected="Expected: Java 17 or later, by JAVA_HOME or on the PATH, and settings that Spark takes.",
            todo="Install Java, or correct `offline_store.spark_conf` in the feature store's file.",
        ) from error
    found.sparkContext.setLogLevel("ERROR")
    return found
