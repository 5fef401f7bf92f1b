"""What the folder of a registered model may hold. The lists are ours: what a folder says of itself decides nothing.

A folder is what `mlflow.sklearn.log_model` writes with skops, and no more: no `code/`, no model from code, no pickle.
Loading what MLflow allows is running code, by design (https://github.com/mlflow/mlflow/pull/23190, 3.17).
"""

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dovetail.files import sha256

MODEL_FILE = "model.skops"
FILES = frozenset(
    {
        "MLmodel",
        "conda.yaml",
        "input_example.json",
        MODEL_FILE,
        "python_env.yaml",
        "requirements.txt",
        "serving_input_example.json",
    }
)
# Beyond what skops itself trusts, what the models of conf/model/ are made of (skops 0.16, scikit-learn 1.9).
# A function wrapped in a partial is only loaded when it is trusted by its own name.
TRUSTED_TYPES = (
    "functools.partial",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
)
# Flavor -> what its keys must say; None is any value, for keys that only inform.
FLAVORS: Mapping[str, Mapping[str, str | None]] = {
    "python_function": {
        "loader_module": "mlflow.sklearn",
        "model_path": MODEL_FILE,
        "predict_fn": "predict_proba",
        "env": None,
        "python_version": None,
    },
    "sklearn": {
        "pickled_model": MODEL_FILE,
        "serialization_format": "skops",
        "sklearn_version": None,
        "skops_trusted_types": None,  # compared with TRUSTED_TYPES
    },
}


def irregular(folder: Path) -> dict[str, str]:
    """Path in the folder -> what it is, for all that is not a file: links are not followed. POSIX paths, sorted."""
    kinds = {path.relative_to(folder).as_posix(): _kind(path) for path in _walk(folder)}
    return {path: kind for path, kind in sorted(kinds.items()) if kind != "file"}


def digests(folder: Path) -> dict[str, str]:
    """The folder's manifest: path -> SHA-256 of a file, or what it is when it is none. POSIX paths, sorted."""
    others = irregular(folder)
    paths = sorted(path.relative_to(folder).as_posix() for path in _walk(folder))
    return {path: others.get(path) or sha256(folder / path) for path in paths}


def differences(manifest: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What was changed, added or removed since the manifest was made, a line each; empty when nothing was."""
    lines = []
    for path in sorted({*manifest, *found}):
        if path not in manifest:
            lines.append(f"{path} was added")
        elif path not in found:
            lines.append(f"{path} is missing")
        elif manifest[path] != found[path]:
            lines.append(f"{path} was changed: SHA-256 {found[path][:12]}…, registered was {manifest[path][:12]}…")
    return lines


def unsafe(folder: Path) -> list[str]:
    """Why the folder may not be loaded, a line each; empty when it may. Of its files only MLmodel is read, as data."""
    others = irregular(folder)
    found = {path.relative_to(folder).as_posix() for path in _walk(folder)}
    lines = [f"{path} is a {kind}" for path, kind in others.items()]
    lines += [f"{path} is not a file that a model consists of" for path in sorted(found - FILES - set(others))]
    lines += [f"{name} is missing" for name in sorted({"MLmodel", MODEL_FILE} - found)]
    return lines or _unsafe_description(folder / "MLmodel")


def to_tag(manifest: Mapping[str, str]) -> str:
    """A manifest as the value of a tag."""
    return json.dumps(dict(sorted(manifest.items())), separators=(",", ":"))


def from_tag(value: str | None) -> dict[str, str]:
    """The manifest in a tag's value; empty when there is none, or it is no manifest."""
    try:
        parsed = json.loads(value or "{}")
    except json.JSONDecodeError:
        return {}
    return {str(path): str(digest) for path, digest in parsed.items()} if isinstance(parsed, dict) else {}


def _unsafe_description(path: Path) -> list[str]:
    try:
        described = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError:
        described = None
    flavors = described.get("flavors") if isinstance(described, dict) else None
    if not isinstance(flavors, dict):
        return ["MLmodel names no flavors"]
    lines = [f"MLmodel has the flavor '{name}'" for name in flavors if name not in FLAVORS]
    for name, allowed in FLAVORS.items():
        says = flavors.get(name)
        lines += _unsafe_flavor(name, says, allowed) if isinstance(says, dict) else [f"MLmodel has no flavor '{name}'"]
    return lines


def _unsafe_flavor(name: str, says: Mapping[str, Any], allowed: Mapping[str, str | None]) -> Iterator[str]:
    # A key without a value is as good as none: MLflow writes `code: null`.
    for key, value in says.items():
        if key not in allowed and value is not None:
            yield f"MLmodel: {name}.{key} is {str(value)[:40]!r}, and is not a key that a model needs"
    for key, must in allowed.items():
        if must is not None and says.get(key) != must:
            yield f"MLmodel: {name}.{key} is {str(says.get(key))[:40]!r}, only {must!r} is loaded"
    trusted = says.get("skops_trusted_types") or []
    for type_name in trusted if isinstance(trusted, list) else [trusted]:
        if type_name not in TRUSTED_TYPES:
            yield f"MLmodel: {name}.skops_trusted_types has {str(type_name)[:60]!r}, which is not on our list"


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, followlinks=False):
        yield from (Path(parent, name) for name in (*folders, *files))


def _kind(path: Path) -> str:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "symlink"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device, socket or pipe"
