"""The feature registry when its writers are killed, come together, or find no space."""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dovetail.feature_registry.sealed import opened

APPLY = """
import sys; from pathlib import Path
from feast import Entity, FeatureStore, RepoConfig, ValueType
def store(folder):
    return FeatureStore(config=RepoConfig(
        project="shops", provider="local", online_store=None, repo_path=folder, entity_key_serialization_version=3,
        registry={"path": str(folder / "registry.db"),
                  "registry_store_type": "dovetail.feature_registry.GuardedFileRegistryStore"},
        offline_store={"type": "dovetail.offline_store.DuckDBAsofOfflineStore"}))
folder, first = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(first, first + int(sys.argv[3])):
    store(folder).apply([Entity(name=f"e{number}", join_keys=[f"e{number}"], value_type=ValueType.INT64)])
    print(number, flush=True)
"""


def writer(folder: Path, first: int, n: int, **arguments) -> subprocess.Popen:
    """A process that applies one entity after another."""
    command = [sys.executable, "-W", "ignore", "-c", APPLY, str(folder), str(first), str(n)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **arguments)


def entities(folder: Path) -> set[str]:
    """The entities in the registry file, which must be whole."""
    path = folder / "registry.db"
    names = {entity.spec.name for entity in opened(path.read_bytes(), path).entities}
    return names - {"__dummy"}  # Feast's own


@pytest.mark.slow
def test_a_killed_apply_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    """Killed at random moments, the registry is whole each time and holds everything that was acknowledged."""
    chance = random.Random(3)
    acknowledged: set[str] = set()
    for attempt in range(8):
        with writer(tmp_path, 1000 * attempt, 1000) as process:
            said = [process.stdout.readline()]
            end = time.monotonic() + chance.uniform(0.05, 0.6)
            while time.monotonic() < end:
                said.append(process.stdout.readline())
            process.kill()
            said += process.stdout.readlines()
        acknowledged |= {f"e{line.strip()}" for line in said if line.strip().isdigit() and line.endswith("\n")}
        assert acknowledged <= entities(tmp_path)
    assert len(acknowledged) > 8


@pytest.mark.slow
def test_four_at_once_lose_nothing(tmp_path: Path) -> None:
    """Of four processes that apply by Feast alone, all that succeeded is there, and a loser is told to run again.

    Whoever reads meanwhile reads a whole registry, in which nothing that was there is gone.
    """
    processes = [writer(tmp_path, 100 * number, 5) for number in range(4)]
    seen: set[str] = set()
    while any(process.poll() is None for process in processes):
        if (tmp_path / "registry.db").exists():
            found = entities(tmp_path)
            assert seen <= found
            seen = found
    assert len(seen) > 1
    ended = [(*process.communicate(), process.returncode) for process in processes]
    acknowledged = {f"e{line}" for said, _, _ in ended for line in said.split() if line.isdigit()}
    assert acknowledged
    assert acknowledged <= entities(tmp_path)
    assert all("Run the same command again." in error for _, error, code in ended if code)


def test_a_full_disk_leaves_the_registry_as_it_was(tmp_path: Path) -> None:
    """A write that finds no space fails, and the old registry is served; with space it works again."""
    with writer(tmp_path, 0, 30) as process:
        process.communicate()
    before = (tmp_path / "registry.db").read_bytes()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    with writer(tmp_path, 100, 1, preexec_fn=limit) as process:
        _, error = process.communicate()
    assert "OSError: [Errno 27]" in error
    assert (tmp_path / "registry.db").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".registry*")] == []
    with writer(tmp_path, 100, 1) as process:
        process.communicate()
    assert entities(tmp_path) == {*(f"e{number}" for number in range(30)), "e100"}
