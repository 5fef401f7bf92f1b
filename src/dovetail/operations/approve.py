"""A person's yes to a version, in the journal."""

import logging

from dovetail import production
from dovetail.cards import making
from dovetail.contracts.journal import APPROVE
from dovetail.settings.arguments import Approve
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace

log = logging.getLogger(__name__)


def approve(settings: Pipeline, workspace: Workspace, arguments: Approve) -> None:
    """Enter who approves the version, and why; tied to its files, so that no other model under its number is approved.

    It moves no alias. It also overrules a rejection, or a rollback from the version.

    Raises:
        WorkspaceError: git does not know who approves.
        ModelUnavailableError: there is no such version, it was recalled, or nobody knows its files.
    """
    version, who = production.review(settings, workspace, APPROVE, arguments)
    making.remake(settings, workspace, version)
    log.info("%s is approved by %s; promote it:  python -m dovetail promote", version, who)
