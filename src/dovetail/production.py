"""Which version is in production, and whether it may be: the aliases and the journal held against each other."""

import logging
from typing import Any

from dovetail.contracts.journal import APPROVE, CHAMPION, REGISTER, History, shown
from dovetail.errors import ModelUnavailableError, NoChampionError
from dovetail.lineage import MODEL_FILES, RECALLED, REVIEW
from dovetail.settings.arguments import Approve, Reject
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_registry
from dovetail.tools.model_registry import ModelVersion

log = logging.getLogger(__name__)


def look(client: Any, workspace: Workspace, name: str) -> History:
    """The journal, with every move of an alias entered, also by others; what is wrong with it or the champion is said.

    Whoever looks at an alias begins with this.
    """
    history = _entered(client, workspace, name)
    version = model_registry.find_alias(client, name, CHAMPION)
    if version and (objection := objection_to(version, history)):
        log.warning("THE CHAMPION, %s, %s", version, objection)
    return history


def _entered(client: Any, workspace: Workspace, name: str) -> History:
    history = journal.look(client, workspace.profile.mlflow, name)
    for flaw in history.flaws:
        log.warning("journal of %s: %s; see:  python -m dovetail history", name, flaw)
    return history


def objection_to(version: ModelVersion, history: History) -> str | None:
    """Why the version may not be used as champion, as a part of a sentence; None when it may."""
    return recall_of(version, history) or history.objection(version.key)


def recall_of(version: ModelVersion, history: History) -> str | None:
    """By whom and why the version was recalled, as a part of a sentence; None when it was not.

    Its own mark and the journal both know it: losing one of them does not bring it back.
    """
    if line := history.recall_of(version.key):
        return f"was recalled at {line.at} by {line.who}: {line.why}"
    return f"was recalled at {version.tags[RECALLED]}" if RECALLED in version.tags else None


def require_usable(version: ModelVersion, history: History) -> None:
    """Nothing, unless the version was recalled.

    Raises:
        ModelUnavailableError: it is out of use for good.
    """
    if recalled := recall_of(version, history):
        raise ModelUnavailableError(
            f"{version} {recalled}",
            where="by the journal in MLflow; a recalled version is out of use for good, whatever alias it has.",
            todo="See all of it:  python -m dovetail history",
        )


def champion(client: Any, settings: Pipeline, workspace: Workspace) -> ModelVersion:
    """The version in production, when it may predict.

    Raises:
        NoChampionError: there is none; the message says what became of the last one.
        ModelUnavailableError: it was recalled, or never passed the gate, and `usecase.scoring.ungated` is `refuse`.
    """
    name = settings.usecase.name
    history = _entered(client, workspace, name)
    version = model_registry.find_alias(client, name, CHAMPION)
    if version is None:
        raise _without_champion(client, name, history)
    require_usable(version, history)
    objection = history.objection(version.key)
    if objection and settings.usecase.scoring.ungated == "refuse":
        raise ModelUnavailableError(
            f"{version} is the champion and {objection}",
            where=f"in the model registry, on '{name}': somebody gave it the alias, and not `promote`.",
            expected="Let the gate decide (python -m dovetail promote), or allow it: usecase.scoring.ungated: warn.",
            todo="Or go back to the last good one:  python -m dovetail rollback reason='…'",
        )
    if objection:
        log.warning("THE CHAMPION, %s, %s", version, objection)
    return version


def _without_champion(client: Any, name: str, history: History) -> NoChampionError:
    """The error that tells a champion that was taken away from one that there never was."""
    line = history.positions().get(CHAMPION)
    if line is None:
        return model_registry.without_alias(client, name, CHAMPION)
    return NoChampionError(
        f"the alias '{CHAMPION}' of model '{name}' is gone; it was at version {shown(line.before)}",
        where=f"in the model registry: {line.why} (line {line.number} of the journal, {line.at}).",
        todo="Bring the last good one back:  python -m dovetail rollback reason='…'",
    )


def review(settings: Pipeline, workspace: Workspace, act: str, arguments: Approve | Reject) -> tuple[ModelVersion, str]:
    """Enter a person's word on a version; returns the version and who it was.

    Raises:
        WorkspaceError: git does not know who says so.
        ModelUnavailableError: there is no such version, it was recalled, or nobody knows its files.
    """
    who, name = git.identity(workspace.root), settings.usecase.name
    client = experiments.connect(workspace.profile.mlflow)
    look(client, workspace, name)
    version = model_registry.get_version(client, name, arguments.version)
    _, digest = version.key
    if not digest:
        raise ModelUnavailableError(
            f"{version} has no manifest of its files: nobody knows what would be judged",
            where=f"its tag {MODEL_FILES} is missing: `register` did not make it.",
            todo="Register it by the pipeline:  dvc repro",
        )
    with journal.turn(client, workspace.profile.mlflow, name) as turn:
        require_usable(version, turn.history)
        made = turn.history.last(REGISTER, version.key)
        evidence = {"trained by": "the same person"} if made and made.who == who else {}
        line = turn.write(act=act, after=version.version, who=who, why=arguments.reason, evidence=evidence)
    said = f"{'approved' if act == APPROVE else 'rejected'} at {line.at} by {who}: {arguments.reason}"
    model_registry.annotate(client, version, tags={REVIEW: said})
    return version, who
