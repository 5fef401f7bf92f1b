from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dovetail.contracts.feature_tables import MOMENT, TIME, TableRule, label_problems, row_problems, schema_problems

RULE = TableRule(
    "weather",
    {"origin": pa.string(), TIME: MOMENT, "temp": pa.float64()},
    is_open=False,
    unique=["origin", TIME],
    order=["origin", TIME],
)


def at(hour: int) -> datetime:
    """An hour of one day."""
    return datetime(2013, 1, 1, hour, tzinfo=UTC)


def weather(*rows: tuple[str | None, datetime | None, float | None]) -> pa.Table:
    """Rows of (origin, event_timestamp, temp)."""
    schema = pa.schema(list(RULE.columns.items()))
    return pa.Table.from_pylist([dict(zip(RULE.columns, row, strict=True)) for row in rows], schema)


def test_a_table_as_its_view_says_has_no_problem() -> None:
    """Missing feature values are no problem."""
    table = weather(("EWR", at(1), 39.0), ("EWR", at(2), None))
    assert [*schema_problems(RULE, table.schema), *row_problems(RULE, table)] == []


def test_all_wrong_columns_are_named() -> None:
    """A missing, a retyped and an unexpected column are three problems."""
    schema = pa.schema({"origin": pa.string(), TIME: pa.timestamp("us"), "tmep": pa.float64()})
    assert list(schema_problems(RULE, schema)) == [
        "weather: column 'event_timestamp' is timestamp[us], not timestamp[us, tz=UTC]",
        "weather: column 'temp' is missing",
        "weather: column 'tmep' is not in the view",
    ]


def test_null_keys_and_moments_are_counted() -> None:
    """A null key and a null moment are told apart."""
    table = weather((None, at(1), 39.0), (None, at(2), 39.0), ("EWR", None, 39.0))
    assert list(row_problems(RULE, table)) == [
        "weather: 'origin' is null in 2 rows",
        "weather: 'event_timestamp' is null in 1 rows",
    ]


def test_a_repeated_key_is_shown() -> None:
    """Two rows of one key at one moment cannot both be the last known one."""
    table = weather(("EWR", at(1), 39.0), ("JFK", at(1), 39.0), ("EWR", at(1), 41.0))
    assert list(row_problems(RULE, table)) == [
        "weather: 1 keys (origin, event_timestamp) are there more than once: EWR, 2013-01-01 01:00:00+00:00"
    ]


def test_examples_are_few_and_short() -> None:
    """Nine long keys, each twice, give five examples of forty characters."""
    table = weather(*[(f"{n}" * 80, at(1), 0.0) for n in range(1, 10)] * 2)
    (problem,) = row_problems(RULE, table)
    shown = problem.partition("more than once: ")[2].split("; ")
    assert [example.split(", ")[0] for example in shown] == ["1" * 40, "2" * 40, "3" * 40, "4" * 40, "5" * 40]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=8))
def test_repeated_keys_are_found_exactly(keys: list[tuple[str, int]]) -> None:
    """A problem is reported when, and only when, a pair of key and moment occurs twice."""
    table = weather(*[(origin, at(hour), None) for origin, hour in keys])
    assert bool(list(row_problems(RULE, table))) == (len(set(keys)) < len(keys))


def test_labels_must_have_an_honest_moment() -> None:
    """A label that is known but not when, one known too early, and a column named like a feature are problems."""
    rows = pa.table(
        {
            TIME: pa.array([at(5), at(5), at(5), at(5)], MOMENT),
            "label_known_at": pa.array([at(9), None, at(5), None], MOMENT),
            "is_late": pa.array([1, 1, 0, None], pa.int8()),
            "temp": pa.array([0.0, 0.0, 0.0, 0.0]),
        }
    )
    assert list(label_problems(rows, "is_late", {"temp", "humid"})) == [
        "label_rows: column 'temp' is also a feature",
        "label_rows: 1 rows have a 'is_late' without 'label_known_at', or the other way round",
        "label_rows: 1 labels are known at or before 'event_timestamp': nothing is left to predict",
    ]
