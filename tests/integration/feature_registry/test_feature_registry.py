"""Feast's registry in a guarded file: whole or not written, and nobody's work lost."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from feast import Entity, FeatureStore, RepoConfig, ValueType
from feast.protos.feast.core.Registry_pb2 import Registry

from dovetail.feature_registry import FeatureRegistryError, exclusive
from dovetail.feature_registry.sealed import backups, opened

STORE = "dovetail.feature_registry.GuardedFileRegistryStore"


def store(folder: Path, project: str = "shops", store_type: str | None = STORE) -> FeatureStore:
    """Feast's store with its registry in the folder."""
    registry = {"path": str(folder / "registry.db"), "registry_store_type": store_type}
    config = RepoConfig(
        project=project,
        provider="local",
        registry=registry,
        online_store=None,
        offline_store={"type": "dovetail.offline_store.DuckDBAsofOfflineStore"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )
    return FeatureStore(config=config)


def entity(name: str) -> Entity:
    """An entity to register."""
    return Entity(name=name, join_keys=[name], value_type=ValueType.INT64)


def names(folder: Path) -> list[str]:
    """The entities that a new reader sees."""
    return sorted(found.name for found in store(folder).list_entities())


def test_what_is_applied_is_read_and_the_one_before_is_kept(tmp_path: Path) -> None:
    """Each change keeps the version before it, five at most; all of them are whole."""
    for number in range(8):
        store(tmp_path).apply([entity(f"e{number}")])
    assert names(tmp_path) == [f"e{number}" for number in range(8)]
    kept = backups(tmp_path / "registry.db")
    assert [path.name for path in kept] == [f"registry.db.{number}" for number in (1, 2, 3, 4, 5)]
    assert [len(opened(path.read_bytes(), path).entities) for path in kept] == [8, 7, 6, 5, 4]  # one is Feast's own
    assert {path.name for path in tmp_path.iterdir()} == {"registry.db", "registry.db.lock", *(p.name for p in kept)}


def test_feasts_own_store_reads_the_file_and_ours_reads_feasts(tmp_path: Path) -> None:
    """The seal disturbs nobody: both kinds of store may take turns."""
    store(tmp_path).apply([entity("a")])
    store(tmp_path, store_type=None).apply([entity("b")])
    assert names(tmp_path) == ["a", "b"]
    store(tmp_path).apply([entity("c")])
    assert sorted(found.name for found in store(tmp_path, store_type=None).list_entities()) == ["a", "b", "c"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """A registry cut anywhere, or with one byte changed anywhere, is refused and not touched."""
    store(tmp_path).apply([entity("a")])
    path = tmp_path / "registry.db"
    content = path.read_bytes()
    for length in range(len(content)):
        with pytest.raises(FeatureRegistryError):
            opened(content[:length], path)
    for at in range(len(content)):
        changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
        with pytest.raises(FeatureRegistryError):
            opened(changed, path)


@pytest.mark.parametrize("damage", [b"", b"half", b"\xff" * 100], ids=["empty", "text", "garbage"])
def test_a_damaged_registry_is_refused_with_what_restores_it(tmp_path: Path, damage: bytes) -> None:
    """Neither a reader nor an apply overwrites it; the command in the message brings back the newest whole version."""
    store(tmp_path).apply([entity("a")])
    ready = store(tmp_path)
    path = tmp_path / "registry.db"
    path.write_bytes(damage)
    for attempt in (store(tmp_path).list_entities, lambda: ready.apply([entity("b")])):
        with pytest.raises(FeatureRegistryError) as failure:
            attempt()
        assert path.read_bytes() == damage
    assert failure.value.todo == f"Restore it:  cp {path}.1 {path}"
    subprocess.run(failure.value.todo.partition(":  ")[2], shell=True, check=True)
    assert names(tmp_path) == []
    for kept in backups(path):
        kept.unlink()
    path.write_bytes(damage)
    with pytest.raises(FeatureRegistryError, match="no version is kept"):
        store(tmp_path).list_entities()


def test_a_change_in_between_is_not_lost(tmp_path: Path) -> None:
    """Who read before someone else wrote is refused and told to run again; after reading anew he may write."""
    store(tmp_path).apply([entity("a")])
    slow = store(tmp_path).registry._registry_store
    read = slow.get_registry_proto()
    store(tmp_path).apply([entity("b")])
    with pytest.raises(FeatureRegistryError, match=r"someone else meanwhile[\s\S]*Run the same command again"):
        slow.update_registry_proto(read)
    assert names(tmp_path) == ["a", "b"]
    slow.update_registry_proto(slow.get_registry_proto())
    assert names(tmp_path) == ["a", "b"]


def test_a_disk_that_loses_what_it_took_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is read back before it takes the old one's place; no version that is kept is lost."""
    for number in range(4):
        store(tmp_path).apply([entity(f"e{number}")])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    ready = store(tmp_path)
    # The disk has it, and then has only half of it.
    monkeypatch.setattr("os.fsync", lambda file: os.ftruncate(file, 20))
    for _ in range(6):
        with pytest.raises(OSError, match="does not hold what was written to it"):
            ready.apply([entity("b")])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_registry_of_another_project_is_not_replaced(tmp_path: Path) -> None:
    """A registry that shares no project with the one in place is refused."""
    store(tmp_path).apply([entity("a")])
    guarded = store(tmp_path).registry._registry_store
    guarded.get_registry_proto()
    other = Registry()
    other.projects.add().spec.name = "other"
    with pytest.raises(FeatureRegistryError, match="is of project shops, not other"):
        guarded.update_registry_proto(other)
    assert names(tmp_path) == ["a"]


def test_the_lock_is_for_one_thread_at_a_time_and_may_be_entered_again(tmp_path: Path) -> None:
    """The holder's own writes go through; another thread and another process wait."""
    order = []
    path = tmp_path / "registry.db"
    code = (
        "import sys, pathlib; from dovetail.feature_registry import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])): print('in')"
    )
    with exclusive(path):
        with exclusive(path):
            store(tmp_path).apply([entity("a")])
        other = threading.Thread(target=lambda: [exclusive(path).__enter__(), order.append("other")], daemon=True)
        other.start()
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, str(path)], stdout=subprocess.PIPE)
        other.join(0.5)
        assert process.poll() is None
        order.append("first")
    other.join(10)
    assert order == ["first", "other"]
    process.kill()
    process.communicate()
