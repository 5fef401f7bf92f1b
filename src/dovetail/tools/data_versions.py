"""Data as DVC keeps it: what dvc.lock records, and what lies under its hashes in the cache and in the remote.

A data version is named by DVC's hash: the MD5 of a file, or the MD5 of a folder's listing with the suffix `.dir`.
The lock file and the cache are read as they are, which takes no time; DVC itself answers for its configuration and its
remotes (https://dvc.org/doc/user-guide/project-structure/internal-files, DVC 3.67).
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dovetail.errors import DataVersionError
from dovetail.files import replacing, write_text

MOST = 10
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Damage:
    """A file of a data version that does not lie in the cache as it was recorded.

    Attributes:
        path: Of the file, in the repository.
        recorded: Its hash.
        found: The hash of what lies there now; None when nothing does.
        place: Where in the cache.
    """

    path: str
    recorded: str
    found: str | None
    place: Path

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.path} is gone: recorded {self.recorded}"
        return f"{self.path} was changed: recorded {self.recorded}, found {self.found}"


def outputs(lock: bytes, name: str = "dvc.lock") -> dict[str, dict[str, str]]:
    """Stage -> path -> hash of what the stages left, by a dvc.lock of here or of another revision; it may be empty.

    Raises:
        DataVersionError: it is no dvc.lock; the message calls it by `name`.
    """
    try:
        stages = (yaml.load(lock, _LOADER) or {}).get("stages", {})  # noqa: S506 - a safe one
        return {
            stage: {str(out["path"]): str(out["md5"]) for out in entry.get("outs", [])}
            for stage, entry in stages.items()
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise DataVersionError(
            f"{name} is damaged",
            where=f"it holds {len(lock)} bytes that are no list of stages and their outputs.",
            todo="Restore it:  git checkout dvc.lock  or make it again:  dvc repro",
        ) from error


def cache_folder(root: Path) -> Path:
    """The folder of the cache, as DVC is configured by machine, user, repository and checkout."""
    return Path(_config(root)["cache"].get("dir", root / ".dvc" / "cache"))


def share_cache(root: Path, checkout: Path) -> None:
    """Let DVC in a checkout work on the cache of `root`, by a file in it that git does not track."""
    write_text(f"[cache]\n    dir = {cache_folder(root)}\n", checkout / ".dvc" / "config.local")


def files(cache: Path, path: str, md5: str) -> dict[str, str]:
    """Path -> hash of each file of a data version: of a folder those in it, of a file itself.

    Raises:
        DataVersionError: the folder's listing is not in the cache, or was changed.
    """
    if not md5.endswith(".dir"):
        return {path: md5}
    damage = _damage(cache, path, md5)
    if damage:
        raise _broken([damage], cache)
    listing = json.loads(object_path(cache, md5).read_bytes())
    return {f"{path}/{entry['relpath']}": entry["md5"] for entry in listing}


def object_path(cache: Path, md5: str) -> Path:
    """Where the cache keeps the object of that hash."""
    return cache / "files" / "md5" / md5[:2] / md5[2:]


def damages(cache: Path, outs: Mapping[str, str]) -> list[Damage]:
    """What of the data versions, path -> hash, is gone from the cache or was changed there: every byte is hashed again.

    DVC itself takes an object that is read-only for what its name says (https://github.com/treeverse/dvc/issues/5978).
    """
    found: list[Damage | None] = []
    for path, md5 in outs.items():
        whole = _damage(cache, path, md5)
        inner = {} if whole or not md5.endswith(".dir") else files(cache, path, md5)
        found += [whole] if whole else [_damage(cache, name, each) for name, each in inner.items()]
    return [damage for damage in found if damage]


def demand(root: Path, outs: Mapping[str, str]) -> None:
    """Nothing, if the data versions, path -> hash, are whole in the cache; what is gone is fetched from the remote.

    Raises:
        DataVersionError: an object was changed, or is neither in the cache nor in the remote.
    """
    cache = cache_folder(root)
    found = damages(cache, outs)
    if found and all(damage.found is None for damage in found):
        fetch(root, outs)
        found = damages(cache, outs)
    if found:
        raise _broken(found, cache, has_remote(root))


def fetch(root: Path, outs: Mapping[str, str]) -> None:
    """Bring what the cache lacks of the data versions, path -> hash, from DVC's remote, if there is one.

    Raises:
        DataVersionError: the remote does not answer; what it has not got is not said here.
    """
    if not has_remote(root):
        return
    cache = cache_folder(root)
    # First the listings, which say what else is needed.
    _pull(root, [md5 for md5 in outs.values() if not object_path(cache, md5).exists()])
    inner = [
        each
        for path, md5 in outs.items()
        if object_path(cache, md5).exists()
        for each in files(cache, path, md5).values()
    ]
    _pull(root, [md5 for md5 in inner if not object_path(cache, md5).exists()])


def has_remote(root: Path) -> bool:
    """Whether DVC knows by itself where else the data may be."""
    return bool(_config(root)["core"].get("remote"))


def place(cache: Path, md5: str, target: Path) -> None:
    """Copy a data version to `target`, which must not be there, every byte hashed again on the way.

    Copies and no links: whoever can write to a link, writes to the cache.

    Raises:
        DataVersionError: an object is gone, or was changed; `target` may be there in part.
    """
    for name, each in files(cache, target.name, md5).items():
        path = target.parent / name
        damage = _damage(cache, name, each)
        if damage:
            raise _broken([damage], cache)
        with replacing(path) as temporary:
            shutil.copyfile(object_path(cache, each), temporary)


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal, as DVC takes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _damage(cache: Path, path: str, md5: str) -> Damage | None:
    object_ = object_path(cache, md5)
    if not object_.is_file():
        return Damage(path, md5, None, object_)
    found = md5_of(object_) + (".dir" if md5.endswith(".dir") else "")
    return None if found == md5 else Damage(path, md5, found, object_)


def _broken(found: Sequence[Damage], cache: Path, is_remote: bool = True) -> DataVersionError:
    """What is wrong in the cache, and the commands that mend it."""
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    paths = " ".join(sorted({damage.path for damage in found})[:MOST])
    fetch_ = f"dvc fetch --all-commits {paths}"
    changed = [str(damage.place) for damage in found if damage.found][:MOST]
    remove = f"rm -f {' '.join(changed)} && " if changed else ""
    no_remote = "" if is_remote else "No remote is configured: dvc remote add --default NAME URL"
    return DataVersionError(
        "\n  - ".join(["the data is not what was recorded", *(str(damage) for damage in found[:MOST]), *more]),
        where=f"in DVC's cache at {cache}",
        expected=no_remote,
        todo=f"Bring it back:  {remove}{fetch_}",
    )


def _config(root: Path) -> dict[str, Any]:
    from dvc.config import Config

    return dict(Config(str(root / ".dvc"), validate=False))


def _pull(root: Path, hashes: Sequence[str]) -> None:
    if not hashes:
        return
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        with Repo(str(root)) as repo:
            repo.cloud.pull([HashInfo("md5", md5) for md5 in hashes])
    except Exception as error:  # of DVC, and of every kind of storage
        raise DataVersionError(
            f"DVC's remote does not answer: {str(error).splitlines()[0][:120]}",
            where=f"by the configuration in {root / '.dvc'}",
            todo="See what it says:  dvc fetch --all-commits --verbose",
        ) from error
