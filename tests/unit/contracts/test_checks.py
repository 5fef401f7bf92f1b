"""What a contract says of a table."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.contracts.checks import check
from dovetail.settings.schema import Source

CONTRACT: dict[str, Any] = {
    "kind": "csv",
    "path": "stations.csv",
    "key": ["id"],
    "columns": {
        "id": {"type": "string"},
        "temp": {"type": "number", "nullable": True, "min": -40, "max": 120},
        "sky": {"type": "string", "one_of": ["clear", "cloudy"]},
    },
    "max_quarantined": 1.0,
}


def source(**changes: Any) -> Source:
    """The contract of the stations, with changes."""
    return Source(**{**CONTRACT, **changes})


def stations(**changes: Any) -> pa.Table:
    """Three good stations, with changes."""
    columns = {"id": ["a", "b", "c"], "temp": [10.0, None, 30.0], "sky": ["clear", "cloudy", "clear"]}
    return pa.table({**columns, **changes})


def test_good_rows_pass() -> None:
    """A table that keeps its contract comes back as it is, with its missing shares."""
    verdict = check("stations", stations(), source())
    assert verdict.valid.equals(stations())
    assert (verdict.problems, verdict.warnings, verdict.quarantined.num_rows) == ((), (), 0)
    assert verdict.missing == {"temp": 0.333333}


def test_columns_come_in_the_contracts_order() -> None:
    """The order of a source's columns does not matter."""
    verdict = check("stations", stations().select(["sky", "temp", "id"]), source())
    assert verdict.valid.equals(stations())


def test_a_row_that_breaks_rules_goes_to_quarantine_with_the_reasons() -> None:
    """A bad row is put aside with every rule it breaks, and the others pass."""
    verdict = check("stations", stations(temp=[10.0, 130.0, 30.0], sky=["clear", "green", "clear"]), source())
    assert verdict.valid["id"].to_pylist() == ["a", "c"]
    assert verdict.quarantined.to_pylist() == [
        {"id": "b", "temp": 130.0, "sky": "green", "reason": "temp: at most 120; sky: one of clear, cloudy"}
    ]
    assert verdict.broken == {"temp: at most 120": 1, "sky: one of clear, cloudy": 1}


def test_missing_shares_are_of_the_valid_rows() -> None:
    """A null in a quarantined row does not count."""
    verdict = check("stations", stations(sky=["clear", "green", "clear"]), source())
    assert verdict.missing == {"temp": 0.0}


def test_infinity_is_refused_where_no_range_is_set() -> None:
    """An infinite number breaks a rule that every number has."""
    columns = {"id": {"type": "string"}, "temp": {"type": "number"}}
    table = stations(temp=[1.0, float("inf"), float("-inf")]).select(["id", "temp"])
    assert check("stations", table, source(columns=columns)).broken == {"temp: finite": 2}


def test_null_is_refused_where_it_is_not_allowed() -> None:
    """A null in a column that is not nullable breaks a rule."""
    assert check("stations", stations(sky=["clear", None, "clear"]), source()).broken == {"sky: not null": 1}


def test_of_rows_with_the_same_key_none_is_kept() -> None:
    """Nothing says which of two rows with one key is right, so both are put aside."""
    verdict = check("stations", stations(id=["a", "b", "a"]), source())
    assert verdict.valid["id"].to_pylist() == ["b"]
    assert verdict.quarantined["reason"].to_pylist() == ["id: unique", "id: unique"]


def test_a_key_of_two_columns_is_unique_as_a_pair() -> None:
    """Rows that share only a part of the key are different rows."""
    two = source(key=["id", "sky"])
    assert check("stations", stations(id=["a", "a", "b"]), two).broken == {}
    assert check("stations", stations(id=["a", "b", "a"]), two).broken == {"id, sky: unique": 2}


@pytest.mark.parametrize(("value", "is_good"), [("N12", True), ("XN12", False), ("N12X", False), ("Q", True)])
def test_matches_is_about_the_whole_value(value: str, is_good: bool) -> None:
    """A pattern, also one with alternatives, must cover the value from its start to its end."""
    columns = {"id": {"type": "string", "matches": "N[0-9]+|Q"}}
    verdict = check("stations", pa.table({"id": [value]}), source(columns=columns))
    assert (verdict.broken == {}) is is_good


def test_a_pattern_that_cannot_be_used_is_a_problem() -> None:
    """A pattern of Python that Arrow does not know stops the run, and lets no row pass unchecked."""
    columns = {"id": {"type": "string", "matches": "(?=N).*"}}
    (problem,) = check("stations", pa.table({"id": ["N1"]}), source(columns=columns)).problems
    assert problem.startswith("id: matches (?=N).* — cannot be evaluated: ArrowInvalid")


def test_more_bad_rows_than_allowed_are_a_problem() -> None:
    """When too large a share breaks a rule, the rules are named with their rows and examples."""
    verdict = check("stations", stations(temp=[130.0, -50.0, 30.0]), source(max_quarantined=0.5))
    assert verdict.problems == (
        "2 of 3 rows break a rule: 66.67%, at most 50.00% may"
        "\n    how many may:  usecase.sources.stations.max_quarantined",
        "temp: at least -40 — 1 rows (e.g. -50.0)",
        "temp: at most 120 — 1 rows (e.g. 130.0)",
    )


def test_the_tolerance_itself_is_tolerated() -> None:
    """Exactly the allowed share of bad rows does not stop the run."""
    assert check("stations", stations(temp=[130.0, 1.0, 2.0]), source(max_quarantined=1 / 3)).problems == ()


def test_an_empty_table_is_a_problem() -> None:
    """A source without rows stops the run, once."""
    assert check("stations", stations().slice(0, 0), source()).problems == ("it has no rows",)


def test_one_row_is_enough() -> None:
    """A single good row passes."""
    assert check("stations", stations().slice(0, 1), source()).problems == ()


def test_a_missing_column_is_a_problem() -> None:
    """A column that is not there is named."""
    assert check("stations", stations().drop(["temp"]), source()).problems == ("column 'temp' is missing",)


def test_a_doubled_column_is_a_problem() -> None:
    """Two columns with one name are named once, and neither is taken."""
    doubled = stations().append_column("temp", pa.array([1.0, 2.0, 3.0]))
    verdict = check("stations", doubled, source())
    assert verdict.problems == ("column 'temp' is there 2 times",)
    assert verdict.valid.column_names == ["id", "sky"]


def test_an_all_null_column_is_a_problem_only_where_null_is_not_allowed() -> None:
    """One finding says that the column is empty, instead of one for each row."""
    nothing = pa.nulls(3, pa.string())
    assert check("stations", stations(sky=nothing), source()).problems == ("column 'sky' is entirely null",)
    assert check("stations", stations(temp=pa.nulls(3, pa.float64())), source()).problems == ()


def test_a_wrong_type_is_a_problem_with_examples() -> None:
    """A column that could not be converted is named with the values that are to blame."""
    assert check("stations", stations(temp=["10", "cold", "n/a"]), source()).problems == (
        "column 'temp' should be of type number, and is not (e.g. cold, n/a)",
    )


def test_examples_are_bounded() -> None:
    """Five examples at most, forty characters each at most."""
    table = pa.table(
        {"id": [str(row) for row in range(7)], "sky": ["clear"] * 7, "temp": ["x" * 50] * 2 + list("abcde")}
    )
    (problem,) = check("stations", table, source()).problems
    assert problem == f"column 'temp' should be of type number, and is not (e.g. {'x' * 39}…, a, b, c)"


def test_a_new_column_warns_and_is_left_out() -> None:
    """A column that the contract does not know does not reach the good rows."""
    verdict = check("stations", stations(humid=[1, 2, 3]), source())
    assert verdict.warnings == ("column 'humid' is not in the contract and is left out",)
    assert (verdict.problems, verdict.valid.column_names) == ((), ["id", "temp", "sky"])


def test_nothing_that_can_be_judged_is_a_problem_and_not_a_crash() -> None:
    """A table that shares no column with its contract gets one finding for each missing column."""
    problems = check("stations", pa.table({"a;b;c": ["1;2;3"]}), source()).problems
    assert problems[1:] == ("column 'temp' is missing", "column 'sky' is missing")


def test_a_time_key_keeps_its_rules() -> None:
    """Timestamps can be keys."""
    at = datetime(2013, 11, 3, 5, tzinfo=UTC)
    columns = {"at": {"type": "timestamp"}}
    table = pa.table({"at": pa.array([at, at], pa.timestamp("us", tz="UTC"))})
    assert check("stations", table, source(columns=columns, key=["at"])).broken == {"at: unique": 2}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c", None]),
            st.sampled_from([-41.0, -40.0, 120.0, 121.0, None, float("inf")]),
            st.sampled_from(["clear", "green", None]),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(derandomize=True, max_examples=50, deadline=None)
def test_rows_are_parted_by_the_rules(rows: list[tuple[Any, Any, Any]]) -> None:
    """Every row is valid or quarantined, as a look at one row after the other says."""
    ids, temps, skies = zip(*rows, strict=True)
    table = pa.table(
        {"id": pa.array(ids, pa.string()), "temp": pa.array(temps, pa.float64()), "sky": pa.array(skies, pa.string())}
    )
    good = [
        (key, temp, sky)
        for key, temp, sky in rows
        if ids.count(key) == 1 and key and (temp is None or -40 <= temp <= 120) and sky == "clear"
    ]
    if set(ids) == {None} or set(skies) == {None}:
        return
    verdict = check("stations", table, source())
    assert [tuple(row.values()) for row in verdict.valid.to_pylist()] == good
    assert verdict.valid.num_rows + verdict.quarantined.num_rows == len(rows)
