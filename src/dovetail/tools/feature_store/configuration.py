"""Feast's configuration: a file beside the feature definitions, which the profile names."""

import os
from pathlib import Path

import yaml
from feast.errors import FeastError, FeastModuleImportError
from feast.repo_config import RepoConfig as RepoConfig
from pydantic import ValidationError

from dovetail.errors import FeatureError


def feast_config(feature_repo: Path, config_file: str, **changes: object) -> RepoConfig:
    """Feast's configuration in `feature_repo/config_file`, its variables filled in, with some values changed.

    Raises:
        FeatureError: the file is missing, or Feast cannot use what it says.
    """
    path = feature_repo / config_file
    try:
        said = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
        config = RepoConfig(**{**said, "repo_path": feature_repo, **changes})
    except FeastModuleImportError as error:
        raise FeatureError(
            f"Feast's configuration needs what cannot be imported: {error.__cause__}",
            where=f"at {path}",
            todo="Install what brings it:  pip install 'dovetail[postgres,redis,spark]'  or correct the type.",
        ) from error
    except (OSError, TypeError, yaml.YAMLError, ValidationError, FeastError) as error:
        raise FeatureError(
            f"Feast's configuration cannot be used: {str(error).splitlines()[0]}",
            where=f"at {path}",
            todo="Correct it, or name another file in conf/profile: feature_store.",
        ) from error
    if config.registry.registry_type == "file" and "://" not in config.registry.path:
        # Feast would look for a relative path in the current folder.
        config.registry.path = str(feature_repo / config.registry.path)
    return config
