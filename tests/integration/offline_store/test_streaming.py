"""Results larger than memory: in batches, spilled, in time."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from dovetail.offline_store import OfflineStoreError

SETTINGS = """
project: test
registry: registry.db
provider: local
offline_store: {type: dovetail.offline_store.DuckDBAsofOfflineStore, threads: 1}
online_store: {path: online.db}
entity_key_serialization_version: 3
"""
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
# 3 million label rows with 2 views of 8 features, each the number of its driver: the result takes 460 MB, DuckDB may
# have 120 MB. Says how much the process grew.
LARGE = r"""
import re, sys
from pathlib import Path
import numpy as np
from feast import FeatureStore
peak = lambda: int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
store = FeatureStore(repo_path=sys.argv[1])
labels = "SELECT i % 200_000 AS driver, TIMESTAMPTZ '2024-01-02' AS event_timestamp, i FROM range(3_000_000) t(i)"
before, rows = peak(), 0
job = store.get_historical_features(labels, [f"view{view}:f{view}{n}" for view in (0, 1) for n in range(8)])
for batch in job.to_arrow_batches(100_000):
    assert (batch["i"].to_numpy() == np.arange(rows, rows + batch.num_rows)).all()
    assert all(batch[f"f{view}{n}"].equals(batch["driver"]) for view in (0, 1) for n in range(8))
    rows += batch.num_rows
print(rows, (peak() - before) // 1024)
"""


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Two views of one driver each hour, and a feature on demand."""
    (tmp_path / "feature_store.yaml").write_text(SETTINGS)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    views = []
    for name in ("trips", "seats"):
        times = [NOON + timedelta(hours=hour) for hour in range(50)]
        frame = pd.DataFrame({"driver": [1] * 50, name: range(50), "event_timestamp": times})
        frame.to_parquet(tmp_path / f"{name}.parquet")
        source = FileSource(path=f"{name}.parquet", timestamp_field="event_timestamp")
        schema = [Field(name="driver", dtype=Int64), Field(name=name, dtype=Int64)]
        views.append(FeatureView(name=name, entities=[driver], source=source, schema=schema))
    asked = RequestSource(name="asked", schema=[Field(name="price", dtype=Float64)])

    @on_demand_feature_view(sources=[views[0], asked], schema=[Field(name="turnover", dtype=Float64)])
    def turnover(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"turnover": inputs["trips"] * inputs["price"]})

    store = FeatureStore(repo_path=str(tmp_path))
    store.apply([driver, *views, turnover])
    return store


def labels(n: int = 500) -> pd.DataFrame:
    """Label rows in no order of time, some before everything."""
    moments = [NOON + timedelta(minutes=(7919 * row) % 4000 - 300) for row in range(n)]
    return pd.DataFrame({"row": range(n), "driver": 1, "price": 0.5, "event_timestamp": moments})


@pytest.mark.parametrize("features", [["trips:trips", "seats:seats"], ["trips:trips", "turnover:turnover"]])
def test_batches_are_the_table(store: FeatureStore, features: list[str]) -> None:
    """Joined in batches, the rows are those of the whole, in order and of the same types, on-demand ones too."""
    job = store.get_historical_features(labels(), features)
    batches = list(job.to_arrow_batches(64))
    assert max(batch.num_rows for batch in batches) <= 64
    assert pa.Table.from_batches(batches).equals(job.to_arrow().combine_chunks())


def test_no_rows_make_an_empty_reader(store: FeatureStore) -> None:
    """The schema is there without a row."""
    job = store.get_historical_features(labels(3)[:0], ["trips:trips"])
    assert job.to_arrow_batches().read_all().equals(job.to_arrow())


def test_a_saved_result_is_the_table(store: FeatureStore, tmp_path: Path) -> None:
    """`persist` writes the batches as they come."""
    job = store.get_historical_features(labels(), ["trips:trips", "seats:seats"])
    job.persist(SavedDatasetFileStorage(path="saved.parquet"))
    found = pd.read_parquet(tmp_path / "saved.parquet")
    pd.testing.assert_frame_equal(found, job.to_df(), check_dtype=False)


def test_a_timeout_is_kept(store: FeatureStore) -> None:
    """A query that would take minutes is stopped, and the message says so."""
    job = store.get_historical_features(labels(300_000), ["trips:trips"])
    with pytest.raises(OfflineStoreError, match=r"took longer than 0\.001 s"):
        job.to_arrow(timeout=0.001)
    assert job.to_arrow(timeout=600).num_rows == 300_000


def test_features_of_the_request_alone_come_in_batches(store: FeatureStore) -> None:
    """A feature on demand that needs no view: nothing is joined, in batches as in the whole."""
    asked = RequestSource(name="priced", schema=[Field(name="price", dtype=Float64)])

    @on_demand_feature_view(sources=[asked], schema=[Field(name="doubled", dtype=Float64)])
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"doubled": 2 * inputs["price"]})

    store.apply(doubled)
    job = store.get_historical_features(labels(), ["doubled:doubled"])
    assert job.to_arrow_batches(64).read_all()["doubled"].to_pylist() == [1.0] * 500
    assert job.to_arrow_batches(64).read_all().combine_chunks().equals(job.to_arrow().combine_chunks())


@pytest.mark.slow
def test_a_join_larger_than_memory_ends(tmp_path: Path) -> None:
    """With a limit below the result's size DuckDB spills, and each label row has its own features."""
    limited = SETTINGS.replace("threads: 1", "threads: 2, memory_limit: 120MB, temp_directory: .")
    (tmp_path / "feature_store.yaml").write_text(limited)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    things: list = [driver]
    for view in (0, 1):
        names = ["driver", *(f"f{view}{n}" for n in range(8))]
        frame = pd.DataFrame({name: range(200_000) for name in names})
        frame["event_timestamp"] = pd.Timestamp("2024-01-01", tz="UTC")
        frame.to_parquet(tmp_path / f"view{view}.parquet")
        source = FileSource(path=f"view{view}.parquet", timestamp_field="event_timestamp")
        schema = [Field(name=name, dtype=Int64) for name in names]
        things.append(FeatureView(name=f"view{view}", entities=[driver], source=source, schema=schema))
    FeatureStore(repo_path=str(tmp_path)).apply(things)
    command = [sys.executable, "-W", "ignore", "-c", LARGE, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    n_rows, grown_mb = map(int, done.stdout.split())
    assert n_rows == 3_000_000
    assert grown_mb < 400
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(("duckdb-", "label-rows-"))] == []
