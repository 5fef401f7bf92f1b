"""What is brought online, and up to when: late rows, ends that go back, and runs that were ended in the middle."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast.repo_config import RepoConfig

from dovetail.errors import FeatureError
from dovetail.tools.feature_store import online, registry
from dovetail.tools.feature_store.configuration import feast_config
from dovetail.tools.feature_store.definitions import Definitions, load_definitions

MODULE = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Int64, String

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)

def view(name, feature, ttl):
    source = FileSource(name=name, path=f"../data/features/{name}.parquet", timestamp_field="event_timestamp")
    schema = [Field(name="shop", dtype=String), Field(name=feature, dtype=Int64)]
    return FeatureView(name=name, entities=[shop], ttl=ttl, source=source, schema=schema)

sales_view = view("sales", "sold", timedelta(days=2))
staff_view = view("staff", "clerks", timedelta(0))
shops = FeatureService(name="shops", features=[sales_view, staff_view])
FEATURE_TABLES = {name: lambda sources, name=name: sources[name] for name in ("sales", "staff")}
label_rows = FEATURE_TABLES["sales"]
"""
CONFIG = """
project: shops
provider: local
registry: {registry_store_type: dovetail.feature_registry.GuardedFileRegistryStore, path: registry.db}
offline_store: {type: dovetail.offline_store.DuckDBAsofOfflineStore}
online_store: {type: dovetail.online_store.sqlite.FreshSqliteOnlineStore, path: online_store.db}
entity_key_serialization_version: 3
"""
NOON = datetime(2024, 1, 10, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OVERLAP = 6 * HOUR


class Shops:
    """Two feature tables, and a store that they are brought into."""

    def __init__(self, folder: Path) -> None:
        """Register two views, whose tables have no rows yet."""
        self.folder = folder
        (folder / "feature_repo").mkdir()
        (folder / "data" / "features").mkdir(parents=True)
        (folder / "feature_repo" / "shops.py").write_text(MODULE)
        (folder / "feature_repo" / "feature_store.yaml").write_text(CONFIG)
        self.rows: dict[str, list[tuple[str, datetime, int]]] = {"sales": [], "staff": []}
        self.definitions: Definitions = load_definitions(folder / "feature_repo", "shops")
        self.config: RepoConfig = feast_config(folder / "feature_repo", "feature_store.yaml")
        registry.apply([self.definitions], self.config)
        self.know()

    def know(self, *rows: tuple[str, datetime, int], view: str = "sales") -> None:
        """Add rows to a table, in whatever order."""
        self.rows[view] += rows
        for name, feature in (("sales", "sold"), ("staff", "clerks")):
            shops, times, values = zip(*self.rows[name], strict=True) if self.rows[name] else ((), (), ())
            columns = {
                "shop": pa.array(shops, pa.string()),
                "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
                feature: pa.array(values, pa.int64()),
            }
            pq.write_table(pa.table(columns), self.folder / "data" / "features" / f"{name}.parquet")

    def materialize(self, end: datetime, overlap: timedelta = OVERLAP) -> dict[str, tuple[datetime, datetime]]:
        """Bring all views online; the span of each."""
        found = online.materialize(self.definitions, self.config, end, overlap)
        return {view: (start, until) for view, start, until in found}

    def read(self, at: datetime, *shops: str) -> list[tuple[int | None, int | None]]:
        """What each shop has sold, and its clerks, as served at a moment."""
        with registry.open_store(online.at_moment(self.config, at)) as store:
            found = store.get_online_features(store.get_feature_service("shops"), {"shop": list(shops)}).to_dict()
        return list(zip(found["sold"], found["clerks"], strict=True))


@pytest.fixture
def shops(tmp_path: Path) -> Iterator[Shops]:
    """The shops of a test."""
    return Shops(tmp_path)


def test_late_rows_arrive(shops: Shops) -> None:
    """A row that comes after its time was brought online is found by the next run, if it is not later than said."""
    shops.know(("a", NOON - HOUR, 1))
    shops.materialize(NOON)
    shops.know(("b", NOON - 5 * HOUR, 2), ("c", NOON - 7 * HOUR, 3))
    spans = shops.materialize(NOON + HOUR)
    assert spans["sales"] == (NOON - OVERLAP, NOON + HOUR)
    assert shops.read(NOON + HOUR, "a", "b", "c") == [(1, None), (2, None), (None, None)]


def test_an_older_row_that_comes_late_replaces_nothing(shops: Shops) -> None:
    """The newest event stays online, whenever another one comes."""
    shops.know(("a", NOON - HOUR, 1))
    shops.materialize(NOON)
    shops.know(("a", NOON - 2 * HOUR, 2))
    shops.materialize(NOON)
    assert shops.read(NOON, "a") == [(1, None)]


def test_the_first_run_takes_what_is_alive(shops: Shops) -> None:
    """A view that forgets after two days starts there; one that forgets nothing starts at the beginning of time."""
    shops.know(("a", NOON - 3 * DAY, 1))
    shops.know(("a", NOON - 3000 * DAY, 4), view="staff")
    spans = shops.materialize(NOON)
    assert {view: start for view, (start, _) in spans.items()} == {"sales": NOON - 2 * DAY, "staff": online.EPOCH}
    assert shops.read(NOON, "a") == [(None, 4)]


def test_a_long_pause_leaves_nothing_out(shops: Shops) -> None:
    """After ten days the next run starts where rows are still alive, not where the last one ended."""
    shops.materialize(NOON)
    shops.know(("a", NOON + 9 * DAY, 1), ("b", NOON + DAY, 2))
    spans = shops.materialize(NOON + 10 * DAY)
    assert spans["sales"][0] == NOON + 8 * DAY
    assert spans["staff"][0] == NOON - OVERLAP
    assert shops.read(NOON + 10 * DAY, "a", "b") == [(1, None), (None, None)]


def test_spans_that_go_back_or_are_empty_are_refused(shops: Shops) -> None:
    """Nothing is written, and the next good end goes on from the last one."""
    shops.materialize(NOON)
    with pytest.raises(FeatureError, match="feature view 'sales' is online up to 2024-01-10 12:00:00 already"):
        shops.materialize(NOON - HOUR)
    with pytest.raises(FeatureError, match="nothing lies between 2024-01-10 12:00:00 and 2024-01-10 12:00:00"):
        shops.materialize(NOON, overlap=timedelta(0))
    assert online.ends(shops.definitions, shops.config) == {"sales": NOON, "staff": NOON}
    assert shops.materialize(NOON + HOUR)["sales"] == (NOON - OVERLAP, NOON + HOUR)


def test_a_run_that_ends_in_the_middle_is_repeated(shops: Shops) -> None:
    """One view is online and the other's table cannot be read: its span is not recorded, and the next run brings it."""
    shops.know(("a", NOON - HOUR, 1))
    shops.know(("a", NOON - HOUR, 4), view="staff")
    table = shops.folder / "data" / "features" / "staff.parquet"
    content = table.read_bytes()
    table.write_bytes(content[: len(content) // 2])
    with pytest.raises(FeatureError, match=r"a source cannot be read: .*staff\.parquet"):
        shops.materialize(NOON)
    assert online.ends(shops.definitions, shops.config) == {"sales": NOON, "staff": None}
    table.write_bytes(content)
    shops.materialize(NOON + HOUR)
    assert shops.read(NOON + HOUR, "a") == [(1, 4)]
