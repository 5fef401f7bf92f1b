"""The files of `offline_store.py`'s cases: label rows, a Parquet file a view, and what the views are."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
FOUR_VIEWS = ("aircraft_last_flight", "carrier_delays", "origin_weather", "route_delays")
DAYS = 30


def prepare(folder: Path) -> tuple[int, int]:
    """Write the files of a case, and count its label rows and feature rows."""
    folder.mkdir()
    kind, _, size = folder.name.partition("-")
    n_labels = int(size) if size.isdigit() else None
    if kind == "flights":
        flights(folder, n_copies=10 if size == "10x" else 1, n_labels=n_labels)
    elif kind == "four":
        flights(folder, n_labels=n_labels, only=FOUR_VIEWS)
    elif kind == "histories":
        made_up(folder, n_rows=2_000_000, n_labels=1_000_000, length=int(size))
    else:
        made_up(folder, n_rows=20_000_000, n_labels=30_000_000, length=100)
    counts = {path.stem: pq.read_metadata(path).num_rows for path in folder.glob("*.parquet")}
    return counts.pop("labels"), sum(counts.values())


def flights(folder: Path, *, n_copies: int = 1, n_labels: int | None, only: tuple[str, ...] = ()) -> None:
    """The pipeline's own tables; a copy has keys of its own. Fewer label rows are drawn from all of them."""
    path = ROOT / "feature_repo/flights.py"
    spec: Any = importlib.util.spec_from_file_location("flights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    views: list[dict[str, Any]] = []
    names: tuple[str, ...] = only or tuple(module.FEATURE_TABLES)
    for name in names:
        view = getattr(module, f"{name}_view")
        keys = {column.name: "string" for column in view.entity_columns}
        features = {column.name: {"Int64": "int64"}.get(str(column.dtype), "double") for column in view.features}
        views.append({"name": name, "keys": keys, "features": features, "ttl": int(view.ttl.total_seconds())})
        copied(f"{ROOT}/data/features/{name}.parquet", list(keys), n_copies, f"{folder}/{name}.parquet", list(keys))
    named = sorted({key for view in views for key in view["keys"]})
    sample = f"USING SAMPLE reservoir({n_labels} ROWS) REPEATABLE (7)" if n_labels else ""
    source = f"(SELECT {', '.join(named)}, event_timestamp FROM '{ROOT}/data/label_rows.parquet' {sample})"  # noqa: S608
    copied(source, named, n_copies, f"{folder}/unplaced.parquet", [])
    numbered = f"SELECT *, row_number() OVER (ORDER BY event_timestamp, {', '.join(named)}) - 1 AS place"
    duckdb.execute(f"COPY ({numbered} FROM '{folder}/unplaced.parquet' ORDER BY place) TO '{folder}/labels.parquet'")
    Path(folder / "unplaced.parquet").unlink()
    (folder / "views.json").write_text(json.dumps(views))


def copied(source: str, keys: list[str], n_copies: int, to: str, order: list[str]) -> None:
    """Rows as often as asked, their keys numbered by copy."""
    source = source if source.startswith("(") else f"'{source}'"
    renamed = ", ".join(f"{key} || '-' || copy AS {key}" for key in keys)
    columns = f"* EXCLUDE copy REPLACE ({renamed})" if n_copies > 1 else "* EXCLUDE copy"
    by = ", ".join([*order, "event_timestamp"])
    duckdb.execute(f"COPY (SELECT {columns} FROM {source}, range({n_copies}) t(copy) ORDER BY {by}) TO '{to}'")  # noqa: S608


def made_up(folder: Path, *, n_rows: int, n_labels: int, length: int) -> None:
    """One view of an integer key and four features; the rows of a key lie evenly in a month, labels anywhere in it."""
    span = DAYS * 24 * 3600 * 1_000_000
    moment = "make_timestamptz(1704067200000000 + ({})::BIGINT)"
    at, label_at = moment.format(f"(i % {length}) * {span // length}"), moment.format(f"hash(i + 7) % {span}")
    values = ", ".join(f"hash(i + {number}) / 18446744073709551616.0 AS f{number}" for number in range(4))
    rows = f"SELECT (i // {length})::BIGINT AS key, {at} AS event_timestamp, {values} FROM range({n_rows}) t(i)"  # noqa: S608
    asked = f"SELECT (hash(i) % {n_rows // length})::BIGINT AS key, {label_at} AS event_timestamp, i AS place"
    duckdb.execute(f"COPY ({rows}) TO '{folder}/made_up.parquet'")
    duckdb.execute(f"COPY ({asked} FROM range({n_labels}) t(i)) TO '{folder}/labels.parquet'")
    features = {f"f{number}": "double" for number in range(4)}
    view = {"name": "made_up", "keys": {"key": "int64"}, "features": features, "ttl": 24 * 3600}
    (folder / "views.json").write_text(json.dumps([view]))
