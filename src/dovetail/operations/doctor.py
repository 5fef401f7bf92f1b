"""What is in order, what is not, and what to type."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from dovetail import production
from dovetail.contracts.journal import History, shown
from dovetail.errors import DovetailError, ModelUnavailableError, WorkspaceError
from dovetail.files import read_json
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_registry
from dovetail.tools.model_registry import CHALLENGER, CHAMPION

TOOLS = ("dvc", "feast", "mlflow", "evidently", "hydra-core", "duckdb", "scikit-learn")
Findings = Iterator["Finding"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `todo` is empty when it is in order."""

    subject: str
    found: str
    todo: str = ""


def doctor(settings: Pipeline, workspace: Workspace) -> None:
    """Look at the environment, DVC, the sources and MLflow, and print what was found.

    Raises:
        WorkspaceError: something is not in order; the list above says what.
    """
    findings = [
        finding
        for look in (_environment, _repository, _pipeline, _sources, _mlflow)
        for finding in _careful(look, settings, workspace)
    ]
    for finding in findings:
        print(f"{'ok ' if not finding.todo else '-> '} {finding.subject:<12} {finding.found}")
        if finding.todo:
            print(f"{'':16} {finding.todo}")
    wrong = [finding.subject for finding in findings if finding.todo]
    if wrong:
        raise WorkspaceError(
            f"{len(wrong)} of {len(findings)} are not in order: {', '.join(wrong)}",
            where=f"in {workspace.root}",
            todo="Do what stands behind the arrows above.",
        )


def _careful(look: Callable[[Pipeline, Workspace], Findings], settings: Pipeline, workspace: Workspace) -> Findings:
    """The findings; one that cannot be made is a finding too."""
    try:
        yield from look(settings, workspace)
    except DovetailError as error:
        yield Finding(look.__name__.strip("_"), f"{error.what}, {error.where}", error.todo)


def _environment(_: Pipeline, workspace: Workspace) -> Findings:
    is_own = Path(sys.prefix).resolve() == (workspace.home / ".venv").resolve()
    python = f"{sys.version.split()[0]} in {sys.prefix}"
    yield Finding("Python", python, "" if is_own else "Activate the project's own:  . .venv/bin/activate")
    yield Finding("packages", ", ".join(f"{tool} {version(tool)}" for tool in TOOLS))
    free = os.statvfs(workspace.root).f_bavail * os.statvfs(workspace.root).f_frsize / 2**30
    yield Finding("disk", f"{free:.1f} GiB free", "" if free > 2 else "Free some space; a run needs about 1 GiB.")


def _repository(_: Pipeline, workspace: Workspace) -> Findings:
    commit, is_dirty = git.state(workspace.root)
    yield Finding("git", f"{commit[:10]}{', with changes that are not committed' if is_dirty else ''}")


def _pipeline(_: Pipeline, workspace: Workspace) -> Findings:
    declared = yaml.safe_load((workspace.root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    lock = workspace.root / "dvc.lock"
    if not lock.exists():
        yield Finding("DVC", "the pipeline has not run yet", "Run it:  make run")
        return
    try:
        recorded = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"]
    except (yaml.YAMLError, TypeError, KeyError):
        yield Finding("DVC", "dvc.lock is damaged", "Restore it:  git checkout dvc.lock  or make it again:  dvc repro")
        return
    missing = [stage for stage in declared if stage not in recorded]
    found = f"{len(declared) - len(missing)} of {len(declared)} stages have run"
    yield Finding("DVC", found, f"Run {', '.join(missing)}:  dvc repro" if missing else "")


def _sources(_: Pipeline, workspace: Workspace) -> Findings:
    for name, url in workspace.profile.connections.items():
        path = Path(url.removeprefix("sqlite:///"))
        if url.startswith("sqlite:///") and not path.exists():
            yield Finding("source", f"the database '{name}' is not there", "Make it:  make sources")
        else:
            yield Finding("source", f"connection '{name}': {experiments.public_uri(url)}")


def _mlflow(settings: Pipeline, workspace: Workspace) -> Findings:
    mlflow = workspace.profile.mlflow
    client = experiments.connect(mlflow)
    yield Finding("MLflow", experiments.public_uri(mlflow.tracking_uri))
    receipt = workspace.root / "models/run.json"
    if receipt.exists():
        run_id = read_json(receipt)["run_id"]
        experiments.require_run(client, run_id, tracking_uri=mlflow.tracking_uri, receipt="models/run.json")
        yield Finding("receipt", f"run {run_id} is there and complete")
    version = workspace.root / "models/version.json"
    if version.exists():
        yield _version(client, **read_json(version))
    yield from _aliases(client, settings.usecase.name, journal.look(client, mlflow, settings.usecase.name))


def _aliases(client: Any, name: str, history: History) -> Findings:
    """Who is champion and challenger, whether the champion may be, and whether the journal is whole."""
    for alias in (CHAMPION, CHALLENGER):
        holder = model_registry.find_alias(client, name, alias)
        line = history.positions().get(alias)
        objection = production.objection_to(holder, history) if holder and alias == CHAMPION else None
        if objection:
            todo = "Let the gate decide (python -m dovetail promote), or:  python -m dovetail rollback reason='…'"
            yield Finding(alias, f"{holder} {objection}", todo)
        elif holder:
            by = f", by {line.who} at {line.at}" if line else ""
            yield Finding(alias, f"{holder}{by}")
        elif line and alias == CHAMPION:
            found = f"none: it was at version {shown(line.before)}; {line.why}"
            yield Finding(alias, found, "Bring the last good one back:  python -m dovetail rollback reason='…'")
        else:
            yield Finding(alias, "none yet")
    flaws = "; ".join(history.flaws)
    todo = "Look at it:  python -m dovetail history" if flaws else ""
    yield Finding("journal", flaws or f"{len(history.lines)} lines, whole", todo)


def _version(client: Any, *, name: str, version: int, **_: str) -> Finding:
    """Whether MLflow has the version that this workspace made, with its file, as the challenger."""
    found = model_registry.find_version(client, name, version)
    if found is None:
        what = "is lost, though models/version.json names it"
        return Finding("version", f"{name} version {version} {what}", "Make it again:  python -m dovetail mend")
    try:
        with model_registry.model_file(found):
            pass
    except ModelUnavailableError as error:
        return Finding("version", f"{found}: {error.what}", "Make it again:  python -m dovetail mend")
    challenger = model_registry.find_alias(client, name, CHALLENGER)
    if challenger is None or challenger.version != version:
        todo = "Make it so:  python -m dovetail mend"
        return Finding("version", f"{found}, which this workspace made, is not the challenger", todo)
    return Finding("version", f"{found} is there, and its file is whole")
