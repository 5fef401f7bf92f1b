"""The tables of feature_repo/flights.py on a few flights, against loops over the same flights."""

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

FLIGHTS = runpy.run_path(str(Path(__file__).parents[3] / "feature_repo" / "flights.py"), run_name="flights")
START = datetime(2013, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TYPES = {
    "flight_id": "string", "carrier": "string", "origin": "string", "dest": "string", "tailnum": "string",
    "time_hour": "timestamp('UTC', 6)", "year": "int64", "month": "int64", "day": "int64", "hour": "int64",
    "minute": "int64", "sched_arr_time": "int64", "dep_time": "int64", "dep_delay": "int64", "arr_delay": "int64",
    "distance": "int64",
}  # fmt: skip


def flight(landed: int, arr_delay: int | None = 0, **changes: object) -> dict[str, object]:
    """A flight of UA from EWR to ORD, an hour long, that lands so many hours after START if its delay is 0."""
    leaves = START + (landed - 1) * HOUR
    local = leaves - 4 * HOUR
    known = {
        "flight_id": "F", "carrier": "UA", "origin": "EWR", "dest": "ORD", "tailnum": "N1", "time_hour": leaves,
        "year": local.year, "month": local.month, "day": local.day, "hour": local.hour, "minute": 0,
        # Chicago's clocks: five hours behind UTC in May.
        "sched_arr_time": (leaves - 4 * HOUR).hour * 100, "dep_time": 800, "dep_delay": 0, "arr_delay": arr_delay,
        "distance": 719,
    }  # fmt: skip
    return {**known, **changes}


def sources(*flights: dict[str, object]) -> dict[str, ibis.Table]:
    """The flights, one airport and one aircraft."""
    airports = ibis.memtable([{"faa": "ORD", "tzone": "America/Chicago"}])
    planes = [{"tailnum": "N1", "year": 2004, "seats": 55}, {"tailnum": "N2", "year": None, "seats": 2}]
    schema = {"tailnum": "string", "year": "int64", "seats": "int64"}
    return {
        "flights": ibis.memtable(list(flights), schema=TYPES),
        "airports": airports,
        "planes": ibis.memtable(planes, schema=schema),
    }


def table(name: str, *flights: dict[str, object]) -> pd.DataFrame:
    """A feature table of the flights, by time."""
    rows = FLIGHTS["FEATURE_TABLES"][name](sources(*flights))
    return rows.order_by("event_timestamp").to_pandas()


def test_a_delay_is_known_when_the_flight_lands() -> None:
    """Two flights leave together; the late one's delay is in no row before its own landing."""
    rows = table("origin_delays", flight(1, 0), flight(1, 90))
    assert rows.event_timestamp.tolist() == [START + HOUR, START + 2.5 * HOUR]
    assert rows.origin_n_flights_3h.tolist() == [1, 2]
    assert rows.origin_mean_arr_delay_3h.tolist() == [0.0, 45.0]
    assert rows.origin_share_late_3h.tolist() == [0.0, 0.5]


def test_flights_that_land_together_make_one_row() -> None:
    """Peers see each other, and there is one row a key and moment."""
    rows = table("origin_delays", flight(1, 0), flight(1, 0, tailnum="N2"), flight(1, 0, origin="JFK"))
    assert sorted(zip(rows.origin, rows.origin_n_flights_3h, strict=True)) == [("EWR", 2), ("JFK", 1)]


def test_flights_that_did_not_arrive_are_in_no_statistics() -> None:
    """A cancelled and a diverted flight make no row."""
    cancelled = flight(1, None, dep_time=None, dep_delay=None)
    assert len(table("origin_delays", flight(1), cancelled, flight(2, None))) == 1


VIEWS = {
    "origin_delays": ("origin", {"3h": 3, "24h": 24}),
    "carrier_delays": ("carrier", {"24h": 24, "7d": 168}),
    "destination_delays": ("dest", {"24h": 24, "7d": 168}),
    "route_delays": ("route", {"7d": 168, "28d": 672}),
}


@pytest.mark.parametrize("view", VIEWS)
@settings(max_examples=12, deadline=None, derandomize=True)
@example(landings=[(1, 0), (4, 0), (25, 0), (169, 0), (673, 0)])
@given(
    landings=st.lists(st.tuples(st.sampled_from([1, 2, 4, 25, 169, 673]), st.sampled_from([-10, 0, 16])), min_size=1)
)
def test_windows_are_trailing_and_include_their_ends(view: str, landings: list[tuple[int, int]]) -> None:
    """Each row says what a loop over the landings in (moment - window .. moment), ends included, says."""
    key, windows = VIEWS[view]
    rows = table(view, *[flight(hour, delay) for hour, delay in landings])
    landed = [(START + hour * HOUR + timedelta(minutes=delay), delay) for hour, delay in landings]
    assert rows.event_timestamp.tolist() == sorted({at for at, _delay in landed})
    for row in rows.to_dict("records"):
        for window, hours in windows.items():
            delays = [
                delay for at, delay in landed if row["event_timestamp"] - hours * HOUR <= at <= row["event_timestamp"]
            ]
            assert row[f"{key}_n_flights_{window}"] == len(delays)
            assert row[f"{key}_mean_arr_delay_{window}"] == sum(delays) / len(delays)
            assert row[f"{key}_share_late_{window}"] == sum(delay > 15 for delay in delays) / len(delays)


def test_time_to_live_is_the_longest_window() -> None:
    """A statistic lives no longer than what it was made of."""
    for view, (_key, windows) in VIEWS.items():
        assert FLIGHTS[f"{view}_view"].ttl == max(windows.values()) * HOUR


def test_an_aircrafts_last_flight_has_one_row_a_landing() -> None:
    """Of two landings at one moment the larger values stay; a flight without tail number makes no row."""
    rows = table(
        "aircraft_last_flight", flight(1, 5), flight(1, 5, distance=200), flight(3, 40), flight(4, tailnum=None)
    )
    assert rows.aircraft_last_arr_delay.tolist() == [5, 40]
    assert rows.aircraft_last_distance.tolist() == [719, 719]


def test_an_aircrafts_age_is_known_from_new_year() -> None:
    """The age is this year less the year of manufacture; an unknown year stays unknown."""
    rows = table("aircraft", flight(1), flight(2)).sort_values("tailnum")
    assert rows.event_timestamp.tolist() == [datetime(2013, 1, 1, tzinfo=UTC)] * 2
    assert rows.aircraft_age_years.convert_dtypes().tolist() == [9, pd.NA]
    assert rows.aircraft_seats.tolist() == [55, 2]


def test_weather_is_known_when_its_hour_is_over() -> None:
    """An observation filed under 12:00 may have been made at 12:59; what was not measured stays missing."""
    numbers = dict.fromkeys(["dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"])
    schema = {
        "origin": "string",
        "time_hour": TYPES["time_hour"],
        "temp": "float64",
        **dict.fromkeys(numbers, "float64"),
    }
    weather = ibis.memtable([{"origin": "EWR", "time_hour": START, "temp": 39.0, **numbers}], schema=schema)
    (row,) = FLIGHTS["FEATURE_TABLES"]["origin_weather"]({"weather": weather}).to_pandas().to_dict("records")
    assert row["event_timestamp"] == START + HOUR
    assert (row["temp"], pd.isna(row["wind_gust"])) == (39.0, True)


def label_rows(*flights: dict[str, object]) -> pd.DataFrame:
    """The label rows two hours before, by flight."""
    rows = FLIGHTS["label_rows"](sources(*flights), lead_minutes=120, late_after_minutes=15)
    return rows.order_by("flight_id").to_pandas()


def test_label_rows_hold_every_flight() -> None:
    """Arrived, cancelled and diverted flights have a row; only an arrival has a label, known when it landed."""
    cancelled = flight(1, None, dep_time=None, dep_delay=None, flight_id="B", tailnum=None)
    rows = label_rows(
        flight(1, 16, flight_id="A"), cancelled, flight(1, None, flight_id="C"), flight(1, 15, flight_id="D")
    )
    assert rows.outcome.tolist() == ["arrived", "cancelled", "diverted", "arrived"]
    assert rows.is_late.astype("Int8").tolist() == [1, pd.NA, pd.NA, 0]
    assert rows.label_known_at.dt.strftime("%H:%M").fillna("").tolist() == ["13:16", "", "", "13:15"]


def test_a_label_row_is_dated_at_its_prediction() -> None:
    """Two hours before scheduled departure; hour and weekday are the origin's: 1 May 2013 was a Wednesday."""
    (row,) = label_rows(flight(1)).to_dict("records")
    assert (row["scheduled_at"], row["event_timestamp"]) == (START, START - 2 * HOUR)
    assert (row["route"], row["hour"], row["weekday"]) == ("EWR-ORD", 8, 3)
