"""The three online stores: SQLite, a real PostgreSQL and a real Redis."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from online_stores import NOON, Shops

from servers import Postgres, free_port, program, wait_for

KINDS = ("sqlite", pytest.param("postgres", marks=pytest.mark.slow), pytest.param("redis", marks=pytest.mark.slow))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server whose own time zone is not UTC."""
    # Not in pytest's own folder, which is closed to the user that the server needs.
    with TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis server."""
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        wait_for(port)
        yield port
        server.terminate()


@pytest.fixture(params=KINDS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """`online_store` of a Feast configuration, for each kind of store in turn."""
    if request.param == "sqlite":
        store = "sqlite.FreshSqliteOnlineStore"
        where: dict[str, Any] = {"path": str(tmp_path / "online.db")}
    elif request.param == "postgres":
        store = "postgres.FreshPostgreSQLOnlineStore"
        port = request.getfixturevalue("postgres").port
        where = {
            "host": "127.0.0.1",
            "port": port,
            "database": "postgres",
            "user": "feast",
            "password": "",
            "sslmode": "disable",
        }
    else:
        store = "redis.FreshRedisOnlineStore"
        where = {"connection_string": f"127.0.0.1:{request.getfixturevalue('redis_port')}"}
    return {"type": f"dovetail.online_store.{store}", "now": NOON, **where}


@pytest.fixture
def shops(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Shops]:
    """An empty store of each kind."""
    made = Shops(tmp_path, settings, f"p{time.time_ns()}")
    yield made
    made.store.teardown()
