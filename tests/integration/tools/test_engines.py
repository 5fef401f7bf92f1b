"""Both engines through the real DuckDB and a real local Spark session: what they read, give back, and refuse."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from ibis import _

from dovetail.errors import FeatureError
from dovetail.files import write_parquet
from dovetail.settings.schema import Label
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.feature_store.engines import DuckDB, Engine, open_engine
from dovetail.tools.feature_store.tables import compute

CONFIG = """
project: shops
provider: local
registry: registry.db
online_store: null
offline_store:
  type: dovetail.offline_store.spark.SparkUnionOfflineStore
  spark_conf: {spark.master: "local[2]", spark.ui.enabled: "false", spark.sql.shuffle.partitions: "2"}
entity_key_serialization_version: 3
"""
DEFINITIONS = """
from datetime import timedelta
import ibis
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Int64, String
from ibis import _

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)

def view(name, feature):
    schema = [Field(name="shop", dtype=String), Field(name=feature, dtype=Int64)]
    source = FileSource(name=name, path=f"../data/features/{name}.parquet", timestamp_field="event_timestamp")
    return FeatureView(name=name, entities=[shop], ttl=timedelta(0), source=source, schema=schema)

sales_view, returns_view = view("sales", "sold"), view("returns", "returned")
service = FeatureService(name="service", features=[sales_view])

def sales(sources):
    at = ibis.timestamp(_.year, 1, 1, 0, 0, 0).cast("timestamp('UTC', 6)")
    return sources["sales"].select("shop", "sold", event_timestamp=at)

@ibis.udf.scalar.python
def doubled(number: int) -> int:
    return 2 * number

def returns(sources):
    at = ibis.date(_.year, 1, 1).cast("timestamp('UTC', 6)")
    return sources["sales"].select("shop", returned=doubled(_.sold), event_timestamp=at)

def label_rows(sources):
    columns = ["id", "shop", "event_timestamp", "label_known_at", "is_late", "outcome"]
    return sources["orders"].select(*columns)

FEATURE_TABLES = {"sales": sales, "returns": returns}
"""
START = datetime(2013, 3, 10, 6, 59, 59, 999_999, tzinfo=UTC)
ROWS = {
    "text": pa.array(["é", "", None, "b", "B", "a"]),
    "whole": pa.array([2**53 + 1, None, -(2**63), 2**63 - 1, 0, -7], pa.int64()),
    "small": pa.array([1, None, -128, 127, 0, 5], pa.int8()),
    "number": pa.array([0.1, None, float("nan"), float("inf"), -0.0, 1e-300]),
    "is_true": pa.array([True, None, False, True, False, True]),
    "at": pa.array([START + timedelta(microseconds=n) for n in range(5)] + [None], pa.timestamp("us", tz="UTC")),
}


@pytest.fixture
def feature_repo(tmp_path: Path) -> Path:
    """A folder with Feast's configuration for Spark, and one with a source, under a path with a space."""
    folder = tmp_path / "my shops" / "feature_repo"
    folder.mkdir(parents=True)
    (folder / "feature_store.yaml").write_text(CONFIG)
    write_parquet(pa.table(ROWS), folder.parent / "rows.parquet")
    return folder


@pytest.fixture
def spark(java: None, feature_repo: Path) -> Engine:
    """The engine on a local session."""
    return open_engine("spark", feature_repo, "feature_store.yaml")


@pytest.mark.slow
def test_what_is_read_comes_back(spark: Engine, feature_repo: Path) -> None:
    """Nulls, NaN, integers beyond a double, microseconds and the types are what they were, on both."""
    for engine in (DuckDB(), spark):
        rows = engine.read(feature_repo.parent / "rows.parquet")
        assert rows.schema()["at"].timezone == "UTC", engine.name
        found = engine.rows(rows)
        assert found.schema == pa.table(ROWS).schema, engine.name
        # NaN is not equal to itself.
        assert repr(found.to_pydict()) == repr(pa.table(ROWS).to_pydict()), engine.name


@pytest.mark.slow
@pytest.mark.parametrize("column", ROWS)
def test_order_is_one(spark: Engine, feature_repo: Path, column: str) -> None:
    """Text by its bytes, nulls last, NaN after all numbers."""
    path = feature_repo.parent / "rows.parquet"
    by = list(dict.fromkeys([column, "whole"]))
    orders = [engine.rows(engine.read(path).order_by(by)).to_pydict() for engine in (DuckDB(), spark)]
    # NaN is not equal to itself.
    assert repr(orders[0]) == repr(orders[1])


@pytest.mark.slow
def test_integers_divide_alike(spark: Engine, feature_repo: Path) -> None:
    """Whole parts, remainders and means: of clock times, as minutes of a day are made of them, and below zero."""
    path = feature_repo.parent / "clock.parquet"
    write_parquet(pa.table({"hhmm": [0, 59, 100, 719, 2359, -107, None]}), path)
    parts = {"hours": _.hhmm // 100, "minutes": _.hhmm % 100, "below": _.hhmm // -7}
    parts |= {"mean": _.hhmm.mean(), "share": _.hhmm / 7}
    found = [engine.rows(engine.read(path).mutate(**parts).order_by("hhmm")) for engine in (DuckDB(), spark)]
    assert found[0].equals(found[1])
    assert found[0].column("minutes").to_pylist() == [-7, 0, 59, 0, 19, 59, None]


@pytest.mark.slow
def test_what_spark_cannot_compute_is_said_by_view(spark: Engine, feature_repo: Path) -> None:
    """Every view with an expression that this engine lacks is named, Python functions too; DuckDB computes them."""
    (feature_repo / "shops.py").write_text(DEFINITIONS)
    sources = feature_repo.parent / "valid"
    write_parquet(pa.table({"shop": ["a"], "sold": [1], "year": [2013]}), sources / "sales.parquet")
    moment = pa.timestamp("us", tz="UTC")
    kinds = {"id": pa.string(), "shop": pa.string(), "event_timestamp": moment, "label_known_at": moment}
    orders = pa.schema({**kinds, "is_late": pa.int8(), "outcome": pa.string()}).empty_table()
    write_parquet(orders, sources / "orders.parquet")
    label = Label(column="is_late", key="id", maturity_hours=24, arguments={})
    definitions = load_definitions(feature_repo, "shops")
    with pytest.raises(FeatureError) as failure:
        compute(definitions, spark, sources, label, START)
    said = str(failure.value)
    assert said.startswith("the feature tables have 2 problems\n  - sales: Spark cannot compute it: ")
    assert "\n  - returns: Spark cannot compute it: " in said
    tables, _rows = compute(definitions, DuckDB(), sources, label, START)
    assert tables["sales"]["event_timestamp"].to_pylist() == [datetime(2013, 1, 1, tzinfo=UTC)]
    assert tables["returns"]["returned"].to_pylist() == [2]


@pytest.mark.slow
def test_spark_that_does_not_start_is_said(feature_repo: Path) -> None:
    """Without Java, the message says which Spark was to start and what it needs."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom dovetail.errors import FeatureError\n"
        "from dovetail.tools.feature_store.engines import open_engine\n"
        "try: open_engine('spark', Path(sys.argv[1]), 'feature_store.yaml')\n"
        "except FeatureError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, feature_repo],
        env={**os.environ, "JAVA_HOME": "/nowhere"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("Spark does not start: ")
    assert done.stdout.endswith(
        "\n  with spark.master: local[2]"
        "\n  Expected: Java 17 or later, by JAVA_HOME or on the PATH, and settings that Spark takes."
        "\n  Install Java, or correct `offline_store.spark_conf` in the feature store's file.\n"
    )


def test_a_configuration_without_spark_is_refused(feature_repo: Path) -> None:
    """The profile asks for Spark, and Feast's file does not say where it runs."""
    text = CONFIG.replace("spark.SparkUnionOfflineStore", "DuckDBAsofOfflineStore")
    (feature_repo / "feature_store.yaml").write_text(
        "".join(line for line in text.splitlines(True) if "conf" not in line)
    )
    with pytest.raises(FeatureError) as failure:
        open_engine("spark", feature_repo, "feature_store.yaml")
    assert str(failure.value) == (
        "feature tables are to be computed on Spark, and nothing says on which\n"
        f"  in {feature_repo}/feature_store.yaml: offline_store\n"
        "  Expected: type: dovetail.offline_store.spark.SparkUnionOfflineStore, whose spark_conf says it.\n"
        "  Name such a file in conf/profile: feature_store, or set feature_engine: duckdb there."
    )


def test_a_package_that_is_missing_is_named(feature_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `spark`, the message says what to install."""
    for name in [name for name in sys.modules if name.startswith("dovetail.offline_store.spark")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("pyspark", "pyspark.errors", "pyspark.sql"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(FeatureError, match=r"cannot be imported: .*pyspark.*\n  at .*\n  Install .*dovetail\["):
        open_engine("spark", feature_repo, "feature_store.yaml")
