"""A version is taken out of use for good."""

import logging

from dovetail import production
from dovetail.cards import making
from dovetail.contracts.journal import CHAMPION
from dovetail.errors import ModelUnavailableError
from dovetail.settings.arguments import Recall
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_registry

log = logging.getLogger(__name__)


def recall(settings: Pipeline, workspace: Workspace, arguments: Recall) -> None:
    """Mark the version, and take its aliases away: nothing scores, promotes or goes back to it any more. Idempotent.

    Raises:
        WorkspaceError: git does not know who recalls.
        ModelUnavailableError: there is no such version, or it is the champion.
    """
    who, name = git.identity(workspace.root), settings.usecase.name
    client = experiments.connect(workspace.profile.mlflow)
    production.look(client, workspace, name)
    version = model_registry.get_version(client, name, arguments.version)
    with journal.turn(client, workspace.profile.mlflow, name) as turn:
        if turn.aliases.get(CHAMPION) == version.version:
            raise ModelUnavailableError(
                f"{version} is the champion, and is not recalled",
                where=f"in the model registry, on '{name}'; nothing was moved.",
                todo="Go back first:  python -m dovetail rollback reason='…'",
            )
        if recalled := production.recall_of(version, turn.history):
            turn.take_aliases(version.version, who=who, why=arguments.reason)
            log.info("%s %s; there is nothing to do", version, recalled)
            return
        turn.recall(version.version, who=who, why=arguments.reason)
    making.remake(settings, workspace, version)
    log.info("%s is out of use, for good", version)
