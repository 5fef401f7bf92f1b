"""What can be looked at when a model's links are checked: each data version and document is looked at once."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from dovetail.contracts.model_folders import from_tag
from dovetail.errors import DataVersionError, WorkspaceError
from dovetail.files import sha256
from dovetail.lineage import EVALUATED_PREFIX, EVIDENCE, GATE_RECORD, INPUT_PREFIX
from dovetail.provenance import NOT_CHECKED, VERIFIED, Check, Verdict, differs, same, unknown
from dovetail.settings.dvc_files import dvc_hash
from dovetail.tools import data_versions, git, mlflow_records
from dovetail.tools.mlflow_records import Records, Run, Version

_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Subject:
    """A model that is traced: a version, the run that made it, or both; at least one is there."""

    version: Version | None
    run: Run | None

    @property
    def tags(self) -> Mapping[str, str]:
        """What was recorded: on the version, or on the run of a model that was never registered."""
        record = self.version or self.run
        return record.tags if record else {}

    def tagged(self, prefix: str) -> dict[str, str]:
        """The tags that start so, by what comes after it: path -> hash."""
        return {key.removeprefix(prefix): value for key, value in self.tags.items() if key.startswith(prefix)}

    @property
    def run_id(self) -> str:
        """The id of the run, which may be lost."""
        return self.version.run_id if self.version else self.run.run_id if self.run else ""


@dataclass(frozen=True)
class Document:
    """A file of a run.

    `path` is None when it is lost, or elsewhere and not asked for. `check` says whether it is the one that was
    registered; `says` is what JSON and YAML hold, empty when it is another one.
    """

    path: Path | None
    check: Check
    says: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Where to look, and whether to compute again what was recorded.

    Attributes:
        root: The checkout.
        predictions: The folder of the prediction logs, one below it for each registered model.
        records: MLflow's.
        verify: False: nothing is checked.
        folder: For copies of what lies elsewhere.
    """

    root: Path
    predictions: Path
    records: Records
    verify: bool
    folder: Path
    _data: dict[tuple[str, str], Check] = field(default_factory=dict)

    @cached_property
    def cache(self) -> Path:
        """DVC's cache."""
        return data_versions.cache_folder(self.root)

    @cached_property
    def lock(self) -> dict[str, str]:
        """Path -> hash of every output that this workspace's dvc.lock records; empty when it says nothing."""
        path = self.root / "dvc.lock"
        return _outputs(path.read_bytes()) if path.exists() else {}

    @cached_property
    def versions(self) -> list[Version]:
        """All versions of all registered models."""
        return self.records.versions()

    def subjects(self, versions: Sequence[Version]) -> list[Subject]:
        """The versions, each with its run."""
        runs = self.records.runs(version.run_id for version in versions)
        return [Subject(version, runs.get(version.run_id)) for version in versions]

    def subjects_of(self, run_ids: Iterable[str]) -> list[Subject]:
        """The versions that were made of the runs, the newest first, then the runs that were not registered."""
        wanted = list(dict.fromkeys(run_ids))
        registered = [version for version in self.versions if version.run_id in wanted]
        others = [run_id for run_id in wanted if run_id not in {version.run_id for version in registered}]
        newest = sorted(registered, key=lambda version: (version.name, -version.version))
        return self.subjects(newest) + [Subject(None, run) for run in self.records.runs(others).values()]

    def data_of(self, tags: Mapping[str, str]) -> dict[str, str]:
        """Path -> hash of every data version that a run or version names."""
        prefixes = (INPUT_PREFIX, EVALUATED_PREFIX)
        return {
            key.removeprefix(start): value for start in prefixes for key, value in tags.items() if key.startswith(start)
        }

    def files(self, path: str, md5: str) -> dict[str, str]:
        """Path -> hash of the files in a folder; empty for a file, and for a folder that the cache has lost."""
        if not md5.endswith(".dir"):
            return {}
        try:
            return data_versions.files(self.cache, path, md5)
        except DataVersionError:
            return {}

    def lock_at(self, commit: str) -> dict[str, str]:
        """Path -> hash of every output that the commit's dvc.lock records; empty when it says nothing."""
        try:
            return _outputs(git.show(self.root, commit, "dvc.lock"))
        except WorkspaceError:
            return {}

    def checked(self, look: Callable[[], Check]) -> Check:
        """What the look finds, if somebody wants to know."""
        return look() if self.verify else NOT_CHECKED

    def document(self, subject: Subject, name: str) -> Document:
        """A file of the subject's run, held against what was sealed when the version was registered or judged.

        One that is not as it was says nothing. What lies in another place than on this machine is brought only to be
        checked.
        """
        if subject.run is None:
            return Document(None, self.checked(lambda: unknown("the run is lost, and its files with it")))
        if not self.verify and mlflow_records.local_path(subject.run.artifacts) is None:
            return Document(None, NOT_CHECKED)
        path = mlflow_records.fetch(subject.run.artifacts, name, self.folder / subject.run_id)
        sealed = (from_tag(subject.tags.get(EVIDENCE)) | from_tag(subject.tags.get(GATE_RECORD))).get(name)
        seal = _seal(path, name, sealed)
        is_trusted = path is not None and seal.verdict is not Verdict.DIFFERS
        return Document(path, self.checked(lambda: seal), _read(path) if path and is_trusted else {})

    def data(self, path: str, md5: str) -> Check:
        """Whether a data version still is what its hash says: in the cache, and here if it is what lies here."""
        if (path, md5) not in self._data:
            self._data[path, md5] = self.checked(lambda: self._look_at(path, md5))
        return self._data[path, md5]

    def _look_at(self, path: str, md5: str) -> Check:
        damages = data_versions.damages(self.cache, {path: md5})
        found = dvc_hash(self.root / path)
        remote = "" if data_versions.has_remote(self.root) else "dvc remote add --default NAME URL && "
        fetch = f"{remote}dvc fetch --all-commits {path}"
        changed = next((damage for damage in damages if damage.found), None)
        if changed:
            bring = f"Bring it back:  rm -f {changed.place} && {fetch}"
            todo = f"The workspace still has it:  install -m 444 {path} {changed.place}" if found == md5 else bring
            return differs(
                f"recorded {changed.recorded}, found {changed.found} in DVC's cache at {changed.place}", todo
            )
        if damages and found != md5:
            return unknown("is neither in DVC's cache nor in the workspace", f"Bring it back:  {fetch}")
        if found and found != md5 and self._belongs_here(path, md5):
            todo = f"Bring it back:  dvc checkout --force {path}"
            return differs(f"recorded {md5}, found {found} in the workspace at {self.root / path}", todo)
        return VERIFIED

    def _belongs_here(self, path: str, md5: str) -> bool:
        """Whether dvc.lock says that the workspace holds this data version, and no other of the same path."""
        folder = next((parent for parent in self.lock if path.startswith(f"{parent}/")), None)
        if folder is None:
            return self.lock.get(path) == md5
        return self.files(folder, self.lock[folder]).get(path) == md5


def _outputs(lock: bytes) -> dict[str, str]:
    try:
        return {name: md5 for outs in data_versions.outputs(lock).values() for name, md5 in outs.items()}
    except DataVersionError:  # a model is not worse for it; `doctor` says it
        return {}


def _seal(path: Path | None, name: str, sealed: str | None) -> Check:
    if path is None:
        return unknown(f"{name} is not among the files of the run")
    if sealed is None:
        return unknown(f"{name} was never sealed: nobody can say whether it is as it was")
    return same(sealed, sha256(path), f"in {path}")


def _read(path: Path) -> Mapping[str, Any]:
    """What a JSON or YAML file holds: JSON is YAML, but read faster as what it is."""
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_bytes())
        elif path.suffix == ".yaml":
            content = yaml.load(path.read_bytes(), _YAML)  # noqa: S506 - a safe one
        else:
            content = None
    except (ValueError, yaml.YAMLError):
        content = None
    return content if isinstance(content, dict) else {}
