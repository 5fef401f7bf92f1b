"""What the point-in-time queries mean, on histories small enough to read, and against a double loop."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.offline_store.asof import History, Question, events_between, rows_between

HISTORY = History("history", ("k",), "event", "created", ("value",))


@dataclass(frozen=True)
class Row:
    """One feature row; `value` says which one was taken."""

    k: int | None
    event: int | None
    created: int | None
    value: int


def table_of(rows: list[Row]) -> pa.Table:
    """Rows as a file would hold them, in one file, in their order."""
    at = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "k": pa.array([row.k for row in rows], pa.int64()),
            "event": pa.array([row.event for row in rows], at),
            "created": pa.array([row.created for row in rows], at),
            "value": pa.array([row.value for row in rows], pa.int64()),
            "filename": pa.array(["a.parquet"] * len(rows), pa.string()),
            "file_row_number": pa.arange(0, len(rows)),
        }
    )


@pytest.fixture(scope="module", autouse=True)
def connection() -> Iterator[None]:
    """One database for all examples: opening one takes longer than an example."""
    duckdb.execute("SET TimeZone = 'UTC'")
    yield
    duckdb.unregister("history").unregister("label_rows")


def taken(
    labels: list[tuple[int | None, int]],
    rows: list[Row],
    history: History,
    created_counts: bool,
    labels_are_fewer: bool = True,
) -> list[int]:
    """The value that the query takes for each label row (key, moment), in order; it may choose among ties or not."""
    keys, moments = zip(*labels, strict=True)
    columns = {"row_id": pa.arange(0, len(labels)), "moment": pa.array(moments), "key_0": pa.array(keys, pa.int64())}
    duckdb.register("label_rows", pa.table(columns))
    duckdb.register("history", table_of(rows))
    question = Question(history, "label_rows", (min(moments), max(moments)), created_counts, labels_are_fewer)
    ((has_ties,),) = duckdb.sql(question.has_ties()).fetchall()
    found = values(rows, question.features(has_ties=True), "feature_0")
    assert has_ties or values(rows, question.features(has_ties=False), "feature_0") == found
    return found


def values(rows: list[Row], query: str, column: str) -> list[int]:
    """One column of a query's result over the rows."""
    duckdb.register("history", table_of(rows))
    result: list[int] = duckdb.sql(query).to_arrow_table()[column].to_pylist()
    return result


def expected(label: tuple[int | None, int], rows: list[Row], history: History, created_counts: bool) -> int | None:
    """Feast's words, row by row: of all values known by then and not expired, the newest, then the last created."""
    key, moment = label
    known = [
        (row.event, row.created is not None, row.created or 0, place, row.value)
        for place, row in enumerate(rows)
        if (not history.keys or (row.k is not None and row.k == key))
        and row.event is not None
        and row.event <= moment
        and (history.ttl is None or row.event >= moment - history.ttl)
        and (not created_counts or (row.created is not None and row.created <= moment))
    ]
    return max(known)[-1] if known else None


MOMENTS = st.integers(-3, 12)
ROWS = st.lists(
    st.builds(Row, st.none() | st.integers(0, 2), st.none() | MOMENTS, st.none() | MOMENTS, st.just(0)), max_size=14
).map(lambda rows: [replace(row, value=place) for place, row in enumerate(rows)])
LABELS = st.lists(st.tuples(st.none() | st.integers(0, 3), MOMENTS), min_size=1, max_size=8)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(LABELS, ROWS, st.none() | st.integers(0, 6), st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_it_takes_what_a_double_loop_takes(
    labels: list[tuple[int | None, int]],
    rows: list[Row],
    ttl: int | None,
    created_counts: bool,
    has_keys: bool,
    has_created: bool,
    labels_are_fewer: bool,
) -> None:
    """Each label row gets, once and in order, the value that a search through all rows finds."""
    history = replace(HISTORY, ttl=ttl, keys=("k",) if has_keys else (), created="created" if has_created else None)
    if not has_created:
        rows, created_counts = [replace(row, created=None) for row in rows], False
    wanted = [expected(label, rows, history, created_counts) for label in labels]
    assert taken(labels, rows, history, created_counts, labels_are_fewer) == wanted


def test_a_backfill_never_hides_a_newer_value() -> None:
    """A row of 2 that came at 9 is unknown at 8, and older than the known row of 5 at 10."""
    rows = [Row(1, event=5, created=6, value=50), Row(1, event=2, created=9, value=20)]
    assert taken([(1, 8), (1, 10)], rows, HISTORY, created_counts=True) == [50, 50]


def test_a_correction_counts_from_its_own_moment() -> None:
    """The value of 5 was corrected at 9: at 8 the first one was known, at 9 the second."""
    rows = [Row(1, event=5, created=5, value=50), Row(1, event=5, created=9, value=51)]
    assert taken([(1, 8), (1, 9)], rows, HISTORY, created_counts=True) == [50, 51]


def test_a_value_as_old_as_the_time_to_live_still_counts() -> None:
    """Feast keeps `event >= moment - ttl`: at 8 a value of 5 lives under a ttl of 3, at 9 no more."""
    rows = [Row(1, event=5, created=5, value=50)]
    assert taken([(1, 8), (1, 9)], rows, replace(HISTORY, ttl=3), created_counts=True) == [50, None]


def test_of_equal_rows_the_last_in_the_files_is_taken() -> None:
    """Nothing but their place tells two rows apart."""
    rows = [Row(1, event=5, created=5, value=1), Row(1, event=5, created=5, value=2)]
    assert taken([(1, 8)], rows, HISTORY, created_counts=True) == [2]


def test_latest_rows_are_one_a_key_between_two_moments_included() -> None:
    """Of key 1 the row of 7, not that of 9 after the end; of key 2, whose rows are of one event, the last created."""
    rows = [Row(1, 7, 7, 17), Row(1, 3, 9, 13), Row(1, 9, 9, 19), Row(2, 3, 8, 28), Row(2, 3, 4, 24), Row(3, 2, 2, 32)]
    assert between(rows, latest_only=True) == [17, 28]


def test_all_rows_between_two_moments_come_by_key_and_time() -> None:
    """Both ends are included, earlier and later rows are not, nor are rows without a timestamp."""
    rows = [
        Row(2, 3, 3, 23),
        Row(1, 7, 7, 17),
        Row(1, 3, 3, 13),
        Row(1, 2, 2, 12),
        Row(1, 8, 8, 18),
        Row(1, None, 4, 0),
    ]
    assert between(rows, latest_only=False) == [13, 17, 23]


def between(rows: list[Row], *, latest_only: bool) -> list[int]:
    """The values of the rows from 3 to 7."""
    return values(rows, rows_between(HISTORY, 3, 7, latest_only=latest_only), "value")


def test_events_of_views_with_other_keys_stand_side_by_side() -> None:
    """Each event comes once; a view without the key leaves it null."""
    rows = [Row(1, 4, 4, 0), Row(1, 4, 5, 1), Row(1, 9, 9, 2)]
    histories = [(HISTORY, ["driver"]), (replace(HISTORY, keys=()), [])]
    query = events_between(histories, 0, 8)
    assert values(rows, query, "driver") == [1, None]
    assert values(rows, f"SELECT epoch_us(event_timestamp) AS moment FROM ({query})", "moment") == [4, 4]
