"""The online stores when a server stops, a process is killed or the disk is full."""

import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from online_stores import NOON, Shops

from servers import Postgres

HOUR = timedelta(hours=1)
WRITE = """
import sys; sys.path.insert(0, sys.argv[1]); from online_stores import *
shops = Shops(Path(sys.argv[3]), eval(sys.argv[2]), sys.argv[4])
rows = [(key, 2, NOON, None) for key in range(20_000)]
print("ready", flush=True)
shops.write(*rows)
print("done", flush=True)
"""


def writer(shops: Shops, settings: dict, folder: Path, **arguments) -> subprocess.Popen:
    """A process that writes 20,000 rows into the store."""
    folder.mkdir()
    (folder / "sales.parquet").touch()
    said = repr({**settings, "now": settings["now"].isoformat()})
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-c",
        WRITE,
        str(Path(__file__).parent),
        said,
        str(folder),
        shops.config.project,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **arguments)


@pytest.mark.slow
def test_a_killed_write_is_repeated(shops: Shops, settings: dict, tmp_path: Path) -> None:
    """A writer killed in the middle leaves whole rows, old or new; after another try all are new."""
    keys = range(20_000)
    shops.write(*((key, 1, NOON - HOUR, None) for key in keys))
    for attempt, delay in enumerate((0.05, 0.2, 0.4)):
        with writer(shops, settings, tmp_path / f"killed{attempt}") as process:
            process.stdout.readline()
            time.sleep(delay)
            process.kill()
        found = shops.read(*keys)
        assert set(found) <= {(1, 1), (2, 2)}
    with writer(shops, settings, tmp_path / "again") as process:
        assert process.stdout.read() == "ready\ndone\n"
    assert shops.read(*keys) == [(2, 2)] * len(keys)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_full_disk_loses_nothing(shops: Shops, settings: dict, tmp_path: Path) -> None:
    """A write that finds no space fails as a whole and says so; what was there is served, and space heals it."""
    shops.write(*((key, 1, NOON - HOUR, None) for key in range(100)))
    size = sum(path.stat().st_size for path in tmp_path.glob("online.db*"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, size + 200_000))

    with writer(shops, settings, tmp_path / "full", preexec_fn=limit) as process:
        said = process.stderr.read()
        assert process.wait() != 0
    assert "sqlite3.OperationalError" in said
    assert shops.read(*range(100)) == [(1, 1)] * 100
    shops.write(*((key, 2, NOON, None) for key in range(100)))
    assert shops.read(*range(100)) == [(2, 2)] * 100


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_a_writer_blocks_no_reader(shops: Shops, settings: dict, tmp_path: Path) -> None:
    """While a transaction of another process holds the write lock, readers get what was committed."""
    shops.write((1, 1, NOON, None))
    with closing(sqlite3.connect(settings["path"], isolation_level=None)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        other.execute("BEGIN EXCLUSIVE")
        (table,) = other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
        other.execute(f"UPDATE \"{table}\" SET value = x''")
        assert shops.read(1) == [(1, 1)]
        other.execute("ROLLBACK")


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["postgres"], indirect=True)
def test_a_restarted_server_is_found_again(shops: Shops, postgres: Postgres) -> None:
    """While PostgreSQL is down a read fails in time; once it is back, reads go on by themselves."""
    import psycopg

    shops.write((1, 1, NOON, None))
    postgres.stop()
    with pytest.raises(Exception, match=r"timeout|connection"):
        shops.read(1)
    postgres.start()
    for _ in range(50):
        try:
            assert shops.read(1) == [(1, 1)]
            break
        except psycopg.Error:
            time.sleep(0.5)
    else:
        pytest.fail("the store did not come back")


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["postgres"], indirect=True)
def test_failing_queries_cost_no_connection(shops: Shops) -> None:
    """More failing queries than the pool has connections, and the next one works."""
    import psycopg

    shops.write((1, 1, NOON, None))
    for _ in range(2 * shops.config.online_store.max_conn):
        with pytest.raises(psycopg.Error), shops.online._get_conn(shops.config) as connection:
            connection.execute("SELECT 1 / 0")
    assert shops.read(1) == [(1, 1)]
    assert shops.online._conn_pool.get_stats()["pool_size"] <= shops.config.online_store.max_conn


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["redis"], indirect=True)
def test_a_silent_server_is_not_waited_for(shops: Shops, settings: dict) -> None:
    """The client has deadlines, though nobody set them."""
    client = shops.online._get_client(shops.config.online_store)
    assert client.connection_pool.connection_kwargs["socket_timeout"] == 2.0
    assert client.connection_pool.connection_kwargs["socket_connect_timeout"] == 2.0
