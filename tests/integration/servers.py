"""What real servers for tests need: their programs, free ports, and to be waited for."""

import os
import shutil
import socket
import time
from pathlib import Path

import pytest


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def program(name: str, *folders: Path) -> str:
    """A server's program; where there is none the test is skipped, and in CI it fails."""
    places = [os.environ["PATH"], *map(str, folders)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed: make servers")
    return str(found)


def wait_for(port: int) -> None:
    """Until something answers on the port, at most half a minute."""
    for _ in range(300):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"nothing answers on port {port}")
