"""Where a version and the champion came from, and what differs between them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dovetail import lineage
from dovetail.cards.sides import CERTIFICATE_FILE, Side
from dovetail.cards.training_data import TRAIN
from dovetail.errors import DovetailError
from dovetail.lineage import INPUT_PREFIX, MEANING_FILE, SETTINGS_FILE
from dovetail.pages.records import Fact, Unknown
from dovetail.settings.workspace import Workspace
from dovetail.tools import data_versions

RAW, VALIDATION = "data/raw", "data/training_set/validation.parquet"


def facts(own: Side, champion: Side | None, workspace: Workspace) -> Iterator[Fact]:
    """One thing after the other that the version came from, and the same of the champion."""
    sides = (own, champion)
    for name, key in (("git commit", lineage.GIT_COMMIT), ("uncommitted changes", lineage.GIT_DIRTY)):
        yield Fact(name, *(_said(side, key) for side in sides))
    yield Fact("data version", *(_said(side, lineage.DATA_VERSION) for side in sides))
    yield from _sources(own, champion, workspace)
    for name, key in (
        ("training part", INPUT_PREFIX + TRAIN),
        ("validation part", INPUT_PREFIX + VALIDATION),
        ("feature service", lineage.FEATURE_SERVICE),
        ("feature definitions", lineage.DEFINITION_HASH),
        ("settings", lineage.SETTINGS_HASH),
        ("environment (requirements.lock)", lineage.ENVIRONMENT_HASH),
        ("trained on the time before", lineage.TRAINED_UNTIL),
    ):
        yield Fact(name, *(_said(side, key) for side in sides))
    yield Fact("split certificate", *(_certificate(side) for side in sides))
    yield Fact("MLflow run", *(side.version.run_id if side else None for side in sides))


def warnings(own: Side) -> Iterator[str]:
    """What a person should not overlook before the version goes to production."""
    if own.tag(lineage.GIT_DIRTY) != "false":
        yield "it was made from files that no commit has: its commit alone does not give this model again."
    for name, document in own.documents.items():
        if isinstance(document, Unknown):
            yield f"of what was sealed with the version, {name} cannot be read: {document.why}."


def _said(side: Side | None, key: str) -> str | None:
    said = side.tag(key) if side else None
    if key == lineage.GIT_DIRTY and said is not None:
        return "none" if said == "false" else "yes: the commit alone does not give this model"
    return said


def _sources(own: Side, champion: Side | None, workspace: Workspace) -> Iterator[Fact]:
    """The hash of each source as it was read, by the listing that DVC's cache has of data/raw."""
    found = [_source_hashes(side, workspace) if side else {} for side in (own, champion)]
    for name in sorted({*found[0], *found[1]}):
        yield Fact(f"source {name}", found[0].get(name), found[1].get(name))
    if not any(found):
        yield Fact("sources", None, None)


def _source_hashes(side: Side, workspace: Workspace) -> dict[str, str]:
    md5 = side.tag(INPUT_PREFIX + RAW)
    if md5 is None:
        return {}
    try:
        listed = data_versions.files(data_versions.cache_folder(workspace.root), RAW, md5)
    except DovetailError:
        return {}
    return {Path(path).stem: each for path, each in listed.items() if path.endswith(".parquet")}


def _certificate(side: Side | None) -> str | None:
    found = side.documents[CERTIFICATE_FILE] if side else None
    if found is None or isinstance(found, Unknown):
        return None
    broken = [check["name"] for check in found["checks"] if not check["holds"]]
    return f"broken: {', '.join(broken)}" if broken else f"holds, {len(found['checks'])} checks"


def changes(own: Side, champion: Side) -> dict[str, tuple[str, ...]]:
    """What differs, by part; what is the same is left out."""
    found = {
        "code": tuple(_code(own, champion)),
        "settings": tuple(_setting_changes(own, champion)),
        "feature definitions": tuple(_definition_changes(own, champion)),
    }
    return {part: lines for part, lines in found.items() if lines}


def _code(own: Side, champion: Side) -> Iterator[str]:
    commits = [side.tag(lineage.GIT_COMMIT) for side in (champion, own)]
    if all(commits) and commits[0] != commits[1]:
        yield f"git diff {str(commits[0])[:12]} {str(commits[1])[:12]} -- src feature_repo requirements.lock"


def _setting_changes(own: Side, champion: Side) -> Iterator[str]:
    before, now = (side.documents[SETTINGS_FILE] for side in (champion, own))
    if isinstance(before, Unknown) or isinstance(now, Unknown):
        yield from _unknown(before, now)
        return
    flat = [dict(_flat(each)) for each in (before, now)]
    for key in dict.fromkeys([*flat[0], *flat[1]]):
        values = [str(each.get(key, "(not there)")) for each in flat]
        if values[0] != values[1]:
            yield f"{key}: {values[0][:80]} -> {values[1][:80]}"


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings by their dotted names."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _unknown(*documents: Mapping[str, Any] | Unknown) -> Iterator[str]:
    for document in documents:
        if isinstance(document, Unknown):
            yield f"unknown: {document.why}"


def _definition_changes(own: Side, champion: Side) -> Iterable[str]:
    if own.tag(lineage.DEFINITION_HASH) == champion.tag(lineage.DEFINITION_HASH):
        return ()
    before, now = (side.documents[MEANING_FILE] for side in (champion, own))
    if isinstance(before, Unknown) or isinstance(now, Unknown):
        return _unknown(before, now)
    # Feast takes seconds to import, and most versions have the champion's definitions.
    from dovetail.tools.feature_store.meaning import differences, listed

    return listed(differences(dict(before), dict(now)))
