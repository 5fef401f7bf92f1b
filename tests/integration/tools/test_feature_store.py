"""Definitions, tables and training rows of a use case of two views, through the real Feast and DuckDB."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from dovetail.errors import FeatureError
from dovetail.files import write_parquet
from dovetail.settings.schema import Label
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.feature_store.engines import DuckDB
from dovetail.tools.feature_store.retrieval import historical_features
from dovetail.tools.feature_store.tables import compute

ROOT = Path(__file__).parents[3]
MOMENT = pa.timestamp("us", tz="UTC")
LABEL = Label(column="is_late", key="id", maturity_hours=24, arguments={"hours": 2})
MODULE = '''
"""Shops."""
from datetime import timedelta
import ibis
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Int64, String
from ibis import _

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
SOURCE = FileSource(name="sales", path="../data/features/sales.parquet", timestamp_field="event_timestamp")
schema = [Field(name="shop", dtype=String), Field(name="sold", dtype=Int64)]
sales_view = FeatureView(name="sales", entities=[shop], ttl=timedelta(days=2), source=SOURCE, schema=schema)

def sales(sources):
    """What was sold."""
    return sources["sales"].select("shop", "sold", event_timestamp=_.at)  # when it was known

def label_rows(sources, *, hours):
    columns = ["id", "shop", "event_timestamp", "label_known_at", "is_late"]
    return sources["orders"].select(*columns, outcome=ibis.literal("done"))

shops = FeatureService(name="shops", features=[sales_view])
FEATURE_TABLES = {"sales": sales}
'''
CONFIG = """
project: shops
provider: local
registry: registry.db
offline_store: {type: dovetail.offline_store.DuckDBAsofOfflineStore}
online_store: {type: sqlite, path: online_store.db}
entity_key_serialization_version: 3
"""


def at(day: int) -> datetime:
    """Midnight of a day."""
    return datetime(2013, 1, day, tzinfo=UTC)


UNTIL = at(20)
SALES = [("b", at(3), 30), ("a", at(5), 50), ("a", at(1), 10), ("a", at(20), 99)]
ORDERS = [
    ("2", "a", at(2), at(3), 1),
    ("1", "a", at(6), at(20), 0),
    ("3", None, at(4), None, None),
    ("4", "a", at(20), None, None),
]


def write_sources(root: Path, sales: list[tuple], orders: list[tuple]) -> Path:
    """The two sources in data/valid."""
    sold = pa.schema({"shop": pa.string(), "at": MOMENT, "sold": pa.int64()})
    ordered = pa.schema(
        {
            "id": pa.string(),
            "shop": pa.string(),
            "event_timestamp": MOMENT,
            "label_known_at": MOMENT,
            "is_late": pa.int8(),
        }
    )
    for name, rows, schema in (("sales", sales, sold), ("orders", orders, ordered)):
        rows = [dict(zip(schema.names, row, strict=True)) for row in rows]
        write_parquet(pa.Table.from_pylist(rows, schema), root / "data" / "valid" / f"{name}.parquet")
    return root / "data" / "valid"


def definitions(root: Path, module: str = MODULE):
    """The definitions in a module's text."""
    (root / "feature_repo").mkdir(exist_ok=True)
    (root / "feature_repo" / "shops.py").write_text(module)
    return load_definitions(root / "feature_repo", "shops")


def replaced(old: str, new: str) -> str:
    """The module with one change."""
    assert MODULE.count(old) == 1
    return MODULE.replace(old, new)


def test_definitions_are_what_the_module_says(tmp_path: Path) -> None:
    """Views and computations have the same names, and Feast's objects are all there; no compiled file is left."""
    found = definitions(tmp_path)
    assert (found.service.name, list(found.views), list(found.feature_tables)) == ("shops", ["sales"], ["sales"])
    assert sorted(type(thing).__name__ for thing in found.objects) == ["Entity", "FeatureService", "FeatureView"]
    assert [path.name for path in (tmp_path / "feature_repo").iterdir()] == ["shops.py"]


def test_a_use_case_without_module_is_said(tmp_path: Path) -> None:
    """The message names the file and the use cases that there are."""
    definitions(tmp_path)
    with pytest.raises(FeatureError) as failure:
        load_definitions(tmp_path / "feature_repo", "shps")
    assert str(failure.value) == (
        "the use case 'shps' has no feature definitions\n"
        f"  at {tmp_path}/feature_repo/shps.py\n"
        "  Use cases there: shops.\n"
        "  Write the module, or set usecase.name to one of them."
    )


def test_all_that_a_module_lacks_is_said_at_once(tmp_path: Path) -> None:
    """No service, no label rows, a computation without view, a view without computation, a file nobody writes."""
    module = MODULE.replace("def label_rows", "def rows").replace("shops = FeatureService", "# ")
    module = module.replace('{"sales": sales}', '{"sale": sales}').replace("features/sales", "sales")
    with pytest.raises(FeatureError) as failure:
        definitions(tmp_path, module)
    assert str(failure.value) == (
        "shops.py breaks 5 of the rules for feature definitions\n"
        "  - it has 0 feature services, not one\n"
        "  - 'label_rows' is missing\n"
        "  - feature view 'sales' has no computation in FEATURE_TABLES\n"
        "  - FEATURE_TABLES['sale'] has no feature view\n"
        "  - feature view 'sales' does not read ../data/features/sales.parquet, where its table is written\n"
        f"  in {tmp_path}/feature_repo/shops.py; nothing was written.\n"
        "  Correct it and run again:  dvc repro featurize"
    )


def test_a_created_timestamp_is_refused(tmp_path: Path) -> None:
    """A feature table has one time, the moment at which a row was known."""
    module = replaced(
        'timestamp_field="event_timestamp"', 'timestamp_field="event_timestamp", created_timestamp_column="c"'
    )
    with pytest.raises(FeatureError, match="'sales' has a created timestamp; write a correction as a row with its own"):
        definitions(tmp_path, module)


def test_a_feature_that_its_view_has_not_is_said_with_the_nearest(tmp_path: Path) -> None:
    """The message names the view, the line, and what is there; Feast's own words name the feature alone."""
    module = replaced("features=[sales_view]", 'features=[sales_view[["solt"]]]')
    with pytest.raises(FeatureError) as failure:
        definitions(tmp_path, module)
    line = module.splitlines().index('shops = FeatureService(name="shops", features=[sales_view[["solt"]]])') + 1
    assert str(failure.value) == (
        "the feature view 'sales' has no feature 'solt'; nearest: sold\n"
        f"  at {tmp_path}/feature_repo/shops.py:{line}\n"
        "  It has: sold.\n"
        "  Correct the name, or add the field to the view's schema."
    )
    with pytest.raises(ValueError, match="not a feature's"):
        definitions(tmp_path, MODULE + 'raise ValueError("not a feature\'s")')


def test_a_service_of_text_is_refused(tmp_path: Path) -> None:
    """Its views would be known only once they are applied."""
    with pytest.raises(FeatureError) as failure:
        definitions(tmp_path, replaced("features=[sales_view]", 'features=["sales:solt", "sales"]'))
    assert "  - feature service 'shops' names 'sales:solt' as text, not as a view, or view[['feature']]\n" in str(
        failure.value
    )
    assert "names 'sales' as text" in str(failure.value)


def test_tables_are_sorted_and_cut_at_until(tmp_path: Path) -> None:
    """Rows are in the order of key and moment; a row known at `until` is not there."""
    tables, _rows = compute(definitions(tmp_path), DuckDB(), write_sources(tmp_path, SALES, ORDERS), LABEL, UNTIL)
    assert tables["sales"].to_pydict() == {
        "shop": ["a", "a", "b"],
        "event_timestamp": [at(1), at(5), at(3)],
        "sold": [10, 50, 30],
    }


def test_a_label_known_later_is_pending(tmp_path: Path) -> None:
    """At `until` its value, and the moment at which it will be known, do not exist; nor does a later label row."""
    _tables, rows = compute(definitions(tmp_path), DuckDB(), write_sources(tmp_path, SALES, ORDERS), LABEL, UNTIL)
    assert rows.select(["id", "is_late", "label_known_at", "outcome"]).to_pylist() == [
        {"id": "2", "is_late": 1, "label_known_at": at(3), "outcome": "done"},
        {"id": "3", "is_late": None, "label_known_at": None, "outcome": "done"},
        {"id": "1", "is_late": None, "label_known_at": None, "outcome": "pending"},
    ]


def test_all_problems_of_all_tables_are_said_at_once(tmp_path: Path) -> None:
    """A retyped feature, an undated row, a key that is there twice and a label nobody knows since when."""
    module = replaced('select("shop", "sold"', 'select("shop", sold=_.sold.cast("int32")')
    orders = [*ORDERS, ("2", "a", at(7), None, 1), ("5", "a", None, None, None)]
    with pytest.raises(FeatureError) as failure:
        compute(definitions(tmp_path, module), DuckDB(), write_sources(tmp_path, SALES, orders), LABEL, UNTIL)
    assert failure.value.what == (
        "the feature tables have 4 problems\n"
        "  - sales: column 'sold' is int32, not int64\n"
        "  - label_rows: 'event_timestamp' is null in 1 rows\n"
        "  - label_rows: 1 keys (id) are there more than once: 2\n"
        "  - label_rows: 1 rows have a 'is_late' without 'label_known_at', or the other way round"
    )


def test_a_missing_source_is_said(tmp_path: Path) -> None:
    """A computation that asks for a source that is not there names those that are."""
    folder = write_sources(tmp_path, SALES, ORDERS)
    (folder / "sales.parquet").unlink()
    with pytest.raises(FeatureError, match=r"there is no source 'sales'\n.*\n  Sources: orders\."):
        compute(definitions(tmp_path), DuckDB(), folder, LABEL, UNTIL)


@pytest.fixture
def joined_root(tmp_path: Path) -> Path:
    """A root with the table of `sales` and two configurations, the second for servers that are not there."""
    found = definitions(tmp_path)
    tables, rows = compute(found, DuckDB(), write_sources(tmp_path, SALES, ORDERS), LABEL, UNTIL)
    write_parquet(tables["sales"], tmp_path / "data" / "features" / "sales.parquet")
    write_parquet(rows, tmp_path / "data" / "label_rows.parquet")
    (tmp_path / "feature_repo" / "feature_store.yaml").write_text(CONFIG)
    shutil.copy(ROOT / "feature_repo" / "feature_store.server.yaml", tmp_path / "feature_repo")
    return tmp_path


@pytest.mark.parametrize("config", ["feature_store.yaml", "feature_store.server.yaml"])
def test_features_are_those_known_at_each_moment(joined_root: Path, config: str, monkeypatch) -> None:
    """Input columns and their order stay; a value older than two days is gone; no key, no value."""
    monkeypatch.chdir(joined_root)
    rows = pa.table(
        {
            "note": ["first", "expired", "no key", "later", "first"],
            "shop": ["a", "a", None, "a", "a"],
            "event_timestamp": pa.array([at(2), at(4), at(2), at(6), at(2)], MOMENT),
            "is_late": pa.array([1, None, 0, 1, 1], pa.int8()),
        }
    )
    joined = historical_features(definitions(joined_root), rows, Path("feature_repo"), config)
    assert joined.drop_columns(["sold"]).equals(rows)
    assert joined["sold"].to_pylist() == [10, None, None, 50, 10]


def test_a_missing_feature_table_is_a_feature_error(joined_root: Path) -> None:
    """What the offline store refuses is told as every other error of the project."""
    (joined_root / "data" / "features" / "sales.parquet").unlink()
    rows = pa.table({"shop": ["a"], "event_timestamp": pa.array([at(2)], MOMENT)})
    with pytest.raises(FeatureError, match=r"sales\.parquet"):
        historical_features(definitions(joined_root), rows, joined_root / "feature_repo", "feature_store.yaml")


def test_asking_for_features_leaves_no_file(joined_root: Path, monkeypatch) -> None:
    """Neither a feature registry nor an online store appears, beside the definitions or where the step stands."""
    monkeypatch.chdir(joined_root)
    before = sorted(joined_root.rglob("*"))
    rows = pa.table({"shop": ["a"], "event_timestamp": pa.array([at(2)], MOMENT)})
    historical_features(definitions(joined_root), rows, joined_root / "feature_repo", "feature_store.yaml")
    assert sorted(joined_root.rglob("*")) == before


@pytest.mark.parametrize("text", [None, "", "a: [", CONFIG.replace("DuckDBAsof", "DuckAsof")])
def test_a_configuration_that_cannot_be_used_is_said(joined_root: Path, text: str | None) -> None:
    """Missing, empty, broken or misspelt: the message names the file and the setting that chooses it."""
    if text is not None:
        (joined_root / "feature_repo" / "other.yaml").write_text(text)
    rows = pa.table({"shop": ["a"], "event_timestamp": pa.array([at(2)], MOMENT)})
    with pytest.raises(
        FeatureError, match=r"cannot be used: .+\n  at .*other\.yaml\n  .*conf/profile: feature_store\."
    ):
        historical_features(definitions(joined_root), rows, joined_root / "feature_repo", "other.yaml")


@pytest.mark.slow
def test_feasts_own_commands_work_in_the_folder(tmp_path: Path) -> None:
    """`feast apply` and `feast feature-views list` know the flights as their users expect."""
    folder = tmp_path / "feature_repo"
    shutil.copytree(ROOT / "feature_repo", folder, ignore=shutil.ignore_patterns("*.db", "__pycache__"))
    feast = Path(sys.executable).parent / "feast"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for command, said in (
        (["apply"], "Deploying infrastructure for route_delays"),
        (["feature-views", "list"], "route_delays"),
    ):
        done = subprocess.run(
            [feast, *command], cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        assert said in done.stdout
