"""What dvc.yaml declares and what dvc.lock recorded, read as they are: importing DVC takes half a second."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from dovetail.errors import WorkspaceError

# In conf/, but never in params.yaml: WHERE to run. .dvcignore names the same.
INFRA = ("config.yaml", "profile")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(path: Path) -> dict[str, Any]:
    content = yaml.load(path.read_text(encoding="utf-8"), _LOADER) if path.exists() else None  # noqa: S506 - a safe one
    return content if isinstance(content, dict) else {}


def load_params(root: Path) -> dict[str, Any]:
    """params.yaml as it lies there; empty when it is not there."""
    return _read(root / "params.yaml")


def declared_keys(root: Path, stage: str) -> list[str] | None:
    """The settings keys that dvc.yaml lists for a stage, like `usecase.until`; None when it is no stage."""
    entry = _read(root / "dvc.yaml").get("stages", {}).get(stage)
    return None if entry is None else [key for key in entry.get("params", []) if isinstance(key, str)]


def interpolated_values(root: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The values that dvc.yaml takes from params.yaml by `${key}`; of a mapping only its keys, which name stages."""

    def value_at(key: str) -> Any:
        node: Any = params
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return list(node) if isinstance(node, dict) else node

    keys = re.findall(r"\$\{([\w.]+)\}", (root / "dvc.yaml").read_text(encoding="utf-8"))
    return {key: value_at(key) for key in keys}


def recorded_hashes(root: Path, stage: str) -> dict[str, str]:
    """Path -> hash of a stage's inputs and outputs, as of its last run; empty when it never ran."""
    entry = _read(root / "dvc.lock").get("stages", {}).get(stage, {})
    return {item["path"]: item["md5"] for kind in ("deps", "outs") for item in entry.get(kind, [])}


def dvc_hash(path: Path, skip: tuple[str, ...] = ()) -> str | None:
    """DVC's own hash of a file or a folder; None when it is not there.

    A folder's hash is the MD5 of the JSON list of its files' hashes, sorted by path, and the suffix `.dir`
    (DVC 3.67: https://github.com/treeverse/dvc-data, `hashfile/tree.py`).

    Args:
        path: The file or folder.
        skip: First names in the folder to leave out, as .dvcignore does.
    """
    if path.is_file():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if not path.is_dir():
        return None
    files = ((file.relative_to(path), file) for file in path.rglob("*") if file.is_file())
    tree = [{"md5": dvc_hash(file), "relpath": name.as_posix()} for name, file in files if name.parts[0] not in skip]
    listing = json.dumps(sorted(tree, key=lambda entry: str(entry["relpath"])))
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def made_inputs(root: Path, stage: str) -> list[str]:
    """The inputs of a stage that other stages made, as dvc.yaml declares both; empty when it is no stage."""
    made = _makers(root)
    return [path for path in _read(root / "dvc.yaml").get("stages", {}).get(stage, {}).get("deps", []) if path in made]


def require_as_made(root: Path, paths: Iterable[str]) -> None:
    """Nothing, when each path holds what its stage made, byte for byte.

    DVC does not look by itself: an object of its cache that was altered is checked out, and called up to date
    (DVC 3.67; https://github.com/iterative/dvc/issues/9561).

    Raises:
        WorkspaceError: a file or folder differs from what dvc.lock recorded, or nothing is recorded; all are named.
    """
    makers = _makers(root)
    found = {path: dvc_hash(root / path) for path in paths}
    recorded = {path: recorded_hashes(root, makers[path]).get(path) for path in found}
    differ = [path for path in found if found[path] is None or found[path] != recorded[path]]
    if differ:
        lines = [
            f"  - {path} is {found[path] or 'not there'}, {makers[path]} made {recorded[path] or 'nothing yet'}"
            for path in differ
        ]
        # DVC looks into those objects of its cache that can be written to, and throws damaged ones away.
        mend = 'Let DVC check its cache and mend what is damaged:  chmod -R u+w "$(dvc cache dir)" && dvc repro'
        is_altered = any(found[path] and recorded[path] for path in differ)
        raise WorkspaceError(
            "\n".join(["data is not what the pipeline made", *lines]),
            where=f"in {root}, by the hashes in dvc.lock; nothing was computed from it.",
            todo=mend if is_altered else "Make it:  dvc repro",
        )


def _makers(root: Path) -> dict[str, str]:
    """Path -> the stage that makes it, of every output in dvc.yaml."""
    return {
        out if isinstance(out, str) else next(iter(out)): stage
        for stage, entry in _read(root / "dvc.yaml").get("stages", {}).items()
        for kind in ("outs", "metrics", "plots")
        for out in entry.get(kind, [])
    }


def is_conf_as_recorded(root: Path) -> bool:
    """True when conf/ is what the `config` stage saw when it last ran."""
    return dvc_hash(root / "conf", INFRA) == recorded_hashes(root, "config").get("conf", "never ran")


def is_params_as_recorded(root: Path) -> bool:
    """True when params.yaml is what the `config` stage left when it last ran."""
    return dvc_hash(root / "params.yaml") == recorded_hashes(root, "config").get("params.yaml", "never ran")
