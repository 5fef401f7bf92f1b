"""One meaning on SQLite, PostgreSQL and Redis: the newest event, while it is alive, to the microsecond."""

import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import BoolList, DoubleList, StringList, Value
from online_stores import NOON, Shops

HOUR, MICROSECOND = timedelta(hours=1), timedelta(microseconds=1)
VALUES = {
    "int": Value(int64_val=-(2**62)),
    "float": Value(double_val=0.1 + 0.2),
    "text": Value(string_val="Zürich 'x' \x01"),
    "bytes": Value(bytes_val=b"\x00\xff"),
    "bool": Value(bool_val=False),
    "time": Value(unix_timestamp_val=1370088000),
    "numbers": Value(double_list_val=DoubleList(val=[1.5, float("inf")])),
    "texts": Value(string_list_val=StringList(val=["", "b"])),
    "bools": Value(bool_list_val=BoolList(val=[])),
    "null": Value(),
}


def test_every_type_comes_back(shops: Shops) -> None:
    """A value of each type, null too, is read as it was written, with its event time to the microsecond."""
    key = EntityKey(join_keys=["shop"], entity_values=[Value(int64_val=1)])
    event = NOON - HOUR + MICROSECOND
    shops.online.online_write_batch(shops.config, shops.view, [(key, VALUES, event, None)], None)
    ((at, values),) = shops.online.online_read(shops.config, shops.view, [key], list(VALUES))
    assert at == event
    assert {name: values[name] for name in VALUES} == VALUES


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((HOUR, None), 1),
        ((-HOUR, None), 2),
        ((timedelta(0), None), 2),
        ((timedelta(0), MICROSECOND), 2),
        ((timedelta(0), timedelta(0)), 2),
        ((timedelta(0), -MICROSECOND), 1),
        ((MICROSECOND, HOUR), 1),
        ((-MICROSECOND, -HOUR), 2),
    ],
    ids=[
        "older",
        "newer",
        "same",
        "corrected",
        "repeated",
        "created earlier",
        "older, created later",
        "newer, created earlier",
    ],
)
def test_the_newest_event_wins(shops: Shops, second: tuple[timedelta, timedelta | None], expected: int) -> None:
    """Whatever is written last: the newer event stays, and of one event the value that was created later."""
    event, created = NOON - HOUR, NOON - HOUR
    before, later = second
    shops.write((1, 1, event, created if later is not None else None))
    shops.write((1, 2, event - before, created + later if later is not None else None))
    assert shops.read(1) == [(expected, expected)]


def test_the_newest_wins_within_one_write(shops: Shops) -> None:
    """Rows of one key in one write may stand in any order."""
    shops.write((1, 1, NOON - HOUR, None), (1, 2, NOON, None), (1, 3, NOON - 2 * HOUR, None), (2, 4, NOON, None))
    assert shops.read(1, 2) == [(2, 2), (4, 4)]


def test_values_live_as_long_as_their_view_says(shops: Shops) -> None:
    """Two days old to the microsecond is alive, more is too old; an event after now is not there yet."""
    ttl = timedelta(days=2)
    ages = [timedelta(0), ttl, ttl + MICROSECOND, -MICROSECOND]
    shops.write(*((shop, shop, NOON - age, None) for shop, age in enumerate(ages)))
    keys = {"shop": [0, 1, 2, 3, 9]}
    reply = shops.store.get_online_features(["sales:a"], keys).proto.results[1]
    assert [value.WhichOneof("val") and value.int64_val for value in reply.values] == [0, 1, None, None, None]
    status = [FieldStatus.PRESENT] * 2 + [FieldStatus.OUTSIDE_MAX_AGE] * 2
    assert list(reply.statuses)[:4] == status
    assert shops.read(0, 1, 2, 3, 9) == [(0, 0), (1, 1), (None, None), (None, None), (None, None)]


def test_a_service_is_read_by_the_same_rule(shops: Shops) -> None:
    """Feature services go the same way as lists of features."""
    shops.write((1, 1, NOON - timedelta(days=3), None), (2, 2, NOON, None))
    found = shops.store.get_online_features(shops.store.get_feature_service("shops"), {"shop": [1, 2]}).to_dict()
    assert (found["a"], found["b"]) == ([None, 2], [None, 2])


def test_the_time_zone_of_a_process_means_nothing(shops: Shops, settings: dict, tmp_path: Path) -> None:
    """What a process in New York writes, in the night in which clocks change, another reads unchanged."""
    event = datetime(2013, 5, 31, 5, 30, 0, 123457, tzinfo=UTC)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from online_stores import *\n"
        "settings = eval(sys.argv[2]); shops = Shops(Path(sys.argv[3]), settings, sys.argv[4])\n"
        "shops.write((1, 1, datetime(2013, 5, 31, 5, 30, 0, 123457, tzinfo=UTC), None))"
    )
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "sales.parquet").touch()
    said = repr({**settings, "now": settings["now"].isoformat()})
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        code,
        str(Path(__file__).parent),
        said,
        str(folder),
        shops.config.project,
    ]
    subprocess.run(command, env=os.environ | {"TZ": "America/New_York"}, check=True, stdout=subprocess.DEVNULL)
    key = EntityKey(join_keys=["shop"], entity_values=[Value(int64_val=1)])
    ((at, _),) = shops.online.online_read(shops.config, shops.view, [key], ["a"])
    assert at == event


def test_readers_never_see_half_a_row(shops: Shops) -> None:
    """While thousands of rows are written again and again, both features of a row are always of one write."""
    keys = list(range(500))
    shops.write(*((key, 0, NOON - HOUR, None) for key in keys))
    stop, failures = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                failures.extend(row for row in shops.read(*keys[::50]) if row[0] != row[1] or row[0] is None)
            except Exception as error:  # noqa: BLE001 - of whatever kind, it is a failure
                failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for value in range(1, 6):
        shops.write(*((key, value, NOON - HOUR + value * MICROSECOND, None) for key in keys))
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert shops.read(*keys) == [(5, 5)] * len(keys)
