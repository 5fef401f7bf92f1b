"""Label rows keep what they are, and are refused with their row numbers when they have no proper moment."""

import re
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest
from feast.errors import EntityTimestampInferenceException

from dovetail.offline_store import OfflineStoreError
from dovetail.offline_store.label_rows import from_frame, from_table

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


def test_a_moment_is_the_same_in_every_zone_and_unit() -> None:
    """Noon in UTC is 7 o'clock in New York; a column of nanoseconds loses only what is finer than a microsecond."""
    utc = pd.Series([NOON], dtype="datetime64[ns, UTC]")
    frames = [utc, utc + pd.Timedelta(5, "ns"), utc.dt.tz_convert("America/New_York"), utc.dt.tz_localize(None)]
    moments = {from_frame(pd.DataFrame({"event_timestamp": frame})).moments[0].as_py() for frame in frames}
    assert moments == {1_704_110_400_000_000}


def test_text_is_refused_with_its_rows() -> None:
    """All rows with text are counted, the first five numbered."""
    texts = ["2024-01-01"] * 6
    with pytest.raises(OfflineStoreError) as refused:
        from_frame(pd.DataFrame({"event_timestamp": [NOON, *texts]}))
    assert str(refused.value) == (
        "the event timestamp is text in 6 of 7 label rows (counted from 0: 1, 2, 3, 4, 5, ...)\n"
        "  in the label rows\n"
        "  Expected: a timestamp in UTC in every row.\n"
        "  Convert or drop these rows:  pd.to_datetime(df['event_timestamp'], utc=True)"
    )


def test_a_missing_moment_is_refused_with_its_row() -> None:
    """A row without a moment cannot be joined, and must not be lost in silence."""
    frame = pd.DataFrame({"event_timestamp": pd.to_datetime([NOON, None, NOON])})
    with pytest.raises(OfflineStoreError, match=r"is missing in 1 of 3 label rows \(counted from 0: 1\)"):
        from_frame(frame)


def test_numbers_are_no_moments() -> None:
    """Seconds or milliseconds? Not for us to guess."""
    with pytest.raises(OfflineStoreError, match="column 'event_timestamp' holds int64, not timestamps"):
        from_frame(pd.DataFrame({"event_timestamp": [1_704_110_400]}))


def test_the_only_timestamp_column_is_the_moment() -> None:
    """Feast's own rule when there is no `event_timestamp`."""
    assert from_frame(pd.DataFrame({"flight": [1], "departs": [NOON]})).event == "departs"


def test_of_two_timestamp_columns_neither_is_guessed() -> None:
    """Feast's own error."""
    with pytest.raises(EntityTimestampInferenceException):
        from_frame(pd.DataFrame({"departs": [NOON], "arrives": [NOON]}))


OTHER_KEYS = {
    "text": pa.array(["1"]),
    "category": pa.array(["1"]).dictionary_encode(),
    "bytes": pa.array([b"1"]),
    "truth": pa.array([True]),
    "moment": pa.array([NOON]),
    "list": pa.array([[1]]),
}


@pytest.mark.parametrize("name", OTHER_KEYS)
def test_keys_of_another_kind_do_not_meet_numbers(name: str) -> None:
    """DuckDB would take '1' or true for 1, and would not say which column a moment is in."""
    keys = OTHER_KEYS[name]
    labels = from_table(pa.table({"event_timestamp": [NOON], "driver": keys}))
    said = f"join key 'driver' is {keys.type} in the label rows and int64 in the source"
    with pytest.raises(OfflineStoreError, match=re.escape(said)):
        labels.keyed(["driver"], [pa.int64()])


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float64(), pa.decimal128(20, 2)], ids=str)
def test_numbers_meet_numbers(kind: pa.DataType) -> None:
    """pandas makes floats of integers beside nulls."""
    labels = from_table(pa.table({"event_timestamp": [NOON], "driver": [1.0]}))
    assert labels.keyed(["driver"], [kind])["key_0"].to_pylist() == [1.0]


def test_a_column_of_several_types_is_named() -> None:
    """Arrow has one type a column; pandas lets anything stand beside anything."""
    with pytest.raises(OfflineStoreError, match=r"several types: .* failed for column note .*\n  in the label rows"):
        from_frame(pd.DataFrame({"event_timestamp": [NOON, NOON], "note": [1, "a"]}))


def test_a_missing_key_column_is_named_with_what_is_there() -> None:
    """The user sees at once what he called it instead."""
    labels = from_table(pa.table({"event_timestamp": [NOON], "drivr": [1]}))
    with pytest.raises(OfflineStoreError, match=r"(?s)join keys are missing: driver\n.*have: event_timestamp, drivr\."):
        labels.keyed(["driver"], [pa.int64()])


def test_a_key_column_of_nulls_has_any_type() -> None:
    """pandas has no type for a column of None; nothing matches it, whatever the source holds."""
    labels = from_table(pa.table({"event_timestamp": [NOON], "driver": pa.nulls(1)}))
    assert labels.keyed(["driver"], [pa.string()]).schema.field("key_0").type == pa.string()
