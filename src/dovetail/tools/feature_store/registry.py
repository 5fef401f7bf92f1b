"""Feast's feature registry: what is registered, with what it means."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feast import FeatureService, FeatureStore, FeatureView
from feast.errors import FeatureServiceNotFoundException
from feast.feature_view import DUMMY_ENTITY_NAME
from feast.project import Project
from feast.repo_config import RepoConfig
from feast.repo_contents import RepoContents
from feast.repo_operations import extract_objects_for_apply_delete

from dovetail.errors import FeatureError
from dovetail.feature_registry import FeatureRegistryError, exclusive
from dovetail.offline_store import OfflineStoreError
from dovetail.tools.feature_store.definitions import Definitions
from dovetail.tools.feature_store.meaning import (
    MEANING_TAG,
    Meaning,
    differences,
    listed,
    meaning_hash,
    service_meaning,
)

APPLY = "Register the definitions:  python -m dovetail apply"


@contextmanager
def open_store(config: RepoConfig) -> Iterator[FeatureStore]:
    """Feast's store for a configuration; what our plug-ins raise becomes our error.

    Raises:
        FeatureError: the registry is damaged, locked for too long, or changed by someone else meanwhile; or the
            offline store cannot read a source.
    """
    # It tells of each look into the registry.
    logging.getLogger("feast.infra.registry.registry").setLevel(logging.WARNING)
    try:
        yield FeatureStore(config=config)
    except (FeatureRegistryError, OfflineStoreError) as error:
        raise FeatureError(error.what, where=error.where, expected=error.expected, todo=error.todo) from error


@contextmanager
def registry_lock(config: RepoConfig) -> Iterator[None]:
    """Keeps every other writer of a registry file waiting; a registry in a database has locks of its own."""
    if config.registry.registry_type != "file":
        yield
        return
    with exclusive(Path(config.registry.path)):
        yield


def apply(all_definitions: Sequence[Definitions], config: RepoConfig) -> dict[str, list[str]]:
    """Make the registry and the online store's tables what the definitions say; nothing else stays registered.

    Each view and service is registered with what it means, so that whoever reads features can hold it against what
    a model was trained on. Of a view that means something else than before nothing stays online.

    Returns:
        What is registered, which views are online no more, and what was removed: names by kind.

    Raises:
        FeatureError: the registry cannot be read or written; it is as it was.
    """
    for definitions in all_definitions:
        _tag(definitions)
    contents = _contents(all_definitions, config.project)
    with registry_lock(config), open_store(config) as store:
        _, others, _, _ = extract_objects_for_apply_delete(config.project, store.registry, contents)
        gone = [thing for thing in others if thing.name != DUMMY_ENTITY_NAME]
        changed = [view for view in store.list_feature_views() if _means_something_else(view, contents.feature_views)]
        if changed:
            store.apply([], objects_to_delete=changed, partial=False)
        wanted = [thing for objects in contents for thing in objects]
        store.apply(wanted, objects_to_delete=gone, partial=False)
    return {
        "feature views": sorted(view.name for view in (*contents.feature_views, *contents.on_demand_feature_views)),
        "feature services": sorted(service.name for service in contents.feature_services),
        "online no more": sorted(view.name for view in changed),
        "removed": sorted(f"{type(thing).__name__} {thing.name}" for thing in gone),
    }


def _tag(definitions: Definitions) -> None:
    means = service_meaning(definitions)
    for name, view in {**definitions.views, **definitions.on_demand_views}.items():
        view.tags[MEANING_TAG] = json.dumps(means["views"].get(name), sort_keys=True)
    definitions.service.tags[MEANING_TAG] = json.dumps(means["feature_service"], sort_keys=True)


def _means_something_else(registered: FeatureView, wanted: Sequence[FeatureView]) -> bool:
    """Whether a view stays registered under its name, but not with its meaning."""
    said = [
        json.loads(view.tags.get(MEANING_TAG, "null")) for view in (registered, *wanted) if view.name == registered.name
    ]
    return len(said) > 1 and (said[0] is None or meaning_hash(said[0]) != meaning_hash(said[1]))


def _contents(all_definitions: Sequence[Definitions], project: str) -> RepoContents:
    """The definitions of all use cases, as Feast's own commands collect them from a feature repository."""
    objects = [thing for definitions in all_definitions for thing in definitions.objects]
    of_kind = {
        kind: list({thing.name: thing for thing in objects if type(thing).__name__ == name}.values())
        for kind, name in (
            ("entities", "Entity"),
            ("feature_views", "FeatureView"),
            ("on_demand_feature_views", "OnDemandFeatureView"),
            ("feature_services", "FeatureService"),
        )
    }
    sources = {view.batch_source.name: view.batch_source for view in of_kind["feature_views"]}
    none: dict[str, list[Any]] = {kind: [] for kind in ("stream_feature_views", "label_views", "permissions")}
    return RepoContents(projects=[Project(name=project)], data_sources=list(sources.values()), **of_kind, **none)


def registered_meaning(store: FeatureStore, service: str) -> Meaning:
    """What the registered feature service means, as `service_meaning` says it.

    Raises:
        FeatureError: it is not registered, or not by Dovetail, so that nobody can say how its features are computed.
    """
    try:
        found: FeatureService = store.get_feature_service(service)
    except FeatureServiceNotFoundException as error:
        raise FeatureError(
            f"the feature service '{service}' is not registered",
            where=f"in Feast's registry of project '{store.project}'.",
            todo=APPLY,
        ) from error
    projections = {projection.name for projection in found.feature_view_projections}
    registered = [*store.list_feature_views(), *store.list_on_demand_feature_views()]
    views = {view.name: json.loads(view.tags.get(MEANING_TAG, "null")) for view in registered}
    needed = projections.union(*((views.get(name) or {}).get("views", []) for name in projections))
    unknown = sorted(name for name in needed if not views.get(name))
    if unknown or MEANING_TAG not in found.tags:
        raise FeatureError(
            f"nobody can say how registered features are computed: {', '.join(unknown) or service}",
            where=f"in Feast's registry of project '{store.project}': `feast apply` registers views without it.",
            todo=APPLY,
        )
    return {
        "feature_service": json.loads(found.tags[MEANING_TAG]),
        "views": {name: views[name] for name in sorted(needed)},
    }


def require_registered(store: FeatureStore, expected: Meaning, service: str, whose: str) -> None:
    """Nothing, when the registered feature service means what is expected.

    Args:
        store: Feast's store.
        expected: A meaning; of it the service and its views count.
        service: The service's name.
        whose: Who expects it, for the message, like `flights version 3 (champion)`.

    Raises:
        FeatureError: it means something else; each difference is said with its view.
    """
    found = registered_meaning(store, service)
    said = listed(differences(found, {part: expected[part] for part in ("feature_service", "views")}))
    if said:
        raise FeatureError(
            f"the registered features are not those of {whose}" + "".join(f"\n  - {line}" for line in said),
            where=f"in Feast's registry of project '{store.project}'.",
            todo=APPLY,
        )
