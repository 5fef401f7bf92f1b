"""Appending to sources and logs through a real Feast."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    PushSource,
    ValueType,
)
from feast.data_source import PushMode
from feast.feature_logging import LoggingConfig
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.types import Int64
from offline_stores import OFFLINE_STORES, feature_store

from dovetail.offline_store import OfflineStoreError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def rows(*trips: int) -> pd.DataFrame:
    """A row an hour of driver 1."""
    times = pd.DatetimeIndex([NOON + timedelta(hours=number) for number in range(len(trips))]).as_unit("us")
    return pd.DataFrame({"driver": [1] * len(trips), "trips": list(trips), "event_timestamp": times})


KINDS = [("duckdb", "trips.parquet"), ("duckdb", "trips"), pytest.param(("spark", "trips"), marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS, ids=["file", "folder", "folder-spark"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> FeatureStore:
    """One view, its source a file of two rows or a folder with that file."""
    kind, name = request.param
    if kind == "spark":
        request.getfixturevalue("java")
    path = tmp_path / name
    if path.suffix:
        rows(1, 2).to_parquet(path, row_group_size=1)
    else:
        path.mkdir()
        rows(1, 2).to_parquet(path / "first.parquet")
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    batch = FileSource(path=name, timestamp_field="event_timestamp")
    schema = [Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64)]
    push = PushSource(name="pushed", batch_source=batch)
    view = FeatureView(name="statistics", entities=[driver], ttl=timedelta(days=5), source=push, schema=schema)
    log = LoggingConfig(destination=FileLoggingDestination(path="log"))
    store = feature_store(tmp_path, OFFLINE_STORES[kind])
    store.apply([driver, batch, push, view, FeatureService(name="service", features=[view], logging_config=log)])
    return store


def known(store: FeatureStore) -> list[int]:
    """The trips that are known at each hour."""
    labels = pd.DataFrame({"driver": [1] * 4, "event_timestamp": [NOON + timedelta(hours=n) for n in range(4)]})
    return store.get_historical_features(labels, ["statistics:trips"]).to_arrow()["trips"].to_pylist()


def test_appended_rows_are_read_with_the_old_ones(store: FeatureStore) -> None:
    """Rows of an append join those that were there; a push goes the same way; nothing else is left."""
    later = rows(0, 0, 3)[2:]
    store.write_to_offline_store("statistics", later)
    assert known(store) == [1, 2, 3, 3]
    store.push("pushed", rows(0, 0, 0, 4)[3:], to=PushMode.OFFLINE)
    assert known(store) == [1, 2, 3, 4]
    assert [path.name for path in store.repo_path.rglob("*.partial")] == []


def test_other_columns_are_refused_all_at_once(store: FeatureStore) -> None:
    """Missing, new and unfitting columns are named together, and nothing is written."""
    table = pa.table({"driver": ["x"], "event_timestamp": pa.array([NOON], pa.timestamp("us", "UTC")), "seats": [1]})
    view = store.get_feature_view("statistics")
    provider = store._get_provider()
    with pytest.raises(OfflineStoreError, match="'trips' is missing, 'seats' is not there yet"):
        provider.offline_store.offline_write_batch(store.config, view, table, None)
    table = table.drop_columns(["seats"]).append_column("trips", pa.array([1]))
    with pytest.raises(OfflineStoreError, match="'driver' is string, not int64"):
        provider.offline_store.offline_write_batch(store.config, view, table, None)
    assert known(store) == [1, 2, 2, 2]


def test_served_features_are_logged_and_read_back(store: FeatureStore, tmp_path: Path) -> None:
    """A log of features grows by whole files, and has every row."""
    service = store.get_feature_service("service")
    schema = {
        "driver": pa.int64(),
        "statistics__trips": pa.int64(),
        "statistics__trips__timestamp": pa.timestamp("us", "UTC"),
        "statistics__trips__status": pa.int32(),
        "__log_timestamp": pa.timestamp("us", "UTC"),
        "__log_date": pa.date32(),
        "__request_id": pa.string(),
    }
    for number in range(2):
        values = [1, number, NOON, 1, NOON, NOON.date(), f"r{number}"]
        store.write_logged_features(pa.table([[value] for value in values], schema=pa.schema(schema)), service)
    files = sorted((tmp_path / "log").rglob("*"))
    assert [path.suffix for path in files if path.is_file()] == [".parquet", ".parquet"]
    found = pq.read_table(tmp_path / "log")
    assert sorted(found["__request_id"].to_pylist()) == ["r0", "r1"]
