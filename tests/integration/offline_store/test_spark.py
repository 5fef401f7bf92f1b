"""The offline store on a real local Spark session gives DuckDB's answer, on all that histories can hold."""

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, Int64, String, UnixTimestamp
from offline_stores import OFFLINE_STORES, feature_store

from dovetail.offline_store import OfflineStoreError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("java")]

START = datetime(2024, 1, 1, tzinfo=UTC)
SHOP = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
ITEM = Entity(name="item", join_keys=["item"], value_type=ValueType.STRING)


def moments(random: np.random.Generator, n: int, unit: str = "us") -> pd.DatetimeIndex:
    """Moments on a coarse grid, so that many are equal."""
    return pd.DatetimeIndex([START + timedelta(hours=int(hour)) for hour in random.integers(0, 60, n)]).as_unit(unit)


def views(folder: Path) -> list[FeatureView]:
    """Three views of random rows: two keys with created times and nulls; one mapped, in nanoseconds; one of nothing."""
    random = np.random.default_rng(7)
    n = 3000
    sales = pd.DataFrame(
        {
            "shop": pd.array(random.integers(0, 12, n), dtype="Int64"),
            "item": random.choice(["a", "b", "c"], n),
            "event_timestamp": moments(random, n),
            "created": moments(random, n),
            "sold": pd.array(random.integers(0, 1000, n), dtype="Int64"),
            "price": random.normal(size=n),
        }
    )
    sales.loc[::7, "sold"] = None
    sales.loc[::11, "created"] = pd.NaT
    sales.loc[::13, "shop"] = None
    sales.loc[::17, "item"] = None
    (folder / "sales").mkdir()
    for part in range(3):
        sales[part::3].to_parquet(folder / "sales" / f"part{part}.parquet")
    visits = pd.DataFrame(
        {"the_shop": random.integers(0, 12, n), "at": moments(random, n, "ns"), "visitors": random.integers(0, 99, n)}
    )
    visits["opened"] = visits["at"] - timedelta(microseconds=1)
    visits.to_parquet(folder / "visits.parquet")
    weather = pd.DataFrame({"event_timestamp": moments(random, 40), "rain": random.normal(size=40)})
    weather.to_parquet(folder / "weather.parquet")
    return [
        FeatureView(
            name="sales",
            entities=[SHOP, ITEM],
            ttl=timedelta(hours=9),
            source=FileSource(
                name="sales", path="sales", timestamp_field="event_timestamp", created_timestamp_column="created"
            ),
            schema=[
                Field(name="shop", dtype=Int64),
                Field(name="item", dtype=String),
                Field(name="sold", dtype=Int64),
                Field(name="price", dtype=Float64),
            ],
        ),
        FeatureView(
            name="visits",
            entities=[SHOP],
            source=FileSource(
                name="visits", path="visits.parquet", timestamp_field="at", field_mapping={"the_shop": "shop"}
            ),
            schema=[
                Field(name="shop", dtype=Int64),
                Field(name="visitors", dtype=Int64),
                Field(name="opened", dtype=UnixTimestamp),
            ],
        ),
        FeatureView(
            name="weather",
            entities=[],
            ttl=timedelta(hours=3),
            source=FileSource(name="weather", path="weather.parquet", timestamp_field="event_timestamp"),
            schema=[Field(name="rain", dtype=Float64)],
        ),
    ]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """The same definitions and files, once with each store."""
    folder = tmp_path_factory.mktemp("shops")
    made = {}
    defined = views(folder)
    sales, visits, weather = defined
    service = FeatureService(
        name="service",
        features=[
            sales,
            visits.with_name("near").with_join_key_map({"shop": "near_shop"}),
            weather,
        ],
    )
    for name, offline_store in OFFLINE_STORES.items():
        made[name] = feature_store(folder, offline_store)
        made[name].apply([SHOP, ITEM, *defined, service])
    return made


def labels(n: int = 4000) -> pd.DataFrame:
    """Label rows in no order: equal ones, unknown and null keys, moments before and after all events."""
    random = np.random.default_rng(11)
    frame = pd.DataFrame(
        {
            "shop": pd.array(random.integers(0, 14, n), dtype="Int64"),
            "near_shop": random.integers(0, 14, n),
            "item": random.choice(["a", "b", "c", "d"], n),
            "event_timestamp": moments(random, n) + pd.to_timedelta(random.integers(-6, 80, n), unit="h"),
            "kept": pd.Categorical(random.choice(["x", "y"], n)),
        }
    )
    frame.loc[::19, "shop"] = None
    frame.loc[::23, "item"] = None
    return pd.concat([frame, frame[:50]], ignore_index=True)


def answers(stores: dict[str, FeatureStore], **asked: Any) -> tuple[pa.Table, pa.Table]:
    """What both stores say."""
    found = [store.get_historical_features(**asked).to_arrow() for store in stores.values()]
    return found[0], found[1]


QUESTIONS = {
    "views": ["sales:sold", "sales:price", "visits:visitors", "visits:opened", "weather:rain"],
    "one feature": ["sales:price"],
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("full", [False, True], ids=["short", "full"])
def test_both_stores_give_one_answer(stores: dict[str, FeatureStore], question: str, full: bool) -> None:
    """Columns, types, order and every value are equal, and there are values and nulls of each feature."""
    duck, spark = answers(stores, entity_df=labels(), features=QUESTIONS[question], full_feature_names=full)
    assert duck.schema.equals(spark.schema)
    assert duck.equals(spark)
    assert all(0 < duck[name].null_count < duck.num_rows for name in duck.column_names[5:])


def test_services_with_a_view_under_another_key(stores: dict[str, FeatureStore]) -> None:
    """Join key maps and aliases mean the same."""
    service = stores["duckdb"].get_feature_service("service")
    duck, spark = answers(stores, entity_df=labels(), features=service, full_feature_names=True)
    assert "near__visitors" in duck.column_names
    assert duck.equals(spark)


def test_label_rows_by_sql_and_by_dates(stores: dict[str, FeatureStore]) -> None:
    """A query, and no label rows at all but two dates."""
    query = "SELECT 3L AS shop, 'a' AS item, TIMESTAMP '2024-01-02 12:00:00' AS event_timestamp"
    features = QUESTIONS["one feature"]
    spark = stores["spark"].get_historical_features(query, features).to_arrow()
    duck = (
        stores["duckdb"]
        .get_historical_features(query.replace("3L", "3::BIGINT").replace("TIMESTAMP", "TIMESTAMPTZ"), features)
        .to_arrow()
    )
    assert spark["price"].to_pylist() == duck["price"].to_pylist() != [None]
    dates = {"start_date": START, "end_date": START + timedelta(hours=30)}
    found = [
        store.get_historical_features(features=features, **dates).to_arrow().to_pandas() for store in stores.values()
    ]
    order = list(found[0].columns)
    pd.testing.assert_frame_equal(*(frame[order].sort_values(order, ignore_index=True) for frame in found))


@pytest.mark.parametrize("latest", [True, False], ids=["latest", "all"])
def test_pulls_are_equal(stores: dict[str, FeatureStore], latest: bool) -> None:
    """What materialization reads is the same."""
    found = []
    for store in stores.values():
        offline = store._get_provider().offline_store
        pull = offline.pull_latest_from_table_or_query if latest else offline.pull_all_from_table_or_query
        source = store.get_feature_view("sales").batch_source
        dates = {"start_date": START + timedelta(hours=5), "end_date": START + timedelta(hours=50)}
        job = pull(store.config, source, ["shop", "item"], ["sold", "price"], "event_timestamp", "created", **dates)
        found.append(job.to_arrow())
    assert found[0].num_rows > 20
    assert found[0].equals(found[1])


def test_bad_input_is_said_alike(stores: dict[str, FeatureStore]) -> None:
    """Text for moments, missing moments and missing keys are refused with the same words; naive ones are warned of."""
    cases = [
        labels(3).astype({"event_timestamp": str}),
        labels(3).assign(event_timestamp=pd.NaT),
        labels(3).drop(columns="item"),
    ]
    for case in cases:
        said = []
        for store in stores.values():
            with pytest.raises((OfflineStoreError, ValueError, KeyError)) as failure:
                store.get_historical_features(case, ["sales:price"]).to_arrow()
            said.append(str(failure.value))
        assert said[0] == said[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empty = answers(stores, entity_df=labels(3)[:0], features=["sales:price"])
    assert empty[0].equals(empty[1])


@pytest.mark.parametrize("scheme", ["s3", "s3a"])
def test_s3_without_hadoops_part_for_it_is_said(stores: dict[str, FeatureStore], scheme: str) -> None:
    """Spark alone does not know S3: the message names the URL, and the page that says what it needs."""
    store = stores["spark"]
    source = FileSource(name="far", path=f"{scheme}://shops/sales.parquet", timestamp_field="event_timestamp")
    pull = store._get_provider().offline_store.pull_all_from_table_or_query
    with pytest.raises(OfflineStoreError, match="FileSystem") as failure:
        pull(store.config, source, ["shop"], ["sold"], "event_timestamp").to_arrow()
    assert f"at {scheme}://shops/sales.parquet" in str(failure.value)
    assert "or add what Spark needs for it: docs/spark.md." in str(failure.value)


def test_a_timeout_is_kept(stores: dict[str, FeatureStore], tmp_path: Path) -> None:
    """The table, the batches and what is saved of them are stopped; the next question is answered."""
    job = stores["spark"].get_historical_features(labels(2000), QUESTIONS["one feature"])
    storage = SavedDatasetFileStorage(str(tmp_path / "saved.parquet"))
    for read in (job.to_arrow, job.to_df, lambda timeout: job.persist(storage, timeout=timeout)):
        with pytest.raises(OfflineStoreError, match=r"the query took longer than 0\.001 s"):
            read(timeout=0.001)
    assert not (tmp_path / "saved.parquet").exists()
    job.persist(storage, timeout=600)
    assert pq.read_table(tmp_path / "saved.parquet").num_rows == 2050
