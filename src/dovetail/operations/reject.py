"""A person's no to a version, in the journal."""

import logging

from dovetail import production
from dovetail.cards import making
from dovetail.contracts.journal import REJECT
from dovetail.settings.arguments import Reject
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace

log = logging.getLogger(__name__)


def reject(settings: Pipeline, workspace: Workspace, arguments: Reject) -> None:
    """Enter who rejects the version, and why; it is not promoted until somebody approves it.

    It moves no alias: a version that is champion stays champion until a `rollback`.

    Raises:
        WorkspaceError: git does not know who rejects.
        ModelUnavailableError: there is no such version, it was recalled, or nobody knows its files.
    """
    version, who = production.review(settings, workspace, REJECT, arguments)
    making.remake(settings, workspace, version)
    log.info("%s is rejected by %s; it is not promoted until somebody approves it", version, who)
