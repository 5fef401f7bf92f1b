"""Models as files (skops): the one module that loads one. No pickle is ever written or read."""

from pathlib import Path
from typing import Any

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from dovetail.contracts.model_folders import TRUSTED_TYPES
from dovetail.errors import ModelUnavailableError
from dovetail.files import replacing


def save_model(model: Any, path: Path) -> None:
    """Write a fitted scikit-learn model to `path`, whole or not at all, and prove that it loads again.

    Raises:
        ModelUnavailableError: the model holds a type that is not on our list.
    """
    with replacing(path) as temporary:
        skops.io.dump(model, temporary)
        _load(temporary, name=path.name)


def load_model(path: Path) -> Any:
    """The scikit-learn model that `save_model` wrote.

    Raises:
        ModelUnavailableError: the file is missing, damaged, or holds a type that is not on our list.
    """
    if not path.exists():
        raise ModelUnavailableError(f"{path.name} is missing", where=f"at {path}", todo="Make it:  dvc repro")
    return _load(path, name=path.name)


def _load(path: Path, *, name: str) -> Any:
    try:
        return skops.io.load(path, trusted=list(TRUSTED_TYPES))
    except UntrustedTypesFoundException as error:
        raise ModelUnavailableError(
            f"{name} holds types that are not trusted: {', '.join(sorted(skops.io.get_untrusted_types(file=path)))}",
            where=f"at {path}",
            expected="Trusted are skops' own types and TRUSTED_TYPES in src/dovetail/contracts/model_folders.py.",
            todo="Do not load it unless you know who wrote it; a new estimator's types are added to that list.",
        ) from error
    except Exception as error:  # a damaged file fails in zipfile, json, numpy or skops, each in its own way
        raise ModelUnavailableError(
            f"{name} cannot be read: {type(error).__name__}: {str(error)[:80]}",
            where=f"at {path}; the file is damaged or no skops file.",
            todo="Restore it:  dvc checkout --force  or make it again:  dvc repro --force train",
        ) from error
