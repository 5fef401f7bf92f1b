"""Real servers for tests: their programs, free ports, how they are waited for, PostgreSQL and MLflow."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str, *folders: Path, todo: str = "make servers") -> str:
    """A server's program, or the browser; where there is none the test is skipped, and in CI it fails."""
    places = [os.environ["PATH"], *map(str, folders)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed: {todo}")
    return str(found)


def wait_for(port: int, seconds: int = 30) -> None:
    """Until something answers on the port, at most so long."""
    for _ in range(seconds * 10):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing answers on port {port}")


class Postgres:
    """A PostgreSQL server in a folder of its own, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        """Make the data folder; PostgreSQL refuses to be run by root."""
        self.folder, self.port = folder, free_port()
        self.user = "nobody" if os.geteuid() == 0 else None
        self.programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        if self.user:
            shutil.chown(folder, self.user)
        self.run("initdb", "-D", str(folder / "data"), "-U", "feast", "-A", "trust", "-N")

    def run(self, name: str, *arguments: str) -> None:
        """Run one of its programs to the end."""
        command = [program(name, *self.programs), *arguments]
        subprocess.run(command, user=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c timezone=America/New_York"
        )
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, whoever is connected."""
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", "fast", "stop")


@contextmanager
def mlflow_server(database: str, folder: Path) -> Iterator[str]:
    """The URI of a real MLflow server on loopback, before a database; artifacts and its log go to the folder."""
    port, said = free_port(), folder / "server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--workers", "1"]
    command += ["--artifacts-destination", f"{folder}/store", "--host", "127.0.0.1", "--port", str(port)]
    quiet = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with said.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log, env=quiet) as process:
        while process.poll() is None and "startup complete" not in said.read_text():
            time.sleep(0.1)
        assert process.poll() is None, said.read_text()
        yield f"http://127.0.0.1:{port}"
        process.terminate()
