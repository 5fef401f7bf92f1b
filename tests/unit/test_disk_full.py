"""A full disk is recognised, however deep a tool has wrapped it."""

import errno
import sqlite3

import pytest

from dovetail.files import is_disk_full


def wrapped(error: Exception) -> Exception:
    """The error as a tool passes it on."""
    try:
        try:
            raise error
        except Exception as inner:
            raise RuntimeError("the tool failed") from inner
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_space_is_found_in_the_cause(number: int) -> None:
    """Device, quota and file size limit: for a person they are one."""
    assert is_disk_full(wrapped(OSError(number, "no")))


def test_a_full_database_is_a_full_disk() -> None:
    """SQLite says it in its own way."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("CREATE TABLE big AS SELECT zeroblob(100000) AS x")
    assert is_disk_full(wrapped(caught.value))


def test_other_errors_are_not_taken_for_it() -> None:
    """A missing file, and an error without a number, keep their own names."""
    assert not is_disk_full(wrapped(FileNotFoundError(errno.ENOENT, "no such file")))
    assert not is_disk_full(ValueError("x"))
