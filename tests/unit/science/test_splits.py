"""The split is a partition, and its certificate finds each way to be dishonest."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dovetail.errors import SplitError
from dovetail.science.splits import GAP, LEARNED, PARTS, Certificate, Check, FeatureTable, certify, part_of, split
from dovetail.settings.schema import Label, Period, Split


def day(number: float) -> datetime:
    """A moment in January 2020, in days."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number)


SPLIT = Split(
    train=Period(start=day(0), end=day(10)),
    validation=Period(start=day(12), end=day(15)),
    holdout=Period(start=day(17), end=day(20)),
    suspicious_auc=0.9,
)
LABEL = Label(column="y", key="id", maturity_hours=48, arguments={})


def label_rows(n: int = 400) -> pd.DataFrame:
    """Rows spread over 24 days, each known half a day after its prediction; `x` is noise."""
    at = pd.Series([day(24 * i / n) for i in range(n)]).astype("datetime64[us, UTC]")
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "event_timestamp": at,
            "label_known_at": at + timedelta(hours=12),
            "y": random.integers(0, 2, n),
            "x": random.normal(size=n),
            "place": np.where(random.random(n) < 0.5, "a", "b"),
        }
    )


def certificate(rows: pd.DataFrame, *tables: FeatureTable, inputs: tuple[str, ...] = ("x", "place")) -> Certificate:
    """The certificate of the rows, split as `SPLIT` says."""
    part = part_of(rows["event_timestamp"], SPLIT)
    return certify({name: rows[part == name] for name in PARTS}, tables, inputs, LABEL, SPLIT)


def failed(result: Certificate) -> dict[str, str]:
    """The details of the failed checks by name."""
    return {check.name: check.detail for check in result.checks if not check.holds}


@given(st.lists(st.integers(-24, 24 * 30), max_size=50))
@hypothesis_settings(derandomize=True, deadline=None)
def test_a_split_is_a_partition(hours: list[int]) -> None:
    """Every row is in exactly one part or gap, and each part holds its own period."""
    moments = pa.array([day(hour / 24) for hour in hours], pa.timestamp("us", "UTC"))
    parts = split(pa.table({"row": pa.array(range(len(hours)), pa.int64()), "event_timestamp": moments}), SPLIT)
    assert sorted(row for part in parts.values() for row in part["row"].to_pylist()) == list(range(len(hours)))
    for name in LEARNED:
        period = getattr(SPLIT, name)
        assert all(period.start <= at < period.end for at in parts[name]["event_timestamp"].to_pylist())
    assert all(at >= SPLIT.holdout.end for at in parts["live"]["event_timestamp"].to_pylist())


def test_a_period_has_its_start_and_not_its_end() -> None:
    """A row at the start of a part is in it; one at its end is in the gap, or live after the holdout."""
    moments = pd.Series([day(0), day(10), day(12), day(20), day(-1)])
    assert list(part_of(moments, SPLIT)) == ["train", GAP, "validation", "live", GAP]


def test_an_honest_split_is_certified() -> None:
    """All checks hold, and nothing is raised."""
    result = certificate(label_rows())
    assert failed(result) == {}
    assert result.demand("reports/split_certificate.json") is None


def test_an_empty_part_names_its_setting_and_the_span_of_the_data() -> None:
    """Without rows in the validation period, the error says where rows are."""
    rows = label_rows()
    result = failed(certificate(rows[(rows["event_timestamp"] < day(12)) | (rows["event_timestamp"] >= day(15))]))
    assert result["each part has both classes"] == (
        "usecase.split.validation (2020-01-13 00:00:00+00:00 to 2020-01-16 00:00:00+00:00) has no labelled row; "
        "the others run from 2020-01-01 00:00:00+00:00 to 2020-01-24 22:33:36+00:00"
    )


def test_a_part_of_one_class_is_refused() -> None:
    """A holdout without positives measures nothing."""
    rows = label_rows()
    rows.loc[rows["event_timestamp"] >= day(17), "y"] = 0
    assert list(failed(certificate(rows))) == ["each part has both classes"]


def test_a_key_in_two_parts_is_found() -> None:
    """The same key in train and live is named."""
    rows = label_rows()
    rows.loc[rows.index[-1], "id"] = "r0"
    assert failed(certificate(rows)) == {"no row is in two parts": "1 of 332 keys repeat (e.g. r0)"}


def test_parts_out_of_order_are_found() -> None:
    """Parts whose rows overlap in time are refused, whatever the settings say."""
    rows = label_rows()
    part = part_of(rows["event_timestamp"], SPLIT)
    parts = {name: rows[part == name] for name in PARTS}
    parts["train"], parts["validation"] = parts["validation"], parts["train"]
    assert "the parts are in the order of time" in failed(certify(parts, (), ("x",), LABEL, SPLIT))


def test_a_gap_shorter_than_the_maturity_is_refused() -> None:
    """With labels that may take three days, gaps of two are too short."""
    rows = label_rows()
    part = part_of(rows["event_timestamp"], SPLIT)
    slow = LABEL.model_copy(update={"maturity_hours": 72})
    result = failed(certify({name: rows[part == name] for name in PARTS}, (), ("x",), slow, SPLIT))
    assert "train to validation: the gap is 2 days, 0:00:00, the maturity 72 hours" in str(result)


def test_a_label_known_too_late_breaks_two_promises() -> None:
    """One label of train that was known in the validation period is found there and against the maturity."""
    rows = label_rows()
    rows.loc[100, "label_known_at"] = day(13)
    assert failed(certificate(rows)) == {
        "labels are known before the next part begins": (
            "1 labels of train were not known at validation's first prediction, 2020-01-13 00:00:00+00:00"
        ),
        "labels are mature in time": (
            "1 of 333 labels took longer than usecase.label.maturity_hours (48); the longest took 168.0 hours"
        ),
    }


@pytest.mark.parametrize("direction", [1, -1])
def test_a_feature_that_knows_the_label_is_found(direction: int) -> None:
    """A number that ranks the labels, upwards or downwards, is named with its AUC."""
    rows = label_rows().assign(leak=lambda frame: direction * frame["y"] * 10.0 + frame["x"])
    result = failed(certificate(rows, inputs=("x", "leak")))
    assert result == {"no single feature knows the label": "leak ranks the label with AUC 1.000; suspicious: 0.9"}


def test_a_category_that_knows_the_label_is_found() -> None:
    """A category is ranked by what the other half of the rows says about it."""
    rows = label_rows().assign(leak=lambda frame: np.where(frame["y"] == 1, "landed late", "fine"))
    assert "leak ranks the label with AUC 1.000" in str(failed(certificate(rows, inputs=("leak",))))


def test_a_category_with_a_value_a_row_knows_nothing() -> None:
    """A name that no other row has cannot rank, though it could memorise every label."""
    assert failed(certificate(label_rows(), inputs=("id",))) == {}


def test_being_missing_can_know_the_label() -> None:
    """Values that are noise, but missing for the positives, are found by their being missing."""
    rows = label_rows().assign(leak=lambda frame: frame["x"].where(frame["y"] == 0))
    assert failed(certificate(rows, inputs=("leak",))) == {
        "no single feature knows the label": "leak is missing ranks the label with AUC 1.000; suspicious: 0.9"
    }


HOUR = timedelta(hours=1)


def table(rows: list[tuple[Any, datetime, float | None]], ttl: timedelta | None = None) -> FeatureTable:
    """The view `weather` with one feature, `temp`, by place."""
    frame = pd.DataFrame(rows, columns=["where", "event_timestamp", "temp"])
    frame["event_timestamp"] = frame["event_timestamp"].astype("datetime64[us, UTC]")
    frame["temp"] = frame["temp"].astype(float)
    return FeatureTable("weather", frame, keys={"where": "place"}, features={"temp": "temp"}, ttl=ttl)


def known_in_time(temp: list[float | None], feature_table: FeatureTable, place: str | None = "a") -> Check:
    """The check of features on rows at noon of days 1 and 2."""
    rows = label_rows(2).assign(event_timestamp=pd.Series([day(1.5), day(2.5)]).astype("datetime64[us, UTC]"))
    rows = rows.assign(temp=pd.Series(temp, dtype=float), place=place)
    parts = {name: rows if name == "train" else rows.iloc[:0] for name in PARTS}
    return next(c for c in certify(parts, (feature_table,), (), LABEL, SPLIT).checks if c.name.startswith("no feature"))


def test_values_known_at_the_moment_are_certified() -> None:
    """The last value at or before the row's moment is the right one, also when it is null."""
    history = table([("a", day(1), 5.0), ("a", day(1.5), 6.0), ("a", day(2), None), ("b", day(2), 9.0)])
    check = known_in_time([6.0, None], history)
    assert check == Check(
        "no feature is known later than its prediction",
        True,
        "2 values of 1 feature tables are the last ones known at their row's moment",
    )


@pytest.mark.parametrize(
    ("temp", "why"),
    [
        ([6.0, 7.0], "the value of a microsecond after the row"),
        ([5.0, 6.0], "an older value than the last"),
        ([None, 6.0], "null although a value was known"),
    ],
)
def test_a_wrong_value_is_found(temp: list[float | None], why: str) -> None:
    """A value from the future, an outdated and a lost one are all found."""
    later = day(2.5) + timedelta(microseconds=1)
    check = known_in_time(temp, table([("a", day(1), 5.0), ("a", day(1.5), 6.0), ("a", later, 7.0)]))
    assert not check.holds, why
    assert check.detail == "not the last value known at the row's moment: temp of weather (1 of 2 rows)"


def test_a_value_lives_as_long_as_its_ttl() -> None:
    """Exactly as old as the ttl is still served, a microsecond older is not."""
    old = day(1.5) - timedelta(microseconds=1)
    assert known_in_time([1.0, None], table([("a", day(1.5) - HOUR, 1.0)], ttl=HOUR)).holds
    assert known_in_time([None, None], table([("a", old - HOUR, 1.0)], ttl=HOUR)).holds
    assert not known_in_time([1.0, None], table([("a", old - HOUR, 1.0)], ttl=HOUR)).holds


def test_a_null_key_matches_nothing() -> None:
    """A row without a key has no features, even when the table has a row without one."""
    assert known_in_time([None, None], table([(None, day(1), 1.0)]), place=None).holds


def test_an_empty_table_serves_nothing() -> None:
    """A feature table without rows is certified when all its values are null."""
    assert known_in_time([None, None], table([])).holds


def test_a_failed_certificate_lists_every_failed_check() -> None:
    """The error holds each failed check with its detail, and where the report is."""
    checks = (Check("one", False, "1 of 2"), Check("two", True, "fine"), Check("three", False, "3 of 4"))
    with pytest.raises(SplitError) as caught:
        Certificate(checks).demand("reports/split_certificate.json")
    assert str(caught.value) == (
        "the split fails 2 of 3 checks\n"
        "  - one: 1 of 2\n"
        "  - three: 3 of 4\n"
        "  Full report: reports/split_certificate.json\n"
        "  Change usecase.split or usecase.label in conf/, or the named features in feature_repo/."
    )
