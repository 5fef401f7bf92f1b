"""Both offline stores in a real Feast, on files as pandas writes them: timestamps in nanoseconds."""

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RequestSource, ValueType
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64
from offline_stores import BOTH, OFFLINE_STORES, feature_store

from dovetail.offline_store import OfflineStoreError

ONLY_DUCKDB = pytest.mark.parametrize("store", ["duckdb"], indirect=True)
DRIVER = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)


def day(*days: int | None) -> pd.Series:
    """Midnights of January 2024, UTC, in nanoseconds."""
    return pd.Series([pd.Timestamp(2024, 1, number, tz="UTC") if number else pd.NaT for number in days])


def view(**changes: Any) -> FeatureView:
    """Trips a day; nothing is known any more after five days."""
    source = {"path": "trips.parquet", "timestamp_field": "event_timestamp", "created_timestamp_column": "created"}
    arguments = {
        "name": "statistics",
        "entities": [DRIVER],
        "ttl": timedelta(days=5),
        "schema": [Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64)],
    }
    source |= {key: changes.pop(key) for key in [*changes] if key in (*source, "field_mapping")}
    return FeatureView(**(arguments | changes), source=FileSource(**source))


@pytest.fixture(params=BOTH)
def store(tmp_path: Path, request: pytest.FixtureRequest) -> FeatureStore:
    """Drivers 1 and 2; the third day of driver 1 was corrected on the eighth."""
    if request.param == "spark":
        request.getfixturevalue("java")
    rows = {
        "driver": [1, 1, 1, 2],
        "event_timestamp": day(1, 3, 3, 10),
        "created": day(1, 3, 8, 10),
        "trips": [10, 30, 31, 20],
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "trips.parquet")
    store = feature_store(tmp_path, OFFLINE_STORES[request.param])
    store.apply([DRIVER, view()])
    return store


def asked(store: FeatureStore, labels: pd.DataFrame | str | None, *features: str, **more: Any) -> pa.Table:
    """What the store gives, as Arrow."""
    return store.get_historical_features(labels, list(features or ["statistics:trips"]), **more).to_arrow()


def test_no_label_row_is_lost_or_merged(store: FeatureStore) -> None:
    """Known, twice the same, a key of null, an unknown key, only later values, only an expired one: each stays."""
    drivers = pd.array([1, 1, None, 9, 2, 2], dtype="Int64")
    labels = pd.DataFrame({"driver": drivers, "event_timestamp": day(4, 4, 4, 4, 9, 16)})
    assert asked(store, labels)["trips"].to_pylist() == [30, 30, None, None, None, None]


def test_other_columns_are_untouched(store: FeatureStore) -> None:
    """Values, types, order and names of the label rows' own columns are as they came; the index is dropped."""
    labels = pd.DataFrame(
        {
            "seats": pd.array([None, 4], dtype="Int8"),
            "carrier": pd.Categorical(["B6", "AA"], categories=["B6", "AA", "UA"]),
            "event_timestamp": day(4, 2),
            "driver": [2, 1],
            "departs": day(5, None),
            "legs": [["a", "b"], []],
        }
    ).set_index(pd.Index([7, 3]))
    result = store.get_historical_features(labels, ["statistics:trips"]).to_df()
    trips = result.pop("trips")
    assert trips.tolist()[1] == 10
    pd.testing.assert_frame_equal(result.drop(columns="legs"), labels.drop(columns="legs").reset_index(drop=True))
    assert [list(legs) for legs in result["legs"]] == [["a", "b"], []]


def test_a_value_created_later_is_not_used(store: FeatureStore) -> None:
    """On the fourth the correction of the eighth was not known; on the eighth it was."""
    labels = pd.DataFrame({"driver": [1, 1], "event_timestamp": day(4, 8)})
    assert asked(store, labels)["trips"].to_pylist() == [30, 31]


def test_a_value_created_later_is_used_when_the_settings_say_so(store: FeatureStore) -> None:
    """FeatureStore cannot pass on a false flag, so it is a setting; a call of the store itself may say it too."""
    labels = pd.DataFrame({"driver": [1], "event_timestamp": day(4)})
    views = [store.get_feature_view("statistics")]
    call = (store.config, views, ["statistics:trips"], labels, store.registry, "test")
    job = store._get_provider().offline_store.get_historical_features(*call, filter_by_created_timestamp=False)
    assert job.to_arrow()["trips"].to_pylist() == [31]
    store.config.offline_store.filter_by_created_timestamp = False
    assert asked(store, labels)["trips"].to_pylist() == [31]


def test_a_dataset_is_saved_into_a_folder_that_is_there(store: FeatureStore, tmp_path: Path) -> None:
    """A folder that somebody made is written into, if it may be."""
    job = store.get_historical_features(pd.DataFrame({"driver": [1], "event_timestamp": day(4)}), ["statistics:trips"])
    (tmp_path / "saved").mkdir()
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(SavedDatasetFileStorage(path="saved"))
    job.persist(SavedDatasetFileStorage(path="saved"), allow_overwrite=True)
    assert pq.read_table(tmp_path / "saved")["trips"].to_pylist() == [30]


def test_no_label_rows_at_all_give_a_table_of_none(store: FeatureStore) -> None:
    """The columns and their types are there all the same."""
    table = asked(store, pd.DataFrame({"driver": [1], "event_timestamp": day(4)}).head(0))
    assert (table.num_rows, table.schema.field("trips").type) == (0, pa.int64())


@ONLY_DUCKDB
def test_label_rows_can_be_a_query(store: FeatureStore) -> None:
    """It sees files from the feature repository on, and keeps the order of its result."""
    query = "SELECT driver, event_timestamp FROM 'trips.parquet' ORDER BY trips DESC"
    assert asked(store, query)["trips"].to_pylist() == [30, 30, 20, 10]


def test_without_label_rows_every_event_between_two_dates_comes(store: FeatureStore) -> None:
    """Both dates are included; what an event says today counts, corrections included."""
    table = asked(store, None, start_date=datetime(2024, 1, 3), end_date=datetime(2024, 1, 10, tzinfo=UTC))
    assert table.drop_columns(["event_timestamp"]).to_pylist() == [
        {"driver": 1, "trips": 31},
        {"driver": 2, "trips": 20},
    ]
    assert table["event_timestamp"].to_pylist() == [datetime(2024, 1, 3, tzinfo=UTC), datetime(2024, 1, 10, tzinfo=UTC)]


def test_one_view_can_be_joined_twice_under_other_names(store: FeatureStore) -> None:
    """A feature service asks for the first and the second driver, by alias and join key map."""
    statistics = store.get_feature_view("statistics")
    first, second = (
        statistics.with_name(name).with_join_key_map({"driver": name}) for name in ("first_driver", "second_driver")
    )
    store.apply(FeatureService(name="crew", features=[first, second]))
    labels = pd.DataFrame({"first_driver": [1], "second_driver": [2], "event_timestamp": day(10)})
    crew = store.get_feature_service("crew")
    result = store.get_historical_features(labels, crew, full_feature_names=True).to_arrow()
    assert result.column_names[3:] == ["first_driver__trips", "second_driver__trips"]
    assert result["first_driver__trips"].to_pylist() == [None]
    assert result["second_driver__trips"].to_pylist() == [20]


def test_keys_and_fields_go_by_the_names_that_feast_maps_them_to(store: FeatureStore, tmp_path: Path) -> None:
    """Two keys, one of them renamed by the source, as are the feature and the timestamp."""
    car = Entity(name="car", join_keys=["car"], value_type=ValueType.INT64)
    rows = {"driver": [1, 1], "CAR": [5, 6], "at": day(1, 1), "KM": [1.5, 1.6]}
    pd.DataFrame(rows).to_parquet(tmp_path / "legs.parquet")
    fields = [Field(name="driver", dtype=Int64), Field(name="car", dtype=Int64), Field(name="km", dtype=Float64)]
    mapping = {"CAR": "car", "KM": "km", "at": "event_timestamp"}
    source = {"path": "legs.parquet", "created_timestamp_column": "", "field_mapping": mapping}
    store.apply([car, view(name="legs", entities=[DRIVER, car], schema=fields, **source)])
    labels = pd.DataFrame({"car": [6, 5, 6], "driver": [1, 1, 2], "event_timestamp": day(2, 2, 2)})
    assert asked(store, labels, "legs:km")["km"].to_pylist() == [1.6, 1.5, None]


def test_a_view_without_an_entity_is_the_same_for_all(store: FeatureStore) -> None:
    """Only time decides."""
    store.apply(view(name="fleet", entities=[], ttl=timedelta(0), schema=[Field(name="trips", dtype=Int64)]))
    labels = pd.DataFrame({"event_timestamp": day(12, 2), "driver": ["x", "y"]})
    assert asked(store, labels, "fleet:trips")["trips"].to_pylist() == [20, 10]


def test_on_demand_features_are_computed_on_top(store: FeatureStore) -> None:
    """From a feature of a view and a column of the label rows."""
    request = RequestSource(name="request", schema=[Field(name="days", dtype=Int64)])

    @on_demand_feature_view(
        sources=[store.get_feature_view("statistics"), request], schema=[Field(name="rate", dtype=Float64)]
    )
    def rates(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"rate": inputs["trips"] / inputs["days"]})

    store.apply(rates)
    labels = pd.DataFrame({"driver": [1], "days": [4], "event_timestamp": day(4)})
    assert asked(store, labels, "rates:rate")["rate"].to_pylist() == [7.5]


def test_a_folder_is_read_whole_and_its_last_file_wins(store: FeatureStore, tmp_path: Path) -> None:
    """Files follow each other by name, in folders below as well; a folder's name may look like a pattern."""
    for name, trips in (("b", 2), ("a", 1)):
        folder = tmp_path / "trips[2024]" / name
        folder.mkdir(parents=True)
        rows = {"driver": [1], "event_timestamp": day(1), "created": day(1), "trips": [trips]}
        pd.DataFrame(rows).to_parquet(folder / "part.parquet")
    store.apply(view(path="trips[2024]"))
    labels = pd.DataFrame({"driver": [1], "event_timestamp": day(2)})
    assert asked(store, labels)["trips"].to_pylist() == [2]


@ONLY_DUCKDB
def test_files_in_s3_are_read_through_arrow(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The bucket is a folder here; `test_s3.py` asks a real server."""
    bucket = pyarrow.fs.SubTreeFileSystem(str(tmp_path), pyarrow.fs.LocalFileSystem())
    monkeypatch.setattr(
        FileSource, "create_filesystem_and_path", lambda path, *_: (bucket, path.removeprefix("s3://b/"))
    )
    store.apply(view(path="s3://b/trips.parquet"))
    labels = pd.DataFrame({"driver": [1, 2], "event_timestamp": day(8, 9)})
    assert asked(store, labels)["trips"].to_pylist() == [31, None]


@ONLY_DUCKDB
def test_naive_timestamps_are_utc_with_one_warning(store: FeatureStore, tmp_path: Path) -> None:
    """The label rows' and the source's are named together."""
    rows = {"driver": [1], "event_timestamp": day(4).dt.tz_localize(None), "created": day(4), "trips": [40]}
    pd.DataFrame(rows).to_parquet(tmp_path / "trips.parquet")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = asked(store, "SELECT 1 AS driver, TIMESTAMP '2024-01-04' AS event_timestamp")
    said = [str(warning.message) for warning in caught if "time zone" in str(warning.message)]
    assert table["trips"].to_pylist() == [40]
    assert said == [
        "timestamps without a time zone are taken as UTC: "
        f"event_timestamp of the label rows, event_timestamp of {tmp_path}/trips.parquet"
    ]


def test_missing_columns_are_named_with_what_is_there(store: FeatureStore, tmp_path: Path) -> None:
    """The file was written anew without its feature."""
    pd.DataFrame({"driver": [1], "event_timestamp": day(1), "created": day(1)}).to_parquet(tmp_path / "trips.parquet")
    with pytest.raises(OfflineStoreError) as refused:
        asked(store, pd.DataFrame({"driver": [1], "event_timestamp": day(4)}))
    assert str(refused.value) == (
        "columns are missing: trips\n"
        f"  in {tmp_path}/trips.parquet\n"
        "  It has: driver, event_timestamp, created.\n"
        "  Correct the feature view's fields, or the source's field_mapping."
    )


@ONLY_DUCKDB
def test_a_missing_file_is_named(store: FeatureStore, tmp_path: Path) -> None:
    """DuckDB's words are kept as the cause."""
    (tmp_path / "trips.parquet").unlink()
    with pytest.raises(OfflineStoreError, match="a source cannot be read: IO Error: No files found") as refused:
        asked(store, pd.DataFrame({"driver": [1], "event_timestamp": day(4)}))
    assert f"at {tmp_path}/trips.parquet" in str(refused.value)


def test_a_feature_called_like_a_label_column_is_refused(store: FeatureStore) -> None:
    """Two columns of one name would hide each other; with the view's name before it there is no doubt."""
    labels = pd.DataFrame({"driver": [1], "event_timestamp": day(4), "trips": [0]})
    with pytest.raises(OfflineStoreError, match="features are called like columns of the label rows: trips"):
        asked(store, labels)
    assert asked(store, labels, full_feature_names=True)["statistics__trips"].to_pylist() == [30]


def test_the_online_store_gets_the_newest_row_of_each_key(store: FeatureStore) -> None:
    """Feast materializes what `pull_latest_from_table_or_query` or `pull_all_from_table_or_query` gives."""
    store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 9, tzinfo=UTC))
    online = store.get_online_features(["statistics:trips"], [{"driver": 1}, {"driver": 2}]).to_dict()
    assert online["trips"] == [31, None]


def test_the_latest_row_of_a_view_without_keys_has_feasts_placeholder(store: FeatureStore) -> None:
    """Its key online is an empty text; no features asked for means all columns."""
    source = view().batch_source
    call = (store.config, source, [], [], "event_timestamp", "created", None, datetime(2024, 1, 9))
    table = store._get_provider().offline_store.pull_latest_from_table_or_query(*call).to_arrow()
    assert table.drop_columns(["event_timestamp", "created"]).to_pylist() == [
        {"driver": 1, "trips": 31, "__dummy_id": ""}
    ]


def test_a_saved_dataset_comes_back_as_it_was(store: FeatureStore, tmp_path: Path) -> None:
    """Persisted whole, with its rows in order; a second one does not replace it unasked."""
    labels = pd.DataFrame({"driver": [2, 1], "event_timestamp": day(11, 4)})
    job = store.get_historical_features(labels, ["statistics:trips"])
    storage = SavedDatasetFileStorage(path="saved/first.parquet")
    saved = store.create_saved_dataset(job, "first", storage)
    assert sorted(saved.to_df()["trips"]) == [20, 30]
    assert pq.read_table(tmp_path / "saved/first.parquet")["trips"].to_pylist() == [20, 30]
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)


def test_a_full_disk_leaves_a_saved_dataset_as_it_was(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half written is gone, what was there before is not."""
    job = store.get_historical_features(pd.DataFrame({"driver": [1], "event_timestamp": day(4)}), ["statistics:trips"])
    storage = SavedDatasetFileStorage(path="saved/first.parquet")
    job.persist(storage)

    def write_half(writer: pq.ParquetWriter, batch: pa.RecordBatch) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_batch", write_half)
    with pytest.raises(OSError, match="No space left"):
        job.persist(storage, allow_overwrite=True)
    assert [path.name for path in (tmp_path / "saved").iterdir()] == ["first.parquet"]
    assert pq.read_table(tmp_path / "saved/first.parquet")["trips"].to_pylist() == [30]


def test_batches_hold_the_rows_of_the_table_in_order(store: FeatureStore) -> None:
    """No batch is larger than asked for."""
    labels = pd.DataFrame({"driver": [1, 2, 1], "event_timestamp": day(4, 11, 2)})
    job = store.get_historical_features(labels, ["statistics:trips"])
    batches = list(job.to_arrow_batches(max_rows=2))
    assert [batch.num_rows for batch in batches] == [2, 1]
    assert pa.Table.from_batches(batches) == job.to_arrow()
