"""Who is believed to live: by the lock where it tells, by the clock where it does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dovetail.leases import Lease, forget, holding

NOW = datetime.now(UTC)
SOON, PAST = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)


def test_a_lease_is_read_as_it_was_written() -> None:
    """To the second, with the process and the host that hold it."""
    lease = replace(Lease.new(), until=NOW.replace(microsecond=0))
    assert Lease.parse(str(lease)) == lease
    assert lease.renewed().until > NOW + timedelta(minutes=4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "until tomorrow",
        f"2013-01-01T00:00:00 {'a' * 32} 1 here",  # no time zone
        f"2013-13-01T00:00:00+00:00 {'a' * 32} 1 here",
        f"2013-01-01T00:00:00+00:00 ../{'a' * 29} 1 here",
        f"2013-01-01T00:00:00+00:00 {'a' * 32} one here",
    ],
)
def test_what_is_no_lease_is_none(text: str) -> None:
    """A tag that somebody wrote by hand is nobody's lease, and leads to no other file."""
    assert Lease.parse(text) is None


def test_a_lock_that_is_held_says_more_than_the_clock(tmp_path: Path) -> None:
    """A process that holds its lock lives, however late it is; without the lock it is dead, however early."""
    lease = Lease.new()
    with holding(lease, tmp_path):
        assert replace(lease, until=PAST).is_alive(tmp_path, NOW)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / lease.token).touch()  # as kill -9 leaves it
    assert not replace(lease, until=SOON).is_alive(tmp_path, NOW)
    forget(lease, tmp_path)
    forget(lease, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_where_no_lock_tells_the_clock_decides(tmp_path: Path) -> None:
    """Without a folder, without the file, or with a lock of another host, which a network disk may not pass on."""
    lease = Lease.new()
    (tmp_path / lease.token).touch()
    elsewhere = replace(lease, host="elsewhere")
    for known, folder in ((lease, None), (replace(lease, token="0" * 32), tmp_path), (elsewhere, tmp_path)):
        assert replace(known, until=SOON).is_alive(folder, NOW)
        assert not replace(known, until=PAST).is_alive(folder, NOW)
