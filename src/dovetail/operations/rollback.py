"""Back to an earlier champion, after it was checked that it still works."""

import logging
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dovetail import prediction, production
from dovetail.contracts.journal import CHAMPION, ROLLBACK, History
from dovetail.errors import ModelUnavailableError, TrackingError
from dovetail.files import read_parquet
from dovetail.settings.arguments import Rollback
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_registry
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.model_registry import ModelVersion

log = logging.getLogger(__name__)
N_SMOKE_ROWS = 200


def rollback(settings: Pipeline, workspace: Workspace, arguments: Rollback) -> None:
    """Make an earlier champion the champion again: the one that is named, or the last good one by the journal.

    First its files are verified and loaded, its features compared with those of now, and the newest rows scored. The
    version that is left is not promoted again until somebody approves it.

    Raises:
        WorkspaceError: git does not know who goes back, or the data for the trial is not here.
        ModelUnavailableError: there is no earlier one, it never passed the gate or was recalled, or it does not work.
        FeatureError: its features do not mean any more what they did.
        TrackingError: somebody moved the champion meanwhile.
    """
    who, name = git.identity(workspace.root), settings.usecase.name
    client = experiments.connect(workspace.profile.mlflow)
    history = production.look(client, workspace, name)
    present = model_registry.find_alias(client, name, CHAMPION)
    target = _target(client, name, arguments.to, present, history)
    log.info("go back from %s to %s?", present or "no champion", target)
    evidence = _tried(settings, workspace, target)
    with journal.turn(client, workspace.profile.mlflow, name) as turn:
        if turn.aliases.get(CHAMPION) != (present.version if present else None):
            raise TrackingError(
                "somebody else moved the champion in the meantime",
                where=f"in the model registry, on '{name}': it is at {turn.aliases.get(CHAMPION)} now.",
                todo="See what happened, and decide again:  python -m dovetail history",
            )
        _require_good(target, turn.history)
        turn.move(CHAMPION, target.version, act=ROLLBACK, who=who, why=arguments.reason, evidence=evidence)
    log.info("%s is the champion again", target)


def _target(client: Any, name: str, number: int | None, present: ModelVersion | None, history: History) -> ModelVersion:
    if number is None:
        good = history.last_good(present.key if present else None)
        if good is None:
            raise ModelUnavailableError(
                "there is no earlier good champion to go back to",
                where=f"in the journal of '{name}': no other version was champion by the gate, and still counts.",
                todo="See all of it, and name one by to=…:  python -m dovetail history",
            )
        number = good[0]
    target = model_registry.get_version(client, name, number)
    if present and target.version == present.version:
        raise ModelUnavailableError(
            f"{target} is the champion already",
            where=f"in the model registry, on '{name}'.",
            todo="See the others:  python -m dovetail history",
        )
    _require_good(target, history)
    return target


def _require_good(target: ModelVersion, history: History) -> None:
    production.require_usable(target, history)
    if not history.has_passed(target.key):
        raise ModelUnavailableError(
            f"{target} never passed the gate, by the journal: there is no way back to it",
            where="in the model registry; another model may have had its number.",
            todo="See which did:  python -m dovetail history",
        )


def _tried(settings: Pipeline, workspace: Workspace, target: ModelVersion) -> dict[str, str]:
    """What was seen when the version was tried, for the journal."""
    model = prediction.load(target)
    definitions = load_definitions(workspace.root / "feature_repo", settings.usecase.name)
    prediction.require_same_meaning(target, definitions, settings)
    rows = _newest(read_parquet(workspace.read("data/label_rows.parquet")))
    said = prediction.predict(model, settings, workspace, definitions, rows)
    log.info("%s is whole, its features mean what they did, and it predicts %d rows", target, len(said))
    return {
        "files": "as registered",
        "features": "as trained on",
        "trial": f"{len(said)} newest rows: {said.min():.3f} to {said.max():.3f}, mean {said.mean():.3f}",
    }


def _newest(rows: pa.Table) -> pa.Table:
    order = pc.sort_indices(rows, sort_keys=[("event_timestamp", "descending")])
    return rows.take(order[:N_SMOKE_ROWS])
