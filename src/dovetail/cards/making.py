"""The card of one version: gathered, and put where people look.

What cannot be had is `Unknown` on the card, with the reason; gathering fails for nothing that is lost.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dovetail.cards import judgement, origins, training_data
from dovetail.cards.sides import EVALUATION_FILE, Side
from dovetail.contracts.journal import History, Key
from dovetail.files import read_json, write_text
from dovetail.lineage import IMPORTANCES_FILE, PROMOTION_FILE
from dovetail.pages.card import page
from dovetail.pages.records import Card, Importance, Unknown, Word
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, journal, model_registry
from dovetail.tools.model_registry import CHAMPION, ModelVersion

CARD_FILE = "card.html"
FOLDER = "reports/cards"


def gather(
    client: Any,
    settings: Pipeline,
    workspace: Workspace,
    version: ModelVersion,
    record: Mapping[str, Any],
    history: History,
    *,
    needs_approval: bool,
    at: datetime,
) -> Card:
    """All that the card shows of a version that the gate was asked about.

    Nothing is changed, but that DVC's cache gets the champion's training data from the remote, if it lacks it.

    Args:
        record: What the gate kept about it, as its file has it.
        history: The journal of the registered model.
        at: When it is made.
    """
    own = Side.of(version)
    evaluation = own.documents[EVALUATION_FILE]
    champion = _champion(client, record)
    rival = Side.of(champion) if isinstance(champion, ModelVersion) else None
    lost = champion if isinstance(champion, Unknown) else Unknown("there is no champion to compare with")
    holder = model_registry.find_alias(client, version.name, CHAMPION)
    return Card(
        name=version.name,
        version=version.version,
        champion=record["champion"],
        is_champion=holder is not None and holder.version == version.version,
        needs_approval=needs_approval,
        judged=judgement.judged(record, evaluation),
        warnings=tuple(origins.warnings(own)),
        metrics=judgement.metrics(record, evaluation),
        slices=judgement.slices(record),
        calibration=judgement.calibration(record),
        behaviour=judgement.behaviour(record),
        drift=training_data.drift(own, rival, settings.usecase, workspace) if rival else lost,
        importances=_importances(own, rival),
        facts=tuple(origins.facts(own, rival, workspace)),
        changes=origins.changes(own, rival) if rival else lost,
        words=_words(history, version.key),
        at=at,
    )


def promoted(card: Card, history: History, key: Key) -> Card:
    """The card of a version that has become the champion meanwhile."""
    return replace(card, is_champion=True, words=_words(history, key))


def remake(settings: Pipeline, workspace: Workspace, version: ModelVersion) -> None:
    """The card anew, after somebody has said something about the version; nothing when the gate never judged it."""
    with tempfile.TemporaryDirectory(prefix="dovetail-card-") as folder:
        path = model_registry.fetch_evidence(version, PROMOTION_FILE, Path(folder))
        record = read_json(path) if path else None
    if record is None:
        return
    client = experiments.connect(workspace.profile.mlflow)
    history = journal.look(client, workspace.profile.mlflow, version.name)
    needs_approval = workspace.profile.approval == "required"
    at = datetime.now(UTC)
    card = gather(client, settings, workspace, version, record, history, needs_approval=needs_approval, at=at)
    put(client, workspace, version, card)


def place(version: ModelVersion) -> str:
    """Where `put` writes the card, from the checkout."""
    return f"{FOLDER}/{version.name}_{version.version}.html"


def put(client: Any, workspace: Workspace, version: ModelVersion, card: Card) -> None:
    """Write the page to its place, and attach it to the version's run; what was there is replaced."""
    text = page(card)
    write_text(text, workspace.root / place(version))
    experiments.attach(client, version.run_id, text, CARD_FILE)


def link(client: Any, version: ModelVersion) -> str:
    """The link to the card for a description in MLflow, in Markdown; it starts with #, so it holds at any address."""
    return f"[Model card](#{experiments.artifact_page(client, version.run_id, CARD_FILE)})"


def _words(history: History, key: Key) -> tuple[Word, ...]:
    """What the journal says about the version, and nobody altered."""
    return tuple(
        Word(line.at, line.who, line.act, line.why) for line in history.lines if line.counts and line.key == key
    )


def _champion(client: Any, record: Mapping[str, Any]) -> ModelVersion | Unknown | None:
    """The version that the gate compared with, if it is still that one; None when there was none."""
    if record["champion"] is None:
        return None
    name, _, number = record["champion"].rpartition(" version ")
    found = model_registry.find_version(client, name, int(number))
    if found is None or found.run_id != record["champion_run_id"]:
        return Unknown(f"{record['champion']} is no longer in the model registry")
    return found


def _importances(own: Side, champion: Side | None) -> tuple[Importance, ...] | Unknown:
    found = own.documents[IMPORTANCES_FILE]
    if isinstance(found, Unknown):
        return found
    others = champion.documents[IMPORTANCES_FILE] if champion else {}
    others = {} if isinstance(others, Unknown) else others
    nothing: dict[str, Any] = {}
    return tuple(
        Importance(
            name,
            found.get(name, nothing).get("auc_lost"),
            found.get(name, nothing).get("deviation", 0.0),
            others.get(name, nothing).get("auc_lost"),
        )
        for name in dict.fromkeys([*found, *others])
    )
