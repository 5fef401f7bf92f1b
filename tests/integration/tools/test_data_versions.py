"""What DVC recorded, its cache and its remote, of a real DVC repository in a temporary folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dovetail.errors import DataVersionError
from dovetail.tools import data_versions

PIPELINE = """
stages:
  ingest:
    cmd: mkdir -p raw && echo flights > raw/flights.txt && echo weather > raw/weather.txt && echo {table} > table.txt
    outs: [raw, table.txt]
"""
FLIGHTS = "a6b8956561d51625dd23303964508f82"  # of "flights\n"


def dvc(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose stage has run, with all of it in a remote beside it."""
    root = tmp_path_factory.mktemp("made") / "project"
    root.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    dvc(root, "init", "-q")
    dvc(root, "remote", "add", "--default", "beside", "../remote")
    (root / "dvc.yaml").write_text(PIPELINE.format(table="one"))
    dvc(root, "repro", "-q")
    dvc(root, "push", "-q")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """The project and its remote, for one test."""
    shutil.copytree(made.parent, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy" / "project"


def recorded(root: Path) -> dict[str, str]:
    return data_versions.outputs((root / "dvc.lock").read_bytes())["ingest"]


def flights_object(root: Path) -> Path:
    return data_versions.object_path(data_versions.cache_folder(root), FLIGHTS)


def tamper(path: Path) -> None:
    """As a process of the same user does, mode 0444 or not; DVC goes on believing the object."""
    path.chmod(0o644)
    path.write_text("Flights\n")
    path.chmod(0o444)


def test_the_lock_says_what_the_stages_left(root: Path) -> None:
    """The same hashes as DVC's own; an empty lock says nothing."""
    outs = recorded(root)
    assert set(outs) == {"raw", "table.txt"}
    assert outs["raw"].endswith(".dir")
    assert data_versions.files(data_versions.cache_folder(root), "raw", outs["raw"]) == {
        "raw/flights.txt": FLIGHTS,
        "raw/weather.txt": data_versions.md5_of(root / "raw/weather.txt"),
    }
    assert data_versions.outputs(b"") == {}


@pytest.mark.parametrize("lock", [b"stages: [1]", b"{", b"stages: {a: {outs: [{path: x}]}}", b"\x00", b"text"])
def test_a_damaged_lock_is_said(lock: bytes) -> None:
    """And not read as a pipeline with fewer stages."""
    with pytest.raises(DataVersionError, match=r"dvc.lock at abc is damaged\n.*bytes.*\n.*git checkout dvc.lock"):
        data_versions.outputs(lock, "dvc.lock at abc")


def test_the_cache_is_where_dvc_keeps_it(root: Path) -> None:
    """Beside the configuration by default, and where the checkout's own configuration says."""
    assert data_versions.cache_folder(root) == root / ".dvc/cache"
    dvc(root, "cache", "dir", "--local", "../elsewhere")
    assert data_versions.cache_folder(root) == root.parent / "elsewhere"
    assert dvc(root, "cache", "dir").strip() == str(root.parent / "elsewhere")


def test_another_checkout_shares_the_cache(root: Path, tmp_path: Path) -> None:
    """DVC checks the data out there; git sees no change."""
    shutil.copytree(root, tmp_path / "other", ignore=shutil.ignore_patterns("raw", "table.txt", "cache", "tmp"))
    other = tmp_path / "other"
    subprocess.run(["git", "add", "-A"], cwd=other, check=True)
    data_versions.share_cache(root, other)
    assert data_versions.cache_folder(other) == root / ".dvc/cache"
    dvc(other, "checkout", "-q")
    assert (other / "raw/flights.txt").read_text() == "flights\n"
    status = subprocess.run(["git", "status", "--short"], cwd=other, check=True, capture_output=True, text=True).stdout
    assert "config.local" not in status


def test_a_whole_cache_is_demanded_and_placed(root: Path, tmp_path: Path) -> None:
    """The files come out as they were, as copies: writing to them leaves the cache alone."""
    outs, cache = recorded(root), data_versions.cache_folder(root)
    data_versions.demand(root, outs)
    data_versions.place(cache, outs["raw"], tmp_path / "out/raw")
    data_versions.place(cache, outs["table.txt"], tmp_path / "out/table.txt")
    assert {path.name: path.read_text() for path in (tmp_path / "out").rglob("*.txt")} == {
        "flights.txt": "flights\n",
        "weather.txt": "weather\n",
        "table.txt": "one\n",
    }
    (tmp_path / "out/raw/flights.txt").write_text("mine")
    assert data_versions.damages(cache, outs) == []


def test_an_altered_object_is_named_with_both_hashes(root: Path, tmp_path: Path) -> None:
    """DVC calls it up to date; here it is refused, with its place and the command that brings it back (F05)."""
    outs, cache = recorded(root), data_versions.cache_folder(root)
    tamper(flights_object(root))
    shutil.rmtree(root / "raw")
    dvc(root, "checkout", "-q")
    assert (root / "raw/flights.txt").read_text() == "Flights\n"
    assert "up to date" in dvc(root, "status")

    found = data_versions.md5_of(flights_object(root))
    said = f"raw/flights.txt was changed: recorded {FLIGHTS}, found {found}"
    assert [str(damage) for damage in data_versions.damages(cache, outs)] == [said]
    todo = f"rm -f {flights_object(root)} && dvc fetch --all-commits raw/flights.txt"
    with pytest.raises(DataVersionError) as caught:
        data_versions.demand(root, outs)
    assert str(caught.value) == (
        f"the data is not what was recorded\n  - {said}\n  in DVC's cache at {cache}\n  Bring it back:  {todo}"
    )
    with pytest.raises(DataVersionError, match=r"raw/flights\.txt was changed"):
        data_versions.place(cache, outs["raw"], tmp_path / "raw")


def test_an_altered_listing_is_named(root: Path) -> None:
    """A folder's listing counts as its files do."""
    outs, cache = recorded(root), data_versions.cache_folder(root)
    tamper(data_versions.object_path(cache, outs["raw"]))
    (damage,) = data_versions.damages(cache, outs)
    assert str(damage).startswith(f"raw was changed: recorded {outs['raw']}, found ")


@pytest.mark.parametrize("lose", [lambda cache: shutil.rmtree(cache), lambda cache: cache.rename(f"{cache}.old")])
def test_what_the_cache_has_lost_comes_from_the_remote(root: Path, lose: Callable[[Path], None]) -> None:
    """Also what no dvc.lock of any commit names; what was there is left alone."""
    outs, cache = recorded(root), data_versions.cache_folder(root)
    (root / "dvc.lock").unlink()
    lose(cache)
    assert [damage.found for damage in data_versions.damages(cache, outs)] == [None, None]
    data_versions.demand(root, outs)
    assert data_versions.damages(cache, outs) == []


def test_the_command_that_is_named_brings_it_back(root: Path) -> None:
    """The one for people does what is promised, for a file of an earlier commit too."""
    outs, cache = recorded(root), data_versions.cache_folder(root)
    person = ["git", "-c", "user.name=A", "-c", "user.email=a@dovetail.test", "commit", "-qam"]
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    subprocess.run([*person, "one"], cwd=root, check=True)
    (root / "dvc.yaml").write_text(PIPELINE.format(table="two"))
    dvc(root, "repro", "-q")
    subprocess.run([*person, "two"], cwd=root, check=True)
    shutil.rmtree(cache)
    # DVC takes a relative URL of an earlier commit from another folder than the repository's (3.67).
    dvc(root, "remote", "modify", "--local", "beside", "url", str(root.parent / "remote"))
    dvc(root, "fetch", "--all-commits", "raw/flights.txt", "table.txt")
    assert flights_object(root).exists()
    assert data_versions.object_path(cache, outs["table.txt"]).exists()


def test_what_is_nowhere_is_said(root: Path) -> None:
    """Neither in cache nor in remote, and no remote at all: the command that would bring it is there."""
    outs = recorded(root)
    flights_object(root).unlink()
    shutil.rmtree(root.parent / "remote")
    with pytest.raises(DataVersionError) as caught:
        data_versions.demand(root, outs)
    assert f"raw/flights.txt is gone: recorded {FLIGHTS}" in str(caught.value)
    assert "dvc fetch --all-commits raw/flights.txt" in str(caught.value)

    dvc(root, "remote", "remove", "beside")
    with pytest.raises(DataVersionError) as caught:
        data_versions.demand(root, outs)
    assert "dvc remote add --default NAME URL" in str(caught.value)
