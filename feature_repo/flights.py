"""Flights that leave New York: what is served about them, and how each table is computed, side by side.

A feature row's `event_timestamp` is the moment it was known, a label row's the moment of prediction; all are UTC.
`feast apply` imports this module, so importing it computes nothing. `docs/flights-time.md` shows how the times
were checked.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import groupby
from operator import itemgetter
from zoneinfo import ZoneInfo

import ibis
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64, String
from ibis import _

Sources = Mapping[str, ibis.Table]
MOMENT = "timestamp('UTC', 6)"

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="Airport of departure")
carrier = Entity(name="carrier", join_keys=["carrier"], value_type=ValueType.STRING, description="Airline")
dest = Entity(name="dest", join_keys=["dest"], value_type=ValueType.STRING, description="Airport of arrival")
route = Entity(name="route", join_keys=["route"], value_type=ValueType.STRING, description="origin-dest, e.g. EWR-IAH")
tailnum = Entity(name="tailnum", join_keys=["tailnum"], value_type=ValueType.STRING, description="One aircraft")


def feature_file(view: str) -> FileSource:
    """Where the pipeline writes a view's table; relative to this folder, as Feast resolves it."""
    return FileSource(name=view, path=f"../data/features/{view}.parquet", timestamp_field="event_timestamp")


# --- Moments: when a flight was to leave, when it landed ---

# The airports that airports.csv does not know.
CARIBBEAN = "America/Puerto_Rico"
MISSING_ZONES = {"BQN": CARIBBEAN, "PSE": CARIBBEAN, "SJU": CARIBBEAN, "STT": "America/St_Thomas"}
MAINLAND = ["America/New_York", "America/Chicago", "America/Denver", "America/Phoenix", "America/Los_Angeles"]
ZONES = [*MAINLAND, "America/Anchorage", "Pacific/Honolulu", CARIBBEAN, "America/St_Thomas"]
# A flight outside has no arrival, and the pipeline says so: its label would be known, but not when.
OFFSETS_FROM, OFFSETS_UNTIL = datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 2, 1, tzinfo=UTC)
DAY_MINUTES = 24 * 60


def offset_periods(zone: str) -> Iterator[tuple[str, datetime, datetime, int]]:
    """A zone's (zone, valid_from, valid_until, offset_minutes), by time; clocks change on a full hour of UTC."""
    hours = (OFFSETS_FROM + timedelta(hours=n) for n in range((OFFSETS_UNTIL - OFFSETS_FROM) // timedelta(hours=1)))
    ahead = ((at, at.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC) - at) for at in hours)
    for offset, period in groupby(ahead, key=itemgetter(1)):
        moments = [at for at, _ahead in period]
        yield zone, moments[0], moments[-1] + timedelta(hours=1), offset // timedelta(minutes=1)


OFFSETS_SCHEMA = {"zone": "string", "valid_from": MOMENT, "valid_until": MOMENT, "offset_minutes": "int64"}


@cache
def zone_offsets() -> ibis.Table:
    """Minutes that a zone's clocks are ahead of UTC, one row a (zone, period)."""
    rows = [dict(zip(OFFSETS_SCHEMA, period, strict=True)) for zone in ZONES for period in offset_periods(zone)]
    return ibis.memtable(rows, schema=OFFSETS_SCHEMA)


def minute_of_day(hhmm: ibis.Value) -> ibis.Value:
    """Minutes since midnight of a clock time written as the number hhmm."""
    return hhmm // 100 * 60 + hhmm % 100


def timed_flights(sources: Sources) -> ibis.Table:
    """The flights with `scheduled_at` (departure) and `arrived_at`, null for a flight that did not arrive.

    The scheduled arrival is the first moment after departure at which the clocks at the destination show
    `sched_arr_time`; the delay leads from there to the arrival. `arr_time` itself is not used: it is local,
    has no date, and is wrong for a flight in the air while the clocks change.
    """
    flights = (
        sources["flights"]
        .mutate(scheduled_at=_.time_hour + _.minute.as_interval("m"), route=_.origin + "-" + _.dest)
        .left_join(sources["airports"].select("faa", "tzone"), [("dest", "faa")])
        .mutate(dest_zone=_.dest.cases(*MISSING_ZONES.items(), else_=_.tzone))
    )
    offsets = zone_offsets()
    during = [flights.dest_zone == offsets.zone]
    during += [flights.scheduled_at >= offsets.valid_from, flights.scheduled_at < offsets.valid_until]
    utc_minute = _.scheduled_at.hour() * 60 + _.scheduled_at.minute()
    block = (minute_of_day(_.sched_arr_time) - _.offset_minutes - utc_minute + DAY_MINUTES) % DAY_MINUTES
    arrived_at = _.scheduled_at + (block + _.arr_delay).as_interval("m")
    return flights.left_join(offsets, during).mutate(arrived_at=arrived_at)


# --- Weather at the origin ---

# An observation is filed under its hour but made up to 59 minutes into it (METAR, usually at :51).
WEATHER_KNOWN_AFTER = timedelta(hours=1)

origin_weather_view = FeatureView(
    name="origin_weather",
    entities=[origin],
    ttl=timedelta(hours=6),
    source=feature_file("origin_weather"),
    schema=[
        Field(name="origin", dtype=String),
        Field(name="temp", dtype=Float64, description="Degrees Fahrenheit"),
        Field(name="dewp", dtype=Float64, description="Dew point, degrees Fahrenheit"),
        Field(name="humid", dtype=Float64, description="Relative humidity, 0 to 100"),
        Field(name="wind_speed", dtype=Float64, description="Miles per hour"),
        Field(name="wind_gust", dtype=Float64, description="Miles per hour; null when no gust was reported"),
        Field(name="precip", dtype=Float64, description="Inches"),
        Field(name="pressure", dtype=Float64, description="Millibars at sea level"),
        Field(name="visib", dtype=Float64, description="Miles"),
    ],
)


def origin_weather(sources: Sources) -> ibis.Table:
    """The hourly observations of each origin, from the moment they are certainly there."""
    known_at = _.time_hour + ibis.interval(WEATHER_KNOWN_AFTER)
    floats = {field.name: _[field.name].cast("float64") for field in origin_weather_view.features}
    return sources["weather"].select("origin", event_timestamp=known_at, **floats)


# --- Delays of the flights that have landed ---

# The US on-time definition.
LATE_AFTER_MINUTES = 15

ORIGIN_WINDOWS = {"3h": timedelta(hours=3), "24h": timedelta(hours=24)}
CARRIER_WINDOWS = {"24h": timedelta(hours=24), "7d": timedelta(days=7)}
DEST_WINDOWS = {"24h": timedelta(hours=24), "7d": timedelta(days=7)}
ROUTE_WINDOWS = {"7d": timedelta(days=7), "28d": timedelta(days=28)}


def delay_fields(key: str, windows: Mapping[str, timedelta]) -> list[Field]:
    """The key and three features a window."""
    fields = [Field(name=key, dtype=String)]
    for window in windows:
        fields += [
            Field(name=f"{key}_n_flights_{window}", dtype=Int64, description="Flights landed"),
            Field(name=f"{key}_mean_arr_delay_{window}", dtype=Float64, description="Minutes"),
            Field(name=f"{key}_share_late_{window}", dtype=Float64, description="More than 15 minutes late, 0 to 1"),
        ]
    return fields


def delay_statistics(sources: Sources, key: str, windows: Mapping[str, timedelta]) -> ibis.Table:
    """Statistics of `delay_fields` at each moment a flight of the key lands, over the windows that end there.

    Flights that land at the same moment see each other, so their rows are equal and one is kept. What is averaged
    are integers, whose sum is exact in any order.
    """
    landed = timed_flights(sources).filter(_.arr_delay.notnull())
    late = (_.arr_delay > LATE_AFTER_MINUTES).cast("int64")
    columns = {}
    for name, length in windows.items():
        moment, seconds = _.arrived_at.epoch_seconds(), length // timedelta(seconds=1)
        window = ibis.trailing_range_window(seconds, order_by=moment, group_by=_[key])
        columns[f"{key}_n_flights_{name}"] = _.arr_delay.count().over(window)
        columns[f"{key}_mean_arr_delay_{name}"] = _.arr_delay.mean().over(window)
        columns[f"{key}_share_late_{name}"] = late.mean().over(window)
    return landed.select(key, event_timestamp=_.arrived_at, **columns).distinct()


origin_delays_view = FeatureView(
    name="origin_delays",
    entities=[origin],
    ttl=max(ORIGIN_WINDOWS.values()),
    source=feature_file("origin_delays"),
    schema=delay_fields("origin", ORIGIN_WINDOWS),
)
origin_delays = partial(delay_statistics, key="origin", windows=ORIGIN_WINDOWS)

carrier_delays_view = FeatureView(
    name="carrier_delays",
    entities=[carrier],
    ttl=max(CARRIER_WINDOWS.values()),
    source=feature_file("carrier_delays"),
    schema=delay_fields("carrier", CARRIER_WINDOWS),
)
carrier_delays = partial(delay_statistics, key="carrier", windows=CARRIER_WINDOWS)

destination_delays_view = FeatureView(
    name="destination_delays",
    entities=[dest],
    ttl=max(DEST_WINDOWS.values()),
    source=feature_file("destination_delays"),
    schema=delay_fields("dest", DEST_WINDOWS),
)
destination_delays = partial(delay_statistics, key="dest", windows=DEST_WINDOWS)

route_delays_view = FeatureView(
    name="route_delays",
    entities=[route],
    ttl=max(ROUTE_WINDOWS.values()),
    source=feature_file("route_delays"),
    schema=delay_fields("route", ROUTE_WINDOWS),
)
route_delays = partial(delay_statistics, key="route", windows=ROUTE_WINDOWS)

# --- The aircraft ---

aircraft_last_flight_view = FeatureView(
    name="aircraft_last_flight",
    entities=[tailnum],
    ttl=timedelta(days=2),
    source=feature_file("aircraft_last_flight"),
    schema=[
        Field(name="tailnum", dtype=String),
        Field(name="aircraft_last_arr_delay", dtype=Int64, description="Minutes"),
        Field(name="aircraft_last_dep_delay", dtype=Int64, description="Minutes"),
        Field(name="aircraft_last_distance", dtype=Int64, description="Miles"),
    ],
)


def aircraft_last_flight(sources: Sources) -> ibis.Table:
    """The last flight of each aircraft that has landed; of two at one moment (it happens once), the larger values."""
    landed = timed_flights(sources).filter(_.arr_delay.notnull(), _.tailnum.notnull())
    return landed.group_by("tailnum", event_timestamp=_.arrived_at).agg(
        aircraft_last_arr_delay=_.arr_delay.max(),
        aircraft_last_dep_delay=_.dep_delay.max(),
        aircraft_last_distance=_.distance.max(),
    )


aircraft_view = FeatureView(
    name="aircraft",
    entities=[tailnum],
    ttl=timedelta(0),
    source=feature_file("aircraft"),
    schema=[
        Field(name="tailnum", dtype=String),
        Field(name="aircraft_age_years", dtype=Int64, description="This year less the year of manufacture"),
        Field(name="aircraft_seats", dtype=Int64),
    ],
)


def aircraft(sources: Sources) -> ibis.Table:
    """Each registered aircraft at the start of each year with flights; no year of manufacture, no age.

    All of it is known then: year of manufacture and seats are fixed when an aircraft is built, and the age changes on
    1 January. The register is undated, but tells nothing of the future: nobody asks for an aircraft before it flies.
    """
    years = sources["flights"].select(this_year=_.year).distinct()
    return (
        sources["planes"]
        .cross_join(years)
        .select(
            "tailnum",
            event_timestamp=ibis.date(_.this_year, 1, 1).cast(MOMENT),
            aircraft_age_years=_.this_year - _.year,
            aircraft_seats=_.seats,
        )
    )


flights = FeatureService(
    name="flights",
    description="What is known of a flight some time before departure, beside its plan",
    features=[
        origin_weather_view,
        origin_delays_view,
        carrier_delays_view,
        destination_delays_view,
        route_delays_view,
        aircraft_last_flight_view,
        aircraft_view,
    ],
)

FEATURE_TABLES = {
    "origin_weather": origin_weather,
    "origin_delays": origin_delays,
    "carrier_delays": carrier_delays,
    "destination_delays": destination_delays,
    "route_delays": route_delays,
    "aircraft_last_flight": aircraft_last_flight,
    "aircraft": aircraft,
}


def label_rows(sources: Sources, *, lead_minutes: int, late_after_minutes: int) -> ibis.Table:
    """One row a flight, `lead_minutes` before it is to leave, cancelled and diverted flights included.

    `is_late` and `label_known_at` are null when there was no arrival; `hour` and `weekday` (1 is Monday) are the
    origin's.
    """
    outcome = ibis.cases((_.dep_time.isnull(), "cancelled"), (_.arr_delay.isnull(), "diverted"), else_="arrived")
    plan = ["flight_id", "origin", "carrier", "dest", "route", "tailnum", "scheduled_at", "hour", "distance"]
    return timed_flights(sources).select(
        *plan,
        weekday=ibis.date(_.year, _.month, _.day).day_of_week.index().cast("int64") + 1,
        event_timestamp=_.scheduled_at - ibis.interval(minutes=lead_minutes),
        is_late=(_.arr_delay > late_after_minutes).cast("int8"),
        label_known_at=_.arrived_at,
        outcome=outcome,
    )
