"""How a process shows that it lives, and how the others find out that it does not.

On one machine a lock of the operating system says so at once: the kernel takes it back when its holder dies, however
it dies. Other machines go by a moment in time that the holder keeps moving on.
"""

import fcntl
import os
import re
import signal
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import NoReturn, Self

# How long a holder is believed without a word, and how often it gives one. Clocks may differ by what lies between.
LEASE = timedelta(minutes=5)
RENEWAL = timedelta(minutes=1)
_WAIT_SECONDS = 5.0  # for a renewal that is under way when the work ends


class Terminated(SystemExit):
    """A signal asked the process to end; its exit code is the shell's, 128 and the signal."""


@dataclass(frozen=True)
class Lease:
    """Who holds something, and until when the others must believe that he lives."""

    until: datetime
    token: str  # 32 hexadecimal digits: the name of the lock
    pid: int
    host: str

    @classmethod
    def new(cls) -> Self:
        """A lease of this process, from now on."""
        return cls(_end(), uuid.uuid4().hex, os.getpid(), socket.gethostname())

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The lease that `str` wrote; None when the text is none."""
        found = re.fullmatch(r"(\S+) ([0-9a-f]{32}) (\d+) (\S+)", text)
        try:
            until = datetime.fromisoformat(found[1]) if found else None
        except ValueError:
            return None
        return cls(until, found[2], int(found[3]), found[4]) if found and until and until.tzinfo else None

    def __str__(self) -> str:
        return f"{self.until.isoformat(timespec='seconds')} {self.token} {self.pid} {self.host}"

    def renewed(self) -> "Lease":
        """The same lease, from now on."""
        return Lease(_end(), self.token, self.pid, self.host)

    def is_alive(self, folder: Path | None, now: datetime) -> bool:
        """Whether the holder lives, or may.

        Args:
            folder: Where the locks lie; None when the machines share none.
            now: UTC.
        """
        held = _is_held(folder / self.token) if folder else None
        if held is None or (not held and self.host != socket.gethostname()):
            # A lock that is free on a shared disk proves nothing: not every network file system passes locks on.
            return now < self.until
        return held


@contextmanager
def holding(lease: Lease, folder: Path | None) -> Iterator[None]:
    """Hold the lease's lock while the block runs; nothing without a folder, which is made if need be."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / lease.token
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def renewing(lease: Lease, tell: Callable[[Lease], None]) -> Iterator[None]:
    """Tell the others every minute, from a thread, that the lease goes on while the block runs."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(RENEWAL.total_seconds()):
            tell(lease.renewed())

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_WAIT_SECONDS)


@contextmanager
def ending_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Terminated` in the block, as Ctrl-C raises KeyboardInterrupt: what is open is closed.

    A signal that somebody handles or ignores (nohup) stays his. A second one does not disturb the closing.
    """
    chosen = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        chosen = []  # Python lets the main thread alone handle signals

    def end(number: int, _: FrameType | None) -> NoReturn:
        for each in chosen:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(128 + number)

    for number in chosen:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, signal.SIG_DFL)


def forget(lease: Lease, folder: Path | None) -> None:
    """Remove the lock that a dead holder left; idempotent."""
    if folder:
        (folder / lease.token).unlink(missing_ok=True)


def _end() -> datetime:
    return datetime.now(UTC) + LEASE


def _is_held(path: Path) -> bool | None:
    """Whether a process holds the lock; None when there is none to look at."""
    try:
        with path.open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
