"""Parity tells a value that is the same online and offline from one that is not, to the bit."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from feast import ValueType
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values

from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.feature_store.parity import Parity, compare, total

MODULE = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp

shop = Entity(name="shop", join_keys=["shop"], value_type=ValueType.STRING)
source = FileSource(name="sales", path="../data/features/sales.parquet", timestamp_field="event_timestamp")
types = {"price": Float64, "share": Float32, "sold": Int64, "place": String, "is_open": Bool, "opened": UnixTimestamp,
         "prices": Array(Float64)}
schema = [Field(name="shop", dtype=String), *(Field(name=name, dtype=dtype) for name, dtype in types.items())]
sales_view = FeatureView(name="sales", entities=[shop], ttl=timedelta(days=2), source=source, schema=schema)
shops = FeatureService(name="shops", features=[sales_view])
FEATURE_TABLES = {"sales": lambda sources: sources["sales"]}
label_rows = FEATURE_TABLES["sales"]
"""
NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
OFFLINE: dict[str, tuple[ValueType, pa.DataType, Any]] = {
    "price": (ValueType.DOUBLE, pa.float64(), 0.1),
    "share": (ValueType.FLOAT, pa.float32(), 0.5),
    "sold": (ValueType.INT64, pa.int64(), 2**53 + 1),
    "place": (ValueType.STRING, pa.string(), "ä"),
    "is_open": (ValueType.BOOL, pa.bool_(), True),
    "opened": (ValueType.UNIX_TIMESTAMP, pa.timestamp("us", "UTC"), NOON),
    "prices": (ValueType.DOUBLE_LIST, pa.list_(pa.float64()), [0.1, 0.2]),
}


def found(tmp_path: Path, online: dict[str, Value], offline: dict[str, pa.Array]) -> Parity:
    """What is found of one row, in which all is the same but what is given."""
    (tmp_path / "shops.py").write_text(MODULE)
    same = {name: python_values_to_proto_values([value], kind)[0] for name, (kind, _, value) in OFFLINE.items()}
    there = {name: pa.array([value], dtype) for name, (_, dtype, value) in OFFLINE.items()}
    rows = pa.table({"shop": ["a"], "event_timestamp": pa.array([NOON]), **there, **offline})
    values = {name: [value] for name, value in (same | online).items()}
    (view,) = total(compare(load_definitions(tmp_path, "shops"), ["shop"], values, rows))
    return view


def test_equal_values_of_all_types_are_equal(tmp_path: Path) -> None:
    """Numbers, text, truth, moments and lists, as Feast writes them online."""
    view = found(tmp_path, {}, {})
    assert (view.equal, view.values, view.holds, view.examples) == (len(OFFLINE), len(OFFLINE), True, [])


def test_nothing_on_both_sides_is_the_same(tmp_path: Path) -> None:
    """A value that is not known, or that both have forgotten."""
    view = found(tmp_path, {"price": Value()}, {"price": pa.nulls(1, pa.float64())})
    assert (view.null, view.equal, view.holds) == (1, len(OFFLINE) - 1, True)


OTHER = {
    "last bit": ("price", Value(double_val=float(np.nextafter(0.1, 1))), "different"),
    "nan": ("price", Value(double_val=float("nan")), "different"),
    "a float's integer": ("sold", Value(int64_val=2**53), "different"),
    "text": ("place", Value(string_val="a"), "different"),
    "in a list": ("prices", python_values_to_proto_values([[0.1, 0.3]], ValueType.DOUBLE_LIST)[0], "different"),
    "a second": ("opened", Value(unix_timestamp_val=int(NOON.timestamp()) + 1), "different"),
    "nothing online": ("sold", Value(), "only_offline"),
}


@pytest.mark.parametrize("case", OTHER)
def test_another_value_online_is_found(tmp_path: Path, case: str) -> None:
    """One value of all is not the same; it is counted as what it is, and shown with its key and moment."""
    name, value, count = OTHER[case]
    view = found(tmp_path, {name: value}, {})
    assert (getattr(view, count), view.equal, view.holds) == (1, len(OFFLINE) - 1, False)
    assert view.examples[0].startswith(f"{name} of shop=a at 2024-01-01 12:00:00+00:00: ")


def test_the_sign_of_nothing_is_a_bit_too(tmp_path: Path) -> None:
    """0.0 and -0.0 are equal to Python, and not to a model that divides."""
    view = found(tmp_path, {"price": Value(double_val=-0.0)}, {"price": pa.array([0.0])})
    assert (view.different, view.examples[0].partition(": ")[2]) == (1, "-0.0 online, 0.0 offline")


def test_a_value_that_is_online_only_is_found(tmp_path: Path) -> None:
    """As one that was served after its time to live."""
    view = found(tmp_path, {}, {"sold": pa.nulls(1, pa.int64())})
    assert (view.only_online, view.holds) == (1, False)
    assert view.examples == [f"sold of shop=a at 2024-01-01 12:00:00+00:00: {2**53 + 1} online, None offline"]


def test_equal_values_of_another_type_are_found(tmp_path: Path) -> None:
    """One is 1.0 is True, for Python; not for a model with a signature."""
    online = found(tmp_path, {"is_open": Value(int64_val=1)}, {})
    offline = found(tmp_path, {}, {"is_open": pa.array([1])})
    assert (online.other_type, online.holds) == (1, False)
    assert (offline.other_type, offline.holds) == (1, False)
    assert online.examples == ["is_open is int64_val online, bool offline"]
    assert offline.examples == ["is_open is bool_val online, int64 offline"]
