"""What a model's inputs mean, as one document: the features, how they are computed, the label rows, the request.

Its hash is the same wherever the meaning is; two documents say by view what differs. The document travels with the
training set and the MLflow run, the hash also on the model version, and what it says of each view is kept with the
view in Feast's registry, so that training, scoring and serving can be held against each other.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from feast import FeatureService, FeatureView, OnDemandFeatureView
from feast.base_feature_view import BaseFeatureView
from feast.data_source import DataSource
from feast.entity import Entity

from dovetail.lineage import fingerprint, without_texts
from dovetail.settings.schema import UseCase
from dovetail.tools.feature_store.computation import Module
from dovetail.tools.feature_store.definitions import MAX_FINDINGS, Definitions

# The tag on a view in Feast's registry with what the view means, and on the service with what the service asks.
MEANING_TAG = "dovetail.meaning"
Meaning = dict[str, Any]


def meaning(definitions: Definitions, usecase: UseCase) -> Meaning:
    """What the inputs of the use case's models mean.

    Returns:
        `feature_service` and `views`, which Feast's registry knows as well, `label_rows` and `request`.
    """
    computed = _module(definitions).computation
    return {
        **service_meaning(definitions),
        "label_rows": {"arguments": dict(usecase.label.arguments), "computation": computed("label_rows")},
        "request": list(usecase.request),
    }


def service_meaning(definitions: Definitions) -> Meaning:
    """What the feature service means: which features of which views, and each view with its computation."""
    module = _module(definitions)
    projections = {p.name: p for p in definitions.service.feature_view_projections}
    views = {
        name: view_meaning(view) | {"computation": module.computation("FEATURE_TABLES", name)}
        for name, view in definitions.views.items()
    }
    views |= {
        name: _on_demand_meaning(view) | {"computation": module.computation(_bound_to(definitions, view))}
        for name, view in definitions.on_demand_views.items()
    }
    needed = set(projections).union(*(view.get("views", []) for view in views.values()))
    return {
        "feature_service": _service(definitions.service),
        "views": {name: views[name] for name in sorted(needed & set(views))},
    }


def meaning_hash(document: Meaning) -> str:
    """SHA-256 of what the document says; the texts of computations are for people, and do not count."""
    return fingerprint(without_texts(document))


def differences(old: Meaning, new: Meaning) -> dict[str, list[str]]:
    """What differs, by view; the service, the label rows and the request under their own names.

    A sentence a difference, like `time to live: 1 day, 0:00:00 -> 12:00:00`.
    """
    parts = sorted({*old.get("views", {}), *new.get("views", {})})
    found = {name: list(_changes(old["views"].get(name), new["views"].get(name))) for name in parts}
    for part in ("feature_service", "label_rows", "request"):
        found[part] = list(_changes(old.get(part), new.get(part)))
    return {name: said for name, said in found.items() if said}


def listed(found: Mapping[str, list[str]]) -> list[str]:
    """Differences for people, a line each: the first ten, and how many more."""
    lines = [f"{part}: {said}" for part, all_said in found.items() for said in all_said]
    more = len(lines) - MAX_FINDINGS
    return [*lines[:MAX_FINDINGS], *([f"and {more} more"] if more > 0 else [])]


def view_meaning(view: FeatureView) -> Meaning:
    """What Feast knows of a view: keys, features, time to live in seconds (0 for ever), source."""
    return {
        "keys": {field.name: str(field.dtype) for field in view.entity_columns},
        "features": {field.name: str(field.dtype) for field in view.features},
        "ttl_seconds": (view.ttl or timedelta(0)).total_seconds(),
        "source": _source(view.batch_source),
    }


def _module(definitions: Definitions) -> Module:
    """The module, whose Feast objects are described by what they hold, and not by how they were written."""
    kinds = (Entity, BaseFeatureView, FeatureService, DataSource)
    names = {name for name, value in definitions.namespace.items() if isinstance(value, kinds)}
    on_demand = {name for name in names if isinstance(definitions.namespace[name], OnDemandFeatureView)}
    return Module(definitions.source, frozenset(names - on_demand))


def _bound_to(definitions: Definitions, view: OnDemandFeatureView) -> str:
    return next(name for name, value in definitions.namespace.items() if value is view)


def _service(service: FeatureService) -> Meaning:
    return {
        "name": service.name,
        "views": {
            projection.name_to_use(): {
                "view": projection.name,
                "features": sorted(field.name for field in projection.features),
                "join_key_map": dict(projection.join_key_map),
            }
            for projection in service.feature_view_projections
        },
    }


def _source(source: Any) -> Meaning:
    return {
        "kind": type(source).__name__,
        "path": source.path,
        "timestamp_field": source.timestamp_field,
        "created_timestamp_column": source.created_timestamp_column or None,
        "field_mapping": dict(source.field_mapping or {}),
    }


def _on_demand_meaning(view: OnDemandFeatureView) -> Meaning:
    return {
        "mode": str(view.mode),
        "features": {field.name: str(field.dtype) for field in view.features},
        "views": sorted(view.source_feature_view_projections),
        "request": {name: kind.name for name, kind in view.get_request_data_schema().items()},
    }


SAID = {
    "ttl_seconds": "time to live",
    "created_timestamp_column": "created timestamp",
    "timestamp_field": "event timestamp",
    "join_key_map": "join key map",
    "field_mapping": "field mapping",
}


def _changes(old: Any, new: Any, what: str = "") -> Iterator[str]:
    """The differences of two parts of documents, each named by where it is."""
    if without_texts(old) == without_texts(new):
        return
    is_code = any(isinstance(value, Mapping) and "hash" in value for value in (old, new))
    if isinstance(old, Mapping) and isinstance(new, Mapping) and not is_code:
        for name in dict.fromkeys([*old, *new]):
            inner = " ".join(part for part in (what, SAID.get(name, name)) if part)
            yield from _changes(old.get(name), new.get(name), inner)
        return
    before, after = (_shown(value, what) for value in (old, new))
    if old is None or new is None:
        shown = before if new is None else after
        brief = "" if shown.startswith("{") else f": {shown}"
        yield f"{what} {'is new' if old is None else 'is gone'}{brief}".strip()
    elif is_code:  # whose text begins with its name
        what = what.rpartition(" ")[0]
        yield f"{what}: {before} -> {after}" if before != after else f"{what} changed: {after}"
    else:
        yield f"{what}: {before} -> {after}".removeprefix(": ")


def _shown(value: Any, what: str) -> str:
    if isinstance(value, Mapping) and "hash" in value:
        return str(value["text"])
    if "time to live" in what:
        return str(timedelta(seconds=value)) if value else "for ever"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
