"""What is wrong with sources and label rows is said at once, before anything is joined."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64, String

from dovetail.offline_store import DuckDBAsofOfflineStore, OfflineStoreError

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


def ask(folder: Path, *views: FeatureView, features: list[str] | None = None) -> Any:
    """The views' features, by the store alone."""
    config = RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store=None,
        offline_store={"type": "dovetail.offline_store.DuckDBAsofOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    registry = FeatureStore(config=config).registry
    features = features or [f"{one.name}:{one.name}" for one in views]
    return DuckDBAsofOfflineStore.get_historical_features(config, list(views), features, LABELS, registry, "test")


def test_all_that_is_wrong_with_all_views_is_said(tmp_path: Path) -> None:
    """A missing file, a missing column, a retyped feature and a retyped key come in one message."""
    write(tmp_path, "good")
    write(tmp_path, "column", column=None)
    write(tmp_path, "retyped", retyped=["x"])
    write(tmp_path, "key", driver=["1"])
    views = [view(name) for name in ("good", "gone", "column", "retyped", "key")]
    with pytest.raises(OfflineStoreError) as failure:
        ask(tmp_path, *views).to_arrow()
    said = str(failure.value)
    assert "4 feature views cannot be read" in said
    assert "a source cannot be read: IO Error: No files found" in said
    assert f"columns are missing: column, in {tmp_path}/column.parquet" in said
    assert "columns are of another type than the view says: 'retyped' is string, not int64" in said
    assert "join key 'driver' is int64 in the label rows and string in the source" in said


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
