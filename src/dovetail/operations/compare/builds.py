"""What a point's pipeline makes of a data version: its rows and, where it is asked for, its model."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dovetail.errors import LineageError, WorkspaceError
from dovetail.files import read_json, read_parquet, sha256, write_text
from dovetail.lineage import MODEL_SHA256, TRAINED_UNTIL
from dovetail.operations.compare.points import MAKE_ROWS, RAW, TRAINED_ON, Point
from dovetail.settings.dvc_files import recorded_hashes
from dovetail.settings.schema import Label
from dovetail.settings.workspace import Workspace
from dovetail.tools import data_versions, git, model_files, model_registry, sandbox
from dovetail.tools.model_registry import ModelVersion

log = logging.getLogger(__name__)
# The others ask whether `config` has run.
_ROWS = ("config", *MAKE_ROWS)


@dataclass(frozen=True, eq=False)
class Build:
    """One recipe's work on one data version.

    Args:
        rows: The labelled rows of the holdout and after it, by label key, in the order of time.
        learned: The keys that a model trained on it learns from.
        hashes: Path -> DVC's hash, of the raw data and of what a model is trained on.
        params: The settings.
        meaning: What the features mean.
        sources: What `ingest` says of each source.
    """

    rows: pd.DataFrame
    learned: pd.Index
    hashes: Mapping[str, str]
    params: Mapping[str, Any]
    meaning: Mapping[str, Any]
    sources: Mapping[str, Any]

    def has_same_training_set(self, other: "Build") -> bool:
        """Whether a model of the one is trained on the same bytes as a model of the other."""
        return all(self.hashes[path] == other.hashes[path] for path in TRAINED_ON)


@dataclass(frozen=True, eq=False)
class Trained:
    """A model, the SHA-256 of its file, and the moment from which on it has seen no row."""

    model: Any
    sha256: str
    until: datetime


@dataclass(frozen=True)
class Bench:
    """A checkout of a point's code and settings, in which DVC makes what is asked for."""

    point: Point
    workspace: Workspace
    label: Label
    checkout: Path

    def own(self) -> Build:
        """The point's own build: of a version on the data of its tags, of others with all that leads to its model.

        Raises:
            DataVersionError: its raw data is no longer in the cache, nor in the remote.
            LineageError: a version's code gives another training set than the version was trained on.
            WorkspaceError: the pipeline stops.
        """
        if self.point.params:
            self._write(self.point.params)
        raw = self.point.recorded(RAW)
        if self.point.version is None:
            self._fetch_recorded()
            self._bring(["train"], has_own_params=bool(self.point.params))
        else:
            self._place_raw(str(raw))
            self._bring(_ROWS, has_own_params=bool(self.point.params), is_alone=True)
        build = self._read()
        self._require_as_recorded(build)
        return build

    def on(self, data: Build) -> Build:
        """What the point's recipe makes of the raw data of another build.

        Raises:
            WorkspaceError: the pipeline stops.
        """
        self._place_raw(data.hashes[RAW])
        params = _params(self.checkout)
        params["usecase"]["until"] = data.params["usecase"]["until"]
        self._write(params)
        self._bring(_ROWS, has_own_params=True, is_alone=True)
        return self._read()

    def train(self) -> Trained:
        """The model that the point's recipe trains on what is in the checkout; its run is recorded like any other.

        Raises:
            WorkspaceError: the training stops.
        """
        self._bring(["train"], has_own_params=True, is_alone=True)
        return self.trained()

    def trained(self) -> Trained:
        """The model that is in the checkout."""
        path = self.checkout / "models/model.skops"
        until = read_json(self.checkout / "models/run.json")["tags"][TRAINED_UNTIL]
        return Trained(model_files.load_model(path), sha256(path), datetime.fromisoformat(until))

    def _bring(self, stages: Any, *, has_own_params: bool, is_alone: bool = False) -> None:
        sandbox.bring(
            self.checkout,
            stages,
            subject=self.point.title,
            home=self.workspace.home,
            profile=self.workspace.profile.name,
            has_own_params=has_own_params,
            is_alone=is_alone,
        )

    def _write(self, params: Mapping[str, Any]) -> None:
        write_text(yaml.safe_dump(dict(params), sort_keys=False), self.checkout / "params.yaml")

    def _fetch_recorded(self) -> None:
        """What dvc.lock of the point names is brought from the remote; of the raw data nothing may be missing.

        Without it DVC would read the sources again, as they are now.
        """
        lock = self.checkout / "dvc.lock"
        outs = data_versions.outputs(lock.read_bytes()) if lock.exists() else {}
        data_versions.fetch(self.workspace.root, {path: md5 for made in outs.values() for path, md5 in made.items()})
        is_asked = self.point.kind == "revision" and RAW in outs.get("ingest", {})
        if is_asked:
            data_versions.demand(self.workspace.root, {RAW: outs["ingest"][RAW]})

    def _place_raw(self, md5: str) -> None:
        root, target = self.workspace.root, self.checkout / RAW
        data_versions.demand(root, {RAW: md5})
        shutil.rmtree(target, ignore_errors=True)
        data_versions.place(data_versions.cache_folder(root), md5, target)

    def _read(self) -> Build:
        folder = self.checkout / "data/training_set"
        parts = [read_parquet(folder / f"{name}.parquet").to_pandas() for name in ("holdout", "live")]
        rows = pd.concat(parts, ignore_index=True)
        rows = rows[rows[self.label.column].notna()].set_index(self.label.key)
        learned = [
            read_parquet(self.checkout / path, [self.label.key])[self.label.key].to_pylist() for path in TRAINED_ON
        ]
        made = recorded_hashes(self.checkout, "assemble")
        raw = recorded_hashes(self.checkout, "validate")[RAW]
        return Build(
            rows=rows,
            learned=pd.Index([key for part in learned for key in part]),
            hashes={RAW: raw, **{path: made[path] for path in TRAINED_ON}},
            params=_params(self.checkout),
            meaning=read_json(folder / "definition.json")["meaning"],
            sources=read_json(self.checkout / RAW / "manifest.json"),
        )

    def _require_as_recorded(self, build: Build) -> None:
        differ = [path for path in TRAINED_ON if self.point.recorded(path) not in (None, build.hashes[path])]
        if differ:
            raise LineageError(
                f"{self.point.title} cannot be made again: {', '.join(differ)} comes out differently",
                where=f"from commit {self.point.commit[:10]}, with the raw data and settings of its run.",
                expected="It was trained with changes to the code that were not committed as they were.",
                todo=f"See what is known of it:  python -m dovetail trace model={self.point.title.split()[2]}",
            )


@contextmanager
def bench(point: Point, workspace: Workspace, label: Label) -> Iterator[Bench]:
    """The point's bench, gone when the block ends.

    Raises:
        WorkspaceError: nobody knows the point's code, or git cannot check it out.
    """
    if not point.commit:
        raise WorkspaceError(
            f"{point.title} was trained with changes that were never committed: its features cannot be computed again",
            where=f"in {workspace.root}; no commit's dvc.lock has its data either.",
            todo="Train it again from a commit:  git commit -a && dvc repro",
        )
    with git.worktree(workspace.root, point.commit) as checkout:
        if point.files:
            git.fill(checkout, point.files)
        data_versions.share_cache(workspace.root, checkout)
        yield Bench(point, workspace, label, checkout)


def registered(version: ModelVersion) -> Trained:
    """The model of a version, as the registry has it.

    Raises:
        ModelUnavailableError: its files are gone, were changed, or are not safe to load.
    """
    with model_registry.model_file(version) as path:
        model = model_files.load_model(path)
    return Trained(model, version.tags[MODEL_SHA256], datetime.fromisoformat(version.tags[TRAINED_UNTIL]))


def _params(checkout: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((checkout / "params.yaml").read_text(encoding="utf-8")))
