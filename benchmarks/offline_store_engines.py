"""One measurement for `offline_store.py`: features for the label rows of a folder, by one engine, in this process.

The folder holds `labels.parquet`, a Parquet file a view, and `views.json`. Prints seconds, peak memory and a digest.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_LIMIT = "6GB"
# More label rows than this are given as a query, and the result is persisted.
ROWS_IN_MEMORY = 5_000_000
SPARK = {"spark.driver.memory": "4g", "spark.ui.showConsoleProgress": "false"}
OFFLINE_STORES = {
    "dovetail": {"type": "dovetail.offline_store.DuckDBAsofOfflineStore", "memory_limit": MEMORY_LIMIT},
    "dovetail-spark": {"type": "dovetail.offline_store.spark.SparkUnionOfflineStore", "spark_conf": SPARK},
    "feast-duckdb": {"type": "duckdb"},
    "feast-dask": {"type": "file"},
    "feast-spark": {"type": "spark", "spark_conf": SPARK | {"spark.sql.session.timeZone": "UTC"}},
}


def main(folder: Path, engine: str) -> None:
    """Measure, and print it as JSON."""
    views = json.loads((folder / "views.json").read_text())
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.parquet"
        ask = by_hand(folder, views, out) if engine == "sql" else through_feast(folder, views, engine, Path(scratch))
        start = time.perf_counter()
        result = ask()
        seconds = time.perf_counter() - start
        relation = duckdb.from_arrow(result) if result is not None else duckdb.read_parquet(str(out))
        columns = sorted(name for name in relation.columns if not name.startswith("__"))
        digest = relation.aggregate(f"count(*), bit_xor(hash({', '.join(columns)}))").fetchall()[0]
    print(json.dumps({"seconds": seconds, "mb": peak_mb(), "rows": digest[0], "digest": digest[1]}))


def is_large(folder: Path) -> bool:
    """Whether label rows and result had better stay on the disk."""
    n_rows: int = pq.read_metadata(folder / "labels.parquet").num_rows
    return n_rows > ROWS_IN_MEMORY


def by_hand(folder: Path, views: list[dict[str, Any]], out: Path) -> Callable[[], pa.Table | None]:
    """The query that one would write: an ASOF join a view, values blanked when they have expired."""
    columns, joins = [], []
    for number, view in enumerate(views):
        here = f"v{number}"
        on = [f"labels.{key} = {here}.{key}" for key in view["keys"]]
        on.append(f"labels.event_timestamp >= {here}.event_timestamp")
        joins.append(f"ASOF LEFT JOIN '{folder}/{view['name']}.parquet' {here} ON {' AND '.join(on)}")
        alive = f"{here}.event_timestamp >= labels.event_timestamp - INTERVAL {view['ttl']} SECOND"
        for feature in view["features"]:
            value = f"CASE WHEN {alive} THEN {here}.{feature} END" if view["ttl"] else f"{here}.{feature}"
            columns.append(f"{value} AS {feature}")
    rest = f"{' '.join(joins)} ORDER BY labels.place"
    connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "temp_directory": str(out.parent)})
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")
    select = f"SELECT labels.*, {', '.join(columns)} FROM "  # noqa: S608 - names of our own
    if is_large(folder):

        def write() -> None:
            connection.execute(f"COPY ({select} '{folder}/labels.parquet' labels {rest}) TO '{out}'")

        return write
    connection.register("labels", labels(folder))
    return lambda: connection.sql(f"{select} labels {rest}").to_arrow_table()


def labels(folder: Path) -> Any:
    """The label rows as a data frame."""
    return pq.read_table(folder / "labels.parquet").to_pandas()


def through_feast(folder: Path, views: list[dict[str, Any]], engine: str, scratch: Path) -> Callable[[], Any]:
    """The same through Feast, with one of the offline stores; everything is registered before the clock starts."""
    from feast import FeatureStore, RepoConfig
    from feast.infra.offline_stores.file_source import SavedDatasetFileStorage

    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(scratch / "registry.db"),
        online_store=None,
        offline_store=OFFLINE_STORES[engine],
        entity_key_serialization_version=3,
        repo_path=scratch,
    )
    store = FeatureStore(config=config)
    store.apply(definitions(folder, views, engine))
    refs = [f"{view['name']}:{feature}" for view in views for feature in view["features"]]
    if is_large(folder):
        query = f"SELECT * FROM '{folder}/labels.parquet'"  # noqa: S608 - a path of our own
        storage = SavedDatasetFileStorage(path="out.parquet")
        return lambda: store.get_historical_features(query, refs).persist(storage)
    frame = labels(folder)
    if engine.endswith("spark"):
        # Neither store is measured by how long Spark takes to start.
        from dovetail.offline_store.spark_session import session

        session(config).sql("SELECT 1").collect()
    return lambda: store.get_historical_features(frame, refs).to_arrow()


def definitions(folder: Path, views: list[dict[str, Any]], engine: str) -> list[Any]:
    """Entities and views for Feast, on sources of the kind that the engine reads."""
    from feast import Entity, FeatureView, Field, FileSource, ValueType
    from feast.data_format import ParquetFormat
    from feast.types import Float64, Int64, String

    types = {"string": String, "int64": Int64, "double": Float64}
    objects: dict[str, Any] = {}
    for view in views:
        name, path = view["name"], str(folder / f"{view['name']}.parquet")
        if engine == "feast-spark":
            from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

            source = SparkSource(name=name, path=path, file_format="parquet", timestamp_field="event_timestamp")
        else:
            source = FileSource(name=name, path=path, timestamp_field="event_timestamp", file_format=ParquetFormat())
        for key, dtype in view["keys"].items():
            kind = ValueType.STRING if dtype == "string" else ValueType.INT64
            objects[key] = Entity(name=key, join_keys=[key], value_type=kind)
        fields = [Field(name=field, dtype=types[dtype]) for field, dtype in (view["keys"] | view["features"]).items()]
        entities = [objects[key] for key in view["keys"]]
        ttl = timedelta(seconds=view["ttl"])
        objects[f"{name} view"] = FeatureView(name=name, entities=entities, ttl=ttl, schema=fields, source=source)
    return list(objects.values())


def peak_mb() -> int:
    """The most memory that this process has had resident, in MB; Spark's own process is not in it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1000


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
