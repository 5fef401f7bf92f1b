"""The definitions in feature_repo/, registered with Feast: the safe way to `feast apply`."""

import logging

from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools.feature_store import registry
from dovetail.tools.feature_store.configuration import feast_config
from dovetail.tools.feature_store.definitions import load_definitions

log = logging.getLogger(__name__)


def apply(_: Pipeline, workspace: Workspace) -> None:
    """Register what every module of feature_repo/ defines, and make the online store's tables.

    Raises:
        FeatureError: definitions are wrong, or the registry cannot be read or written; it is as it was.
    """
    feature_repo = workspace.root / "feature_repo"
    found = [load_definitions(feature_repo, path.stem) for path in sorted(feature_repo.glob("*.py"))]
    config = feast_config(feature_repo, workspace.profile.feature_store)
    for kind, names in registry.apply(found, config).items():
        if names:
            log.info("%-16s %s", kind, ", ".join(names))
