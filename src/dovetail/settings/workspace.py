"""Where a step works: the checkout it stands in, the checkout it belongs to, and where it may write."""

import os
from dataclasses import dataclass
from pathlib import Path

from dovetail.errors import SettingsError, WorkspaceError
from dovetail.settings.schema import Profile


@dataclass(frozen=True)
class Workspace:
    """Where a step reads and writes.

    Attributes:
        root: The checkout the step stands in; in a queued experiment DVC's temporary copy.
        home: The checkout it belongs to, also from such a copy: databases and stores live here.
        out: Where outputs go: `root` inside a stage, the run's own folder by hand and in a sweep.
        profile: Where to compute and store.
        is_stage: True when DVC runs the step and takes what it writes as its outputs.
    """

    root: Path
    home: Path
    out: Path
    profile: Profile
    is_stage: bool

    def read(self, path: str) -> Path:
        """A file of the pipeline: DVC's own, also when the step runs by hand."""
        return self.root / path

    def write(self, path: str) -> Path:
        """Where to write an output: DVC's inside a stage, else beside the run's records; its parents are made."""
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


def find_root() -> Path:
    """The checkout around the current folder: the nearest folder, upward, that holds dvc.yaml.

    It starts from the current folder and not from this file, since DVC runs queued experiments in a copy of the
    repository, while an editable install keeps pointing at the original.

    Raises:
        WorkspaceError: there is no dvc.yaml, no git repository, or no DVC in it.
        SettingsError: dovetail was imported from another checkout.
    """
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / "dvc.yaml").exists()), None)
    if root is None:
        raise WorkspaceError(
            "no dvc.yaml here or in any folder above",
            where=f"in {here}.",
            todo="Go to a checkout of the project, or make one:  git init && dvc init",
        )
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        raise WorkspaceError(
            "no git repository", where=f"in {root}; DVC needs one.", todo="Make one:  git init && dvc init"
        )
    if not (root / ".dvc").is_dir():
        raise WorkspaceError("DVC is not set up", where=f"in {root}: .dvc is missing.", todo="Set it up:  dvc init")
    _check_code(root)
    return root


def find_home(root: Path) -> Path:
    """The checkout that `root` belongs to: itself, or the original of the copy that DVC made for an experiment."""
    return Path(os.environ.get("DVC_ROOT", root))


def current_stage() -> str:
    """The stage that DVC is running in this process, empty when it was started by hand."""
    return os.environ.get("DVC_STAGE", "")


def experiment_name() -> str:
    """DVC's name of the experiment that it is running, empty outside `dvc exp run`."""
    return os.environ.get("DVC_EXP_NAME", "")


def is_experiment() -> bool:
    """True inside `dvc exp run`, which has composed params.yaml from conf/ and its -S overrides by itself."""
    return "DVC_EXP_NAME" in os.environ


def _check_code(root: Path) -> None:
    """Stops a command whose code is not the checkout's own.

    Without it, a queued experiment runs the code of the original checkout, and DVC records it as the copy's.
    """
    running, expected = Path(__file__).resolve().parents[1], (root / "src" / "dovetail").resolve()
    if expected.is_dir() and running != expected:
        raise SettingsError(
            "dovetail was imported from another checkout",
            where=f"from {running},",
            expected=f"but this command is for {expected}.",
            todo="Put PYTHONPATH=src in front of it (in dvc.yaml: of the stage's cmd).",
        )
