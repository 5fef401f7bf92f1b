"""What is compared: two versions or aliases, two git revisions, or two dates of `usecase.until`; and where each is."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from dovetail.errors import SettingsError, TrackingError, WorkspaceError
from dovetail.files import read_json
from dovetail.lineage import (
    DEFINITION_HASH,
    GIT_COMMIT,
    GIT_DIRTY,
    INPUT_PREFIX,
    PARAMS_FILE,
    TRAINED_UNTIL,
    ModelReference,
)
from dovetail.settings.arguments import Compare
from dovetail.settings.composition import compose
from dovetail.settings.dvc_files import (
    dvc_hash,
    is_conf_as_recorded,
    is_params_as_recorded,
    load_params,
    recorded_hashes,
)
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import data_versions, git, model_registry
from dovetail.tools.model_registry import CHALLENGER, CHAMPION, ModelVersion

RAW = "data/raw"
TRAINED_ON = ("data/training_set/train.parquet", "data/training_set/validation.parquet")
# The stages that make a model's rows out of raw data.
MAKE_ROWS = ("validate", "featurize", "assemble")
_NEEDED = (DEFINITION_HASH, GIT_COMMIT, GIT_DIRTY, TRAINED_UNTIL, *(INPUT_PREFIX + path for path in (RAW, *TRAINED_ON)))
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")


@dataclass(frozen=True)
class Point:
    """One end of the comparison, and where its code, settings and data are.

    Args:
        kind: What it was asked for as.
        title: How people call it.
        commit: The commit of its code and definitions; empty when nobody knows: it was never committed.
        files: The revision of its files, where they are not the commit's: a snapshot of the workspace.
        params: Its params.yaml, where it is not the one that its conf/ gives.
        version: The model version that was asked for.
    """

    kind: Literal["version", "revision", "date"]
    title: str
    commit: str
    files: str | None = None
    params: Mapping[str, Any] | None = None
    version: ModelVersion | None = None

    def recorded(self, path: str) -> str | None:
        """DVC's hash of what the version was trained on, by its tags; None for others."""
        return self.version.tags.get(INPUT_PREFIX + path) if self.version else None


def find_points(settings: Pipeline, workspace: Workspace, client: Any, arguments: Compare) -> tuple[Point, Point]:
    """The old and the new point.

    Raises:
        NoChampionError: an alias is not there: nothing was promoted, or nothing registered yet.
        SettingsError: a name is nothing that is known, or the two are not of a kind.
        TrackingError: a version does not say where it came from.
        WorkspaceError: a version's commit is not in this repository.
    """
    old, new = (_find(settings, workspace, client, said) for said in (arguments.old, arguments.new))
    if old.kind != new.kind:
        raise SettingsError(
            f"{old.title} is a {old.kind}, {new.title} is a {new.kind}",
            where=f"on the command line: old={arguments.old} new={arguments.new}",
            expected="Two of a kind: versions or aliases, git revisions, or dates of usecase.until.",
            todo=f"Give both:  python -m dovetail compare old=... new={arguments.new}",
        )
    return old, new


def _find(settings: Pipeline, workspace: Workspace, client: Any, said: str) -> Point:
    if _DATE.fullmatch(said):
        return _date(settings, workspace, said)
    version = _version(settings.usecase.name, client, said)
    if version is not None:
        return _of_version(version, said, workspace)
    try:
        commit = git.resolve(workspace.root, said)
    except WorkspaceError as error:
        raise SettingsError(
            f"'{said[:60]}' is no version, no alias, no git revision and no date",
            where="on the command line of compare.",
            expected=f"The model '{settings.usecase.name}' has {model_registry.listed(client, settings.usecase.name)}.",
            todo="See the revisions:  git log --oneline --all",
        ) from error
    return Point("revision", f"{said} ({commit[:10]})" if not commit.startswith(said) else commit[:10], commit)


def _version(name: str, client: Any, said: str) -> ModelVersion | None:
    """The version that `NAME@ALIAS`, `NAME/VERSION`, an alias or a number names; None when it is none of ours."""
    asked = ModelReference.parse(said, name)
    if asked.name != name:
        return None
    if asked.version is not None:
        return model_registry.find_version(client, name, asked.version)
    if "@" in said or asked.alias in (CHAMPION, CHALLENGER):
        return model_registry.with_alias(client, name, asked.alias)
    return model_registry.find_alias(client, name, asked.alias)


def _of_version(version: ModelVersion, said: str, workspace: Workspace) -> Point:
    missing = [tag for tag in _NEEDED if tag not in version.tags]
    if missing:
        raise TrackingError(
            f"{version} does not say all that a comparison needs: it has no tag {', '.join(missing)}",
            where="in MLflow; an earlier Dovetail registered it, or somebody did by hand.",
            todo="Train and register a model that does:  make run",
        )
    commit, files = _recipe(version, workspace)
    alias = ModelReference.parse(said, version.name).alias
    with tempfile.TemporaryDirectory(prefix="dovetail-compare-") as folder:
        path = model_registry.fetch_evidence(version, PARAMS_FILE, Path(folder))
        params = yaml.safe_load(path.read_text(encoding="utf-8")) if path else None
    return Point("version", f"{version} ({alias})" if alias else str(version), commit, files, params, version)


def _recipe(version: ModelVersion, workspace: Workspace) -> tuple[str, str | None]:
    """The commit, and the revision of the files if another, of the version's code; empty when none is known.

    People train first and commit then: a version that was trained with changes is that of the workspace if it was
    trained here last, else that of the first commit whose dvc.lock has its data. Whatever is found is checked later:
    it must give the same training set again.
    """
    root = workspace.root
    if version.tags[GIT_DIRTY] == "false":
        return git.resolve(root, version.tags[GIT_COMMIT]), None
    receipt = workspace.read("models/run.json")
    if receipt.exists() and read_json(receipt)["run_id"] == version.run_id and _is_code_as_run(root):
        return git.state(root)[0], git.snapshot(root)
    hashes = [version.tags[INPUT_PREFIX + path] for path in (RAW, *TRAINED_ON)]
    for commit in reversed(git.holding(root, hashes[1], "dvc.lock")):
        lock = git.show(root, commit, "dvc.lock")
        if set(hashes) <= {md5 for outs in data_versions.outputs(lock).values() for md5 in outs.values()}:
            return commit, None
    return "", None


def _is_code_as_run(root: Path) -> bool:
    """Whether the code of the stages is what DVC saw when they last ran; definitions are checked by what they give."""
    seen = {path: md5 for stage in (*MAKE_ROWS, "train") for path, md5 in recorded_hashes(root, stage).items()}
    code = {path: md5 for path, md5 in seen.items() if path.startswith("src/")}
    return all(dvc_hash(root / path, ("__pycache__",)) == md5 for path, md5 in code.items())


def _date(settings: Pipeline, workspace: Workspace, said: str) -> Point:
    try:
        until = datetime.fromisoformat(said)
    except ValueError as error:
        raise SettingsError(
            f"'{said[:40]}' is no date: {error}",
            where="on the command line of compare.",
            todo="Write it like 2013-12-01, as usecase.until.",
        ) from error
    start = settings.usecase.split.holdout.start
    if until.replace(tzinfo=until.tzinfo or UTC) <= start:
        raise SettingsError(
            f"until {said} there is no holdout",
            where=f"because usecase.split.holdout starts at {start.isoformat()}.",
            todo="Choose a later date, or move usecase.split in conf/usecase/.",
        )
    root = workspace.root
    is_current = is_conf_as_recorded(root) and is_params_as_recorded(root)
    params = load_params(root) if is_current else compose(root / "conf")
    params["usecase"]["until"] = said
    return Point("date", f"until {said}", git.state(root)[0], git.snapshot(root), params)
