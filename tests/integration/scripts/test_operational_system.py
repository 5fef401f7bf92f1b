"""The script that makes the airline's operational system."""

import importlib.util
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "operational_system.py"
ROW = ["2013", "1", "1", "517", "515", "2", "830", "819", "11", "UA", "1545", "N14228", "EWR", "IAH", "227", "1400"]
FLIGHT = [*ROW, "5", "15", "2013-01-01T10:00:00Z"]
CANCELLED = [None if place in (3, 5, 6, 8, 11, 14) else value for place, value in enumerate(FLIGHT)]


@pytest.fixture
def script() -> ModuleType:
    """The script as a module of its own."""
    spec = importlib.util.spec_from_file_location("operational_system", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a database is asked for."""
    path = tmp_path / "data" / "operational.sqlite"
    monkeypatch.setattr(sys, "argv", ["operational_system.py", "--url", f"sqlite:///{path}"])
    return path


def test_all_flights_are_there_and_typed(script: ModuleType, database: Path, capsys: pytest.CaptureFixture) -> None:
    """The database holds the package's flights, numbers as numbers and what was NA as null."""
    script.main()
    assert capsys.readouterr().out == f"{database} made: 336,776 flights\n"
    with closing(sqlite3.connect(database)) as connection:
        n_rows, n_cancelled = connection.execute("SELECT count(*), count(*) - count(dep_time) FROM flights").fetchone()
        first = connection.execute("SELECT * FROM flights LIMIT 1").fetchone()
    assert (n_rows, n_cancelled) == (336_776, 8_255)
    assert first == tuple(int(value) if value.isdigit() else value for value in FLIGHT)


def test_a_whole_database_is_left_alone(
    script: ModuleType, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The second run changes nothing, and says so."""
    monkeypatch.setattr(script, "flights", lambda: iter([FLIGHT, CANCELLED]))
    script.main()
    before = database.stat()
    script.main()
    assert (database.stat().st_ino, database.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert capsys.readouterr().out.splitlines()[1] == f"{database} is there: 2 flights"


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-4096], lambda content: b"x" * 9000])
def test_a_damaged_database_is_made_again(
    script: ModuleType, database: Path, monkeypatch: pytest.MonkeyPatch, damage
) -> None:
    """A file that is empty, cut off or something else is replaced, by the very same bytes."""
    monkeypatch.setattr(script, "flights", lambda: iter([FLIGHT, CANCELLED] * 100))
    script.main()
    whole = database.read_bytes()
    database.write_bytes(damage(whole))
    script.main()
    assert database.read_bytes() == whole


def test_a_database_that_lacks_flights_is_made_again(
    script: ModuleType, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sound file with fewer rows than it was filled with is not whole."""
    monkeypatch.setattr(script, "flights", lambda: iter([FLIGHT, CANCELLED]))
    script.main()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("DELETE FROM flights WHERE dep_time IS NULL")
        connection.commit()
    assert script.whole_rows(database) == 0
    script.main()
    assert script.whole_rows(database) == 2


def test_a_failure_leaves_no_half_database(script: ModuleType, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the rows end in an error, there is no file."""
    monkeypatch.setattr(script, "flights", lambda: iter([FLIGHT, FLIGHT[:5]]))
    with pytest.raises(sqlite3.ProgrammingError):
        script.main()
    assert list(database.parent.iterdir()) == []


def test_another_database_is_refused(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script makes SQLite databases only, and repeats no password."""
    monkeypatch.setattr(sys, "argv", ["operational_system.py", "--url", "postgresql://user:secret@host/db"])
    with pytest.raises(SystemExit) as caught:
        script.main()
    assert caught.value.code == (
        "postgresql databases are not made here: give a URL such as sqlite:///data/operational.sqlite"
    )
