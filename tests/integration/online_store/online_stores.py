"""A feature store with one view of two features, and a moment to read it at."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Int64

NOON = datetime(2013, 6, 1, 12, tzinfo=UTC)


class Shops:
    """A feature store with one view, `sales`: `a` and `b` of a shop, which live for two days."""

    view: FeatureView
    store: FeatureStore

    def __init__(self, folder: Path, online_store: dict[str, Any], project: str) -> None:
        """Register the view in a registry of its own."""
        shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.INT64)
        source = FileSource(name="sales", path=str(folder / "sales.parquet"), timestamp_field="event_timestamp")
        schema = [Field(name=name, dtype=Int64) for name in ("shop", "a", "b")]
        self.view = FeatureView(name="sales", entities=[shop], ttl=timedelta(days=2), source=source, schema=schema)
        self.config = RepoConfig(
            project=project,
            provider="local",
            registry=str(folder / f"{project}.db"),
            online_store=online_store,
            offline_store={"type": "dovetail.offline_store.DuckDBAsofOfflineStore"},
            entity_key_serialization_version=3,
            repo_path=folder,
        )
        self.store = FeatureStore(config=self.config)
        self.store.apply([shop, self.view, FeatureService(name="shops", features=[self.view])])
        self.online = self.store._get_provider().online_store

    def write(self, *rows: tuple[int, int, datetime, datetime | None]) -> None:
        """Rows of shop, value of both features, event and created time, as Feast would write them."""
        data = [
            (
                EntityKey(join_keys=["shop"], entity_values=[Value(int64_val=shop)]),
                {"a": Value(int64_val=value), "b": Value(int64_val=value)},
                event,
                created,
            )
            for shop, value, event, created in rows
        ]
        self.online.online_write_batch(self.config, self.view, data, None)

    def read(self, *shops: int) -> list[tuple[int | None, int | None]]:
        """Both features of each shop, as Feast serves them."""
        rows = {"shop": list(shops)}
        found = self.store.get_online_features(["sales:a", "sales:b"], rows).to_dict()
        return list(zip(found["a"], found["b"], strict=True))
