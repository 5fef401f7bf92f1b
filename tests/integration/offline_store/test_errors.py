"""What is wrong with sources and label rows is said at once, before anything is joined."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import (
    Entity,
    FeatureService,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    RequestSource,
    ValueType,
)
from feast.errors import FeatureViewNotFoundException
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64, String
from offline_stores import BOTH, OFFLINE_STORES, feature_store

from dovetail.offline_store import OfflineStoreError

DRIVER = Entity(name="driver", join_keys=["driver"], value_type=ValueType.INT64)
LABELS = pd.DataFrame({"driver": [1], "event_timestamp": [pd.Timestamp("2024-01-02", tz="UTC")]})


def view(name: str, dtype: Any = Int64) -> FeatureView:
    """A view of one feature of its own name."""
    source = FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp")
    schema = [Field(name="driver", dtype=Int64), Field(name=name, dtype=dtype)]
    return FeatureView(name=name, entities=[DRIVER], source=source, schema=schema)


def write(folder: Path, name: str, **columns: Any) -> None:
    """A source of one row."""
    row = {"driver": [1], "event_timestamp": [pd.Timestamp("2024-01-01", tz="UTC")], name: [1]}
    pd.DataFrame({column: values for column, values in (row | columns).items() if values is not None}).to_parquet(
        folder / f"{name}.parquet"
    )


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the two offline stores in turn."""
    if request.param == "spark":
        request.getfixturevalue("java")
    return str(request.param)


def store(folder: Path, kind: str = "duckdb") -> FeatureStore:
    """A store of a kind over a folder."""
    return feature_store(folder, OFFLINE_STORES[kind])


def ask(folder: Path, *views: FeatureView, features: list[str] | None = None, kind: str = "duckdb") -> Any:
    """The views' features, by the offline store alone."""
    feast = store(folder, kind)
    features = features or [f"{one.name}:{one.name}" for one in views]
    arguments = (feast.config, list(views), features, LABELS, feast.registry, "test")
    return feast._get_provider().offline_store.get_historical_features(*arguments)


def test_all_that_is_wrong_with_all_views_is_said(tmp_path: Path, kind: str) -> None:
    """A missing file, a missing column, a retyped feature and a retyped key come in one message."""
    write(tmp_path, "good")
    write(tmp_path, "column", column=None, columm=[1])
    write(tmp_path, "retyped", retyped=["x"])
    write(tmp_path, "key", driver=["1"])
    views = [view(name) for name in ("good", "gone", "column", "retyped", "key")]
    with pytest.raises(OfflineStoreError) as failure:
        ask(tmp_path, *views, kind=kind).to_arrow()
    said = str(failure.value)
    assert "4 feature views cannot be read" in said
    words = {"duckdb": "IO Error: No files found", "spark": "[PATH_NOT_FOUND]"}
    assert f"a source cannot be read: {words[kind]}" in said
    assert f"at {tmp_path}/gone.parquet" in said
    assert f"columns are missing: column (nearest: columm), in {tmp_path}/column.parquet" in said
    assert "columns are of another type than the view says: 'retyped' is string, not int64" in said
    assert "join key 'driver' is int64 in the label rows and string in the source" in said


def test_names_that_are_not_there_are_said_with_the_nearest(tmp_path: Path, kind: str) -> None:
    """Wrong views and wrong features, all at once, before a source is looked at; an on-demand view's too."""
    request = RequestSource(name="request", schema=[Field(name="days", dtype=Int64)])

    @on_demand_feature_view(sources=[request], schema=[Field(name="rate", dtype=Float64)])
    def rates(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"rate": 1.0 / inputs["days"]})

    store(tmp_path, kind).apply([DRIVER, rates])
    views = [view("trips_a_day"), view("seats")]
    names = ["trip_a_day:trips_a_day", "trips_a_day:Trips_of_day", "seats:seats", "seats:zzz", "rates:rat", "zzz:zzz"]
    with pytest.raises(OfflineStoreError) as failure:
        ask(tmp_path, *views, features=names, kind=kind)
    assert str(failure.value) == (
        "5 of the features asked for are not there\n"
        "  - trip_a_day:trips_a_day: the views are trips_a_day\n"
        "  - trips_a_day:Trips_of_day: the view has trips_a_day\n"
        "  - seats:zzz: the view has seats\n"
        "  - rates:rat: the view has rate\n"
        "  - zzz:zzz: the views are trips_a_day, seats, rates\n"
        "  nothing was joined.\n"
        "  Expected: features of the views, as view:feature.\n"
        "  Correct the names, or add the fields and apply:  feast apply"
    )


def test_a_key_that_label_rows_have_not_is_said(tmp_path: Path, kind: str) -> None:
    """Feast passes label rows on as they are: the store names the key, and what they have."""
    write(tmp_path, "trips")
    feast = store(tmp_path, kind)
    feast.apply([DRIVER, view("trips")])
    with pytest.raises(OfflineStoreError, match="join keys are missing: driver") as failure:
        feast.get_historical_features(LABELS.rename(columns={"driver": "Driver"}), ["trips:trips"]).to_arrow()
    assert "They have: Driver, event_timestamp." in str(failure.value)
    with pytest.raises(OfflineStoreError, match="join key 'driver' is string in the label rows and int64 in the"):
        feast.get_historical_features(LABELS.astype({"driver": "string"}), ["trips:trips"]).to_arrow()


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT * FROM nowhere"])
def test_a_query_that_fails_is_said(tmp_path: Path, kind: str, query: str) -> None:
    """What the engine says of the query for label rows, and whose language it is."""
    write(tmp_path, "trips")
    feast = store(tmp_path, kind)
    feast.apply([DRIVER, view("trips")])
    with pytest.raises(OfflineStoreError, match=r"the query for the label rows failed: .*(SELEC|nowhere)") as failure:
        feast.get_historical_features(query, ["trips:trips"])
    assert f"as {'Spark' if kind == 'spark' else 'DuckDB'}'s SQL" in str(failure.value)


def test_feast_itself_refuses_wrong_names_before_the_store(tmp_path: Path) -> None:
    """It names the first one alone, in its own words: those in the table of docs/offline-store.md."""
    feast = store(tmp_path)
    write(tmp_path, "trips")
    trips = view("trips")
    feast.apply([DRIVER, trips])
    for ask_feast in (
        lambda names: feast.get_historical_features(LABELS, names),
        lambda names: feast.get_online_features(names, [{"driver": 1}]),
    ):
        with pytest.raises(FeatureViewNotFoundException, match="Feature view tirps does not exist in project test"):
            ask_feast(["tirps:trips"])
        with pytest.raises(KeyError, match="Feature trisp not found in projection trips"):
            ask_feast(["trips:trisp"])
    with pytest.raises(ValueError, match=r"Feature trisp does not exist in this feature view\."):
        trips[["trisp"]]
    with pytest.raises(ValueError, match="feature 'trisp' not found on feature view 'trips'"):
        feast.apply(FeatureService(name="service", features=["trips:trisp"]))


def test_the_latest_version_may_be_asked_for(tmp_path: Path) -> None:
    """Feast passes on both names of it, `view@latest` and `view`: it is read once."""
    write(tmp_path, "trips")
    feast = store(tmp_path)
    feast.apply([DRIVER, view("trips")])
    assert feast.get_historical_features(LABELS, ["trips@latest:trips"]).to_arrow()["trips"].to_pylist() == [1]


@pytest.mark.parametrize(
    ("dtype", "value"), [(Float64, 1), (Int64, 1.5), (String, None)], ids=["widened", "narrowed", "all null"]
)
def test_types_that_stand_for_each_other_are_read(tmp_path: Path, dtype: Any, value: Any) -> None:
    """A number is a number, and a column of nulls may be anything."""
    write(tmp_path, "feature", feature=pd.Series([value], dtype=object if value is None else None))
    assert ask(tmp_path, view("feature", dtype)).to_arrow()["feature"].to_pylist() == [value]


def test_two_views_with_a_feature_of_one_name_are_refused(tmp_path: Path) -> None:
    """Where Feast itself lets it pass, one would overwrite the other."""
    write(tmp_path, "trips")
    other = FeatureView(
        name="other",
        entities=[DRIVER],
        source=FileSource(name="other", path="trips.parquet", timestamp_field="event_timestamp"),
        schema=[Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64)],
    )
    assert ask(tmp_path, view("trips")).to_arrow()["trips"].to_pylist() == [1]
    both = ask(tmp_path, view("trips"), other, features=["trips:trips", "other:trips"])
    with pytest.raises(OfflineStoreError, match="features are called like columns of the label rows: trips"):
        both.to_arrow()


def test_a_partitioned_folder_is_one_source(tmp_path: Path) -> None:
    """Files in folders like `region=north` are read together, the region as a column."""
    for number, region in enumerate(("north", "south")):
        folder = tmp_path / "trips" / f"region={region}"
        folder.mkdir(parents=True)
        times = [pd.Timestamp("2024-01-01", tz="UTC")]
        pd.DataFrame({"driver": [number], "event_timestamp": times, "trips": [number + 10]}).to_parquet(
            folder / "part.parquet"
        )
    source = FileSource(name="trips", path="trips", timestamp_field="event_timestamp")
    schema = [Field(name="driver", dtype=Int64), Field(name="trips", dtype=Int64), Field(name="region", dtype=String)]
    trips = FeatureView(name="trips", entities=[DRIVER], source=source, schema=schema)
    found = ask(tmp_path, trips, features=["trips:trips", "trips:region"]).to_arrow()
    assert (found["trips"].to_pylist(), found["region"].to_pylist()) == ([11], ["south"])
