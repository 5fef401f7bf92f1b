"""Small random histories of feature rows, and what a slow and obvious search finds in them.

Thousands of histories lie in the same files, told apart by the key `history`, so that a store answers for all at once.
A moment is a number of microseconds after START.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Float64, Int64, String
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = {"number": Int64, "ratio": Float64, "name": String}
TTL = 4
KEYS = {"history": Int64, "shop": Int64, "item": String}
ENTITIES = {
    name: Entity(name=name, join_keys=[name], value_type=ValueType.STRING if dtype == String else ValueType.INT64)
    for name, dtype in KEYS.items()
}


@dataclass(frozen=True)
class Row:
    """One feature row, in the order of its file."""

    shop: int | None
    item: str | None
    event: int | None
    created: int | None
    number: int | None
    ratio: float | None
    name: str | None


@dataclass(frozen=True)
class Label:
    """One label row; `near` is another shop."""

    shop: int | None
    item: str | None
    near: int | None
    moment: int


@dataclass(frozen=True)
class History:
    """Rows and what is asked of them."""

    rows: tuple[Row, ...]
    labels: tuple[Label, ...]


@dataclass(frozen=True)
class Asked:
    """What a view does: its keys by the label rows' name, and which times count."""

    view: str
    keys: dict[str, str]
    ttl: int | None
    has_created: bool


ASKED = [
    Asked("plain", {"shop": "shop"}, ttl=None, has_created=False),
    Asked("corrected", {"shop": "shop"}, ttl=None, has_created=True),
    Asked("pairs", {"shop": "shop", "item": "item"}, ttl=TTL, has_created=True),
    Asked("near", {"shop": "near", "item": "item"}, ttl=TTL, has_created=True),
    Asked("any", {}, ttl=TTL, has_created=False),
    Asked("of_all", {}, ttl=TTL, has_created=True),
]


def numbered(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows that tell which one was taken, by numbers that a float cannot hold."""
    return tuple(replace(row, number=row.number and row.number + place) for place, row in enumerate(rows))


# Nulls and unknown keys are rare enough that most label rows meet something.
MOMENTS = st.integers(-3, 9)
SOMETIMES = MOMENTS | MOMENTS | MOMENTS | st.none()
SHOPS = st.sampled_from([0, 0, 0, 0, 1, 1, None])
ITEMS = st.sampled_from(["a", "a", "a", "b", None])
ROWS = st.builds(
    Row,
    SHOPS,
    ITEMS,
    SOMETIMES,
    SOMETIMES,
    st.sampled_from([2**53, 2**53, 2**53, None]),
    st.sampled_from([0.1, -0.0, float("nan"), float("inf"), None]),
    st.sampled_from(["", "ä", "a'b", None]),
)
UNKNOWN_SHOP, UNKNOWN_ITEM = 2, "c"
LABELS = st.builds(
    Label,
    st.sampled_from([0, 0, 0, 0, 1, 1, UNKNOWN_SHOP, None]),
    st.sampled_from(["a", "a", "a", "a", "b", UNKNOWN_ITEM, None]),
    SHOPS,
    st.integers(0, 9),
)
HISTORIES = st.integers(0, 12).flatmap(
    lambda n: st.builds(
        History, st.tuples(*[ROWS] * n).map(numbered), st.lists(LABELS, min_size=1, max_size=6).map(tuple)
    )
)

# Of the view without an entity: corrected, backfilled, and expired at 5.
OF_ALL = History(
    (
        Row(None, None, event=0, created=1, number=1, ratio=0.1, name="first"),
        Row(None, None, event=0, created=2, number=2, ratio=0.2, name="corrected"),
        Row(None, None, event=-2, created=3, number=3, ratio=0.3, name="backfilled"),
        Row(None, None, event=6, created=6, number=4, ratio=0.4, name="last"),
    ),
    (),
)


def drawn(n: int) -> list[History]:
    """So many histories of Hypothesis' choice, the same in every run."""
    found: list[History] = []

    @settings(
        max_examples=n, derandomize=True, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    @given(HISTORIES)
    def collect(history: History) -> None:
        found.append(history)

    collect()
    return found


def tame(history: History) -> History:
    """What Feast's own stores survive: no null among keys and times, no two rows of one event, small numbers."""
    whole = [row for row in history.rows if None not in (row.shop, row.item, row.event, row.created)]
    first = {row.event: row for row in reversed(whole)}
    asked = [label for label in history.labels if None not in (label.shop, label.item, label.near)]
    rows = [replace(row, number=place) for place, row in enumerate(whole) if row is first[row.event]]
    return History(tuple(rows), tuple(dict.fromkeys(asked)))


def wanted(history: History, label: Label, asked: Asked, *, created_counts: bool) -> tuple[Any, ...]:
    """Feast's words, row by row: of all values known by then and not expired, the newest, then the last created."""
    known = []
    for place, row in enumerate(history.rows):
        if any(getattr(row, key) is None or getattr(row, key) != getattr(label, of) for key, of in asked.keys.items()):
            continue
        if row.event is None or row.event > label.moment:
            continue
        if asked.ttl is not None and row.event < label.moment - asked.ttl:
            continue
        created = row.created if asked.has_created else None
        if created_counts and asked.has_created and (created is None or created > label.moment):
            continue
        known.append((row.event, created is not None, created or 0, place))
    if not known:
        return (None, None, None)
    row = history.rows[max(known)[-1]]
    return row.number, row.ratio, row.name


def write(folder: Path, histories: Sequence[History], *, nanoseconds: int) -> None:
    """The files: two of microseconds; a folder of three with other column names, moments some nanoseconds later."""
    table = rows_table(enumerate(histories))
    pq.write_table(table, folder / "rows.parquet")
    pq.write_table(rows_table([(0, OF_ALL)]), folder / "of_all.parquet")
    renamed = {"shop": "THE SHOP", "event": "at", "number": "n°"}
    columns = {renamed.get(name, name): table[name] for name in table.column_names}
    for name in ("at", "created"):
        later = pc.add(pc.multiply(columns[name].cast(pa.int64()), 1000), nanoseconds)
        columns[name] = later.cast(pa.timestamp("ns", "UTC"))
    parts = pa.table(columns)
    (folder / "parts" / "deeper").mkdir(parents=True)
    # A history starts in the first file and ends in the last.
    places = pa.array([min(place // 4, 2) for history in histories for place in range(len(history.rows))], pa.int64())
    for number, name in enumerate(("a", "b", "deeper/c")):
        rows = parts.filter(pc.equal(places, number))
        pq.write_table(rows, folder / f"parts/{name}.parquet", row_group_size=100)


def rows_table(histories: Any) -> pa.Table:
    """The rows of numbered histories as a file holds them."""
    rows = [(number, row) for number, history in histories for row in history.rows]
    columns: dict[str, pa.Array] = {"history": pa.array([number for number, _ in rows], pa.int64())}
    types = {"shop": pa.int64(), "item": pa.string(), "number": pa.int64(), "ratio": pa.float64(), "name": pa.string()}
    for name, dtype in types.items():
        columns[name] = pa.array([getattr(row, name) for _, row in rows], dtype)
    for name in ("event", "created"):
        columns[name] = moments([getattr(row, name) for _, row in rows])
    return pa.table(columns)


def moments(numbers: Sequence[int | None]) -> pa.Array:
    """Moments as timestamps in microseconds."""
    start = int(START.timestamp()) * 1_000_000
    return pa.array([None if number is None else start + number for number in numbers], pa.timestamp("us", "UTC"))


def definitions() -> list[Any]:
    """The views of ASKED on the files of `write`, and a service which asks for all, `pairs` twice."""
    renamed = {"THE SHOP": "shop", "at": "event", "n°": "number"}
    sources = {
        "plain": source("plain", "rows.parquet"),
        "corrected": source("corrected", "rows.parquet", created="created"),
        "pairs": source("pairs", "parts", created="created", field_mapping=renamed),
        "any": source("any", "rows.parquet"),
        "of_all": source("of_all", "of_all.parquet", created="created"),
    }
    views = {
        asked.view: FeatureView(
            name=asked.view,
            entities=[ENTITIES[key] for key in keys_of(asked)],
            ttl=timedelta(microseconds=asked.ttl or 0),
            source=sources[asked.view],
            schema=[Field(name=name, dtype=dtype) for name, dtype in [*keys_of(asked).items(), *FEATURES.items()]],
        )
        for asked in ASKED
        if asked.view in sources
    }
    pairs = views["pairs"].with_name("pairs")
    near = views["pairs"].with_name("near").with_join_key_map({"shop": "near"})
    once = [view for name, view in views.items() if name != "pairs"]
    return [*ENTITIES.values(), *views.values(), FeatureService(name="all", features=[*once, pairs, near])]


def source(name: str, path: str, created: str = "", **more: Any) -> FileSource:
    """A file or folder as a source."""
    timestamps = {"timestamp_field": "event", "created_timestamp_column": created}
    return FileSource(name=name, path=path, file_format=ParquetFormat(), **timestamps, **more)


def keys_of(asked: Asked) -> dict[str, Any]:
    """A view's keys and their types; the history is one of them, but for the view without an entity."""
    names = [] if asked.view == "of_all" else ["history", *asked.keys]
    return {name: KEYS[name] for name in names}
