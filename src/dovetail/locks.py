"""How processes take turns before one MLflow: by a lock that goes when its holder dies, or by saying so over HTTP."""

import fcntl
import logging
import os
import random
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dovetail.errors import TrackingError
from dovetail.settings.schema import MLflow

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 300.0
_POLL_SECONDS = 0.05
# Whoever has been silent for this long, by the clock of the one that waits, is dead; he gives up long before.
DEAD_SECONDS, TURN_SECONDS = 60.0, 30.0
_TURN = "dovetail.turn."  # a tag on the registered model: who is at it now


@contextmanager
def alone(settings: MLflow, purpose: str) -> Iterator[bool]:
    """No other process is in a block of this purpose on this database meanwhile; it waits for its turn.

    Yields whether that is so: a server over HTTP has no lock, and the block runs all the same.

    Raises:
        TrackingError: the turn does not come, for minutes; it says who has it.
    """
    if settings.database is not None:
        with _file(settings.database.with_name(f"{settings.database.name}.{purpose}.lock")):
            yield True
    elif settings.tracking_uri.startswith("postgresql"):
        with _advisory(settings.tracking_uri, purpose):
            yield True
    else:
        yield False


def me() -> str:
    """This process, for whoever has to wait for it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


@contextmanager
def turn(client: Any, settings: MLflow, name: str) -> Iterator[float]:
    """No other process has the turn at the registered model meanwhile; yields until when that may be relied upon.

    The moment is by this machine's clock; whoever is not done by then may be taken for dead, and must give up.

    Raises:
        TrackingError: the turn does not come, for minutes; it says who has it.
    """
    with alone(settings, "journal") as is_locked, _announced(client, name, is_locked=is_locked) as until:
        yield until


@contextmanager
def _file(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:  # whoever waits must not wipe out who holds it

        def take() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        _wait(take, lambda: f"{path.read_text().strip() or 'somebody'} has it, by {path.name}")
        lock.truncate(0)
        lock.write(me())
        lock.flush()
        yield


@contextmanager
def _advisory(uri: str, purpose: str) -> Iterator[None]:
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    asked = text("SELECT pg_try_advisory_lock(hashtext(:name))").bindparams(name=f"dovetail: {purpose}")
    with engine.connect() as connection:  # closing it gives the lock back
        _wait(lambda: bool(connection.execute(asked).scalar()), lambda: "another session of the database has it")
        yield


def _wait(take: Callable[[], bool], holder: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not take():
        if time.monotonic() > until:
            raise TrackingError(
                f"another process does not finish with MLflow, for {PATIENCE_SECONDS:.0f} seconds",
                where=f"{holder()}.",
                todo="See what it waits for, or end it, and type the command again.",
            )
        time.sleep(_POLL_SECONDS)


@contextmanager
def _announced(client: Any, name: str, *, is_locked: bool) -> Iterator[float]:
    """Nobody else has announced himself on the registered model; yields until when that may be relied upon.

    Each announces himself before he looks for others, so of two at most one sees nobody. This holds over HTTP, where
    nothing can be locked, and between those and others that share the database itself.
    """
    own = f"{_TURN}{'direct' if is_locked else 'http'}.{uuid.uuid4().hex}"
    seen: dict[str, float] = {}
    since = time.monotonic()
    while True:
        others = _others(client, name, seen, is_locked=is_locked)
        until = time.time() + TURN_SECONDS
        if not others:
            client.set_registered_model_tag(name, own, me())
            others = {key: holder for key, holder in _announcements(client, name).items() if key != own}
            if not others:
                break
            client.delete_registered_model_tag(name, own)
        if time.monotonic() - since > PATIENCE_SECONDS:
            raise TrackingError(
                f"the journal of '{name}' has been in use for {PATIENCE_SECONDS:.0f} seconds",
                where=f"by {', '.join(sorted(others.values()))}.",
                todo="See what it waits for, or end it, and type the command again.",
            )
        time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - so that two do not meet again and again
    try:
        yield until
    finally:
        client.delete_registered_model_tag(name, own)


def _others(client: Any, name: str, seen: dict[str, float], *, is_locked: bool) -> dict[str, str]:
    """Those who have announced themselves and may be alive; the dead are struck off.

    Whoever has the lock knows that no other who needs it lives. Of those behind a server nobody knows: each is given
    his time, by the clock of the one that waits (`seen`, kept between calls), since clocks differ.
    """
    found, now = _announcements(client, name), time.monotonic()
    for key, holder in list(found.items()):
        is_silent = now - seen.setdefault(key, now) > DEAD_SECONDS
        if is_silent or (is_locked and key.startswith(f"{_TURN}direct.")):
            log.warning("journal of %s: %s did not finish, and is left behind", name, holder)
            client.delete_registered_model_tag(name, key)
            del found[key]
    return found


def _announcements(client: Any, name: str) -> dict[str, str]:
    tags = client.get_registered_model(name).tags
    return {key: str(holder) for key, holder in tags.items() if key.startswith(_TURN)}
