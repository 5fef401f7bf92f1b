"""Feast's registry store for a file, and the lock that its writers share."""

import fcntl
import hashlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from feast.infra.registry.file import FileRegistryStore
from feast.protos.feast.core.Registry_pb2 import Registry
from feast.repo_config import RegistryConfig

from dovetail.feature_registry.sealed import MARK, FeatureRegistryError, backups, definitions, is_whole, opened, sealed

KEPT = 5
WAIT_SECONDS = 60.0
_in_process = threading.RLock()
_held: dict[Path, int] = {}


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keeps every other writer of the registry waiting, in this process and in others; one that holds it may re-enter.

    Around a read, a change and a write, nothing is lost: the second writer reads what the first has written.

    Raises:
        FeatureRegistryError: another process has held it for a minute.
    """
    path = path.absolute()
    with _in_process:
        if _held.get(path):
            yield
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("a+") as lock:
            _wait_for(lock.fileno(), path)
            _held[path] = 1
            try:
                yield
            finally:
                del _held[path]


def _wait_for(lock: int, path: Path) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise FeatureRegistryError(
                    f"another process has been writing the feature registry for {WAIT_SECONDS:.0f} s",
                    where=f"and holds {path}.lock",
                    expected="Expected: writers that take seconds.",
                    todo=f"See who it is:  fuser {path}.lock",
                ) from error
            time.sleep(0.02)
        else:
            return


class GuardedFileRegistryStore(FileRegistryStore):  # type: ignore[misc]  # Feast is untyped
    """A registry in a local file. Readers see the old one or the new one, whole; no writer loses another's work."""

    def __init__(self, registry_config: RegistryConfig, repo_path: Path) -> None:
        super().__init__(registry_config, repo_path)
        self._filepath: Path
        self._read: str | None = None

    def get_registry_proto(self) -> Registry:
        """The registry.

        Raises:
            FileNotFoundError: there is none.
            FeatureRegistryError: it is damaged.
        """
        content = self._content()
        self._read = _digest(content)
        if content is None:
            raise FileNotFoundError(f"there is no feature registry at {self._filepath}: apply makes one")
        return opened(content, self._filepath)

    def update_registry_proto(self, registry_proto: Registry) -> None:
        """Put the registry in the place of the one that was read; the one before is kept.

        Raises:
            FeatureRegistryError: what is there is damaged, of other projects, or not what was read: someone else has
                written it meanwhile.
            OSError: it cannot be written, as on a full disk; what was there is untouched.
        """
        with exclusive(self._filepath):
            content = self._content()
            current = None if content is None else opened(content, self._filepath)
            if current is not None:
                self._check(current, registry_proto)
            if _digest(content) != self._read:
                raise FeatureRegistryError(
                    "the feature registry was changed by someone else meanwhile",
                    where=f"at {self._filepath}; nothing was written.",
                    expected="Expected: what was read before the change.",
                    todo="Run the same command again.",
                )
            registry_proto.version_id = MARK + str(uuid.uuid4())
            registry_proto.last_updated.FromDatetime(datetime.now(UTC))
            new = sealed(registry_proto)
            opened(new, self._filepath)
            # What needs space comes first: a full disk costs no version that is kept.
            with _written_beside(new, self._filepath) as ready:
                if content is not None and current is not None:
                    self._keep(content, current)
                ready.replace(self._filepath)
            _flush(self._filepath.parent)
            self._read = _digest(new)

    def teardown(self) -> None:
        """Remove the registry and the versions that are kept."""
        with exclusive(self._filepath):
            for path in (self._filepath, *backups(self._filepath)):
                path.unlink(missing_ok=True)
            self._read = None

    def _content(self) -> bytes | None:
        try:
            return self._filepath.read_bytes()
        except FileNotFoundError:
            return None

    def _check(self, current: Registry, new: Registry) -> None:
        before, after = (sorted({project.spec.name for project in registry.projects}) for registry in (current, new))
        if before and not set(before) & set(after):
            raise FeatureRegistryError(
                f"the feature registry is of project {', '.join(before)}, not {', '.join(after) or 'any'}",
                where=f"at {self._filepath}; nothing was written.",
                expected="Expected: a registry with the projects that it had.",
                todo="Correct `project`, or `registry.path`, in feature_store.yaml.",
            )

    def _keep(self, content: bytes, current: Registry) -> None:
        """What is in place becomes .1; what was .1 becomes .2 and so on, if it defined other things."""
        path = self._filepath
        first = path.with_name(f"{path.name}.1")
        is_the_same = is_whole(first) and definitions(opened(first.read_bytes(), first)) == definitions(current)
        with _written_beside(content, first) as ready:
            for kept in [] if is_the_same or not first.exists() else reversed(backups(path)):
                number = int(kept.suffix[1:])
                if number >= KEPT:
                    kept.unlink()
                else:
                    kept.replace(path.with_name(f"{path.name}.{number + 1}"))
            ready.replace(first)


@contextmanager
def _written_beside(content: bytes, path: Path) -> Iterator[Path]:
    """A file beside a path with the content, flushed and read back, to take the path's place; else it goes away."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != content:
            raise OSError(f"{temporary} does not hold what was written to it")
        temporary.chmod(0o644)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _flush(folder: Path) -> None:
    """Make sure that the folder's names are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()
