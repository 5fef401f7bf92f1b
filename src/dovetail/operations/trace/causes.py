"""What a model came from, a function a link: what was recorded of it, and how that is checked."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dovetail.errors import DataVersionError, WorkspaceError
from dovetail.files import sha256_of
from dovetail.lineage import (
    COMPLETE,
    DATA_VERSION,
    DEFINITION_HASH,
    ENVIRONMENT_HASH,
    EVALUATED_PREFIX,
    FEATURE_SERVICE,
    GIT_COMMIT,
    GIT_DIRTY,
    INPUT_PREFIX,
    MEANING_FILE,
    PARAMS_FILE,
    SETTINGS_FILE,
    SETTINGS_HASH,
    TRAINED_UNTIL,
    fingerprint,
    without_texts,
)
from dovetail.operations.trace.evidence import Document, Evidence, Subject
from dovetail.provenance import DIGITS, VERIFIED, Check, Link, Verdict, differs, same, unknown
from dovetail.tools import data_versions, git

LOCK_FILE = "requirements.lock"
RAW = "data/raw"
TRAIN = "data/training_set/train.parquet"
MOST = 3


def run(subject: Subject, evidence: Evidence) -> Link:
    """The run in MLflow that made the model."""
    found = subject.run
    said = "lost"
    if found:
        complete = "complete" if found.tags.get(COMPLETE) == "true" else "not complete"
        deleted = ", deleted" if found.is_deleted else ""
        said = f"{found.name}, {found.status}, {complete}{deleted}, {found.started_at:%Y-%m-%d %H:%M} UTC"
    facts = {"run_id": subject.run_id, "status": found.status if found else None}
    return Link("run", subject.run_id, said, facts, evidence.checked(lambda: _check_run(subject)))


def _check_run(subject: Subject) -> Check:
    found, tags = subject.run, subject.tags
    if found is None:
        return unknown("MLflow has not got it any more", "Make the model again:  python -m dovetail mend")
    if found.is_deleted:
        return differs("it was deleted in MLflow", f"Bring it back:  mlflow runs restore --run-id {found.run_id}")
    if found.status != "FINISHED" or found.tags.get(COMPLETE) != "true":
        return differs("it did not end well, or is not complete")
    recorded = {
        *(key for key in tags if key.startswith(("git.", INPUT_PREFIX, "feast."))),
        *(DATA_VERSION, SETTINGS_HASH, ENVIRONMENT_HASH, TRAINED_UNTIL),
    }
    changed = sorted(key for key in recorded if found.tags.get(key) != tags.get(key))
    return differs(f"the run and its version say different things of {', '.join(changed)}") if changed else VERIFIED


def code(subject: Subject, evidence: Evidence) -> Link:
    """The commit, whether it was all of the code, and the packages that were locked at it."""
    commit, is_dirty = subject.tags.get(GIT_COMMIT, ""), subject.tags.get(GIT_DIRTY) != "false"
    found = git.describe(evidence.root, commit) if commit else None
    said = str(found) if found else "not in this repository"
    facts = {"commit": commit or None, "dirty": is_dirty, "subject": found.subject if found else None}
    packages = subject.tags.get(ENVIRONMENT_HASH, "")
    environment = Link(
        "environment",
        packages[:DIGITS],
        LOCK_FILE,
        {"file": LOCK_FILE, "sha256": packages or None},
        evidence.checked(lambda: _check_environment(subject, evidence)),
    )
    return Link(
        "code",
        commit[:DIGITS],
        f"{said}{', and changes that were not committed' if is_dirty else ''}",
        facts,
        evidence.checked(lambda: _check_commit(commit, found is not None, is_dirty)),
        (environment,),
    )


def _check_commit(commit: str, is_there: bool, is_dirty: bool) -> Check:
    if not commit:
        return unknown("no commit was recorded")
    if not is_there:
        return unknown(f"git knows no commit {commit}", "Fetch what there is:  git fetch --all --tags")
    if is_dirty:
        return unknown("files that are not the commit's took part, and nobody kept them", "Commit, then:  dvc repro")
    return VERIFIED


def _check_environment(subject: Subject, evidence: Evidence) -> Check:
    commit = subject.tags.get(GIT_COMMIT, "")
    try:
        content = git.show(evidence.root, commit, LOCK_FILE)
    except WorkspaceError as error:
        return unknown(error.what, error.todo)
    return same(subject.tags.get(ENVIRONMENT_HASH), sha256_of(content), f"in {LOCK_FILE} at {commit[:DIGITS]}")


def data(subject: Subject, evidence: Evidence) -> Link:
    """The data version of each source, of the parts that were learned from, and of the part that was measured on."""
    inputs, measured = subject.tagged(INPUT_PREFIX), subject.tagged(EVALUATED_PREFIX)
    recorded, trained_until = subject.tags.get(DATA_VERSION, ""), subject.tags.get(TRAINED_UNTIL)
    until = evidence.document(subject, PARAMS_FILE).says.get("usecase", {}).get("until")
    said = [
        f"as known at {until}" if until else "",
        f"learned from rows before {trained_until[:10]}" if trained_until else "",
    ]
    return Link(
        "data",
        recorded,
        ", ".join(filter(None, said)),
        {"data_version": recorded or None, "until": until, "trained_until": trained_until},
        evidence.checked(lambda: same(recorded, fingerprint(inputs)[:DIGITS], "over its parts")),
        (
            *(part(path, md5, evidence) for path, md5 in sorted(inputs.items())),
            *(part(path, md5, evidence, "measured on") for path, md5 in sorted(measured.items())),
        ),
    )


def part(path: str, md5: str, evidence: Evidence, role: str = "") -> Link:
    """A data version and its role; of a folder, each of its files is one."""
    facts: dict[str, Any] = {"path": path, "md5": md5}
    if not md5.endswith(".dir"):
        rows = n_rows(data_versions.object_path(evidence.cache, md5))
        said = ", ".join(filter(None, (role, "" if rows is None else f"{rows:,} rows")))
        return Link(path, md5[:DIGITS], said, facts | {"rows": rows}, evidence.data(path, md5))
    try:
        files = data_versions.files(evidence.cache, path, md5)
    except DataVersionError:
        return Link(path, md5[:DIGITS], "a folder", facts, evidence.data(path, md5))
    manifest = _manifest(evidence, files.get(f"{path}/manifest.json"))
    sources = tuple(_source(name, each, manifest, evidence) for name, each in files.items())
    return Link(path, md5[:DIGITS], f"{len(files)} files", facts, evidence.checked(lambda: VERIFIED), sources)


def _source(path: str, md5: str, manifest: Mapping[str, Any], evidence: Evidence) -> Link:
    says = manifest.get(Path(path).stem, {}) if path.endswith(".parquet") else {}
    said = [
        f"{says['rows']:,} rows" if says else "",
        f"{says['first'][:10]} to {says['last'][:10]}" if says.get("first") else "",
        str(says.get("from", ""))[:60],
    ]
    facts = {"path": path, "md5": md5} | {key: says[key] for key in ("rows", "first", "last", "from") if key in says}
    return Link(Path(path).name, md5[:DIGITS], ", ".join(filter(None, said)), facts, evidence.data(path, md5))


def _manifest(evidence: Evidence, md5: str | None) -> dict[str, Any]:
    """What `ingest` said of the sources; empty when the cache has not got it as it was."""
    path = data_versions.object_path(evidence.cache, md5) if md5 else None
    is_whole = path is not None and path.exists() and data_versions.md5_of(path) == md5
    return dict(json.loads(path.read_bytes())) if path and is_whole else {}


def n_rows(path: Path) -> int | None:
    """How many rows a Parquet file says it has; None when it does not say."""
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return None


def split(subject: Subject, evidence: Evidence) -> Link:
    """The certificate of the split, which is about these very parts."""
    document = evidence.document(subject, "split_certificate.json")
    holds, rows = document.says.get("holds"), document.says.get("rows", {})
    counts = ", ".join(f"{name} {n:,}" for name, n in rows.items() if name != "live")
    verdict = "holds" if holds else "does not hold"
    said = f"certificate {verdict}, {len(document.says['checks'])} checks; rows: {counts}" if document.says else ""

    def check() -> Check:
        if document.check != VERIFIED:
            return document.check
        if not holds:
            return differs("the certificate does not hold")
        trained = n_rows(data_versions.object_path(evidence.cache, subject.tagged(INPUT_PREFIX).get(TRAIN, "none")))
        if trained is not None and trained != rows.get("train"):
            return differs(f"it is about {rows.get('train')} training rows, and the training part has {trained}")
        return VERIFIED

    facts = {"file": "split_certificate.json", "holds": holds, "rows": rows or None}
    return Link("split", "", said, facts, evidence.checked(check))


def features(subject: Subject, evidence: Evidence) -> Link:
    """What the model's inputs mean: the feature service, its views, their features."""
    recorded, service = subject.tags.get(DEFINITION_HASH, ""), subject.tags.get(FEATURE_SERVICE, "")
    document = evidence.document(subject, MEANING_FILE)
    views = document.says.get("feature_service", {}).get("views", {})
    n_features = sum(len(view["features"]) for view in views.values())
    return Link(
        "features",
        recorded[:DIGITS],
        f"feature service {service}{f': {n_features} features of {len(views)} views' if views else ''}",
        {"definition_hash": recorded or None, "service": service, "request": document.says.get("request")},
        evidence.checked(lambda: _check_says(document, recorded, lambda: fingerprint(without_texts(document.says)))),
        tuple(
            Link(name, "", _bounded(view["features"]), {"features": view["features"]}) for name, view in views.items()
        ),
    )


def _bounded(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def settings(subject: Subject, evidence: Evidence) -> Link:
    """The settings that training saw."""
    recorded = subject.tags.get(SETTINGS_HASH, "")
    document = evidence.document(subject, SETTINGS_FILE)
    model = dict(document.says.get("model", {}))
    said = [str(model.get("name", "")), *(f"{key} {value}" for key, value in model.items() if key != "name")]
    return Link(
        "settings",
        recorded[:DIGITS],
        ", ".join(said),
        {"settings_hash": recorded or None, "model": model or None},
        evidence.checked(lambda: _check_says(document, recorded, lambda: fingerprint(document.says))),
    )


def _check_says(document: Document, recorded: str, again: Callable[[], str]) -> Check:
    """Whether a document gives the hash that was recorded, and is the one that was sealed, if one was."""
    if document.path is None or document.check.verdict is Verdict.DIFFERS:
        return document.check
    return same(recorded, again(), f"from {document.path.name}")
