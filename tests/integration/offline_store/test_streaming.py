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
# 3 million label rows with 2 views of 4 features: the result takes 290 MB, DuckDB may have 120 MB.
LARGE = """
import sys, numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, resource
from feast import FeatureStore
store = FeatureStore(repo_path=sys.argv[1])
labels = pd.DataFrame({"driver": np.arange(3_000_000) % 200_000})
labels["event_timestamp"] = pd.Timestamp("2024-01-02", tz="UTC")
job = store.get_historical_features(labels, [f"view{view}:f{n}" for view in (0, 1) for n in range(4)])
sums, rows = 0, 0
for batch in job.to_arrow_batches(100_000):
    rows += batch.num_rows
    sums += sum(pa.compute.sum(batch.column(f"f{n}")).as_py() for n in range(4) if f"f{n}" in batch.schema.names)
print(rows, sums)
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


@pytest.mark.slow
def test_a_join_larger_than_memory_ends(tmp_path: Path) -> None:
    """With a limit below the result's size, DuckDB spills, and the sums are those of the made-up rows."""
    limited = SETTINGS.replace("threads: 1", "threads: 1, memory_limit: 120MB, temp_directory: .")
    (tmp_path / "feature_store.yaml").write_text(limited)
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
    things: list = [driver]
    for view in (0, 1):
        frame = pd.DataFrame({"driver": range(200_000), "event_timestamp": pd.Timestamp("2024-01-01", tz="UTC")})
        for n in range(4):
            frame[f"f{n}" if view == 0 else f"g{n}"] = range(200_000)
        frame.to_parquet(tmp_path / f"view{view}.parquet")
        names = [name for name in frame.columns if name[0] in "fg"]
        schema = [Field(name="driver", dtype=Int64), *(Field(name=name, dtype=Int64) for name in names)]
        source = FileSource(path=f"view{view}.parquet", timestamp_field="event_timestamp")
        things.append(FeatureView(name=f"view{view}", entities=[driver], source=source, schema=schema))
    FeatureStore(repo_path=str(tmp_path)).apply(things)
    code = LARGE.replace('f"view{view}:f{n}"', "f\"view{view}:{'fg'[view]}{n}\"")
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["3000000", str(4 * 15 * sum(range(200_000)))]
