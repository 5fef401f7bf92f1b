"""The challenger takes the champion's place when the gate finds it better on the same rows, or it does not."""

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from dovetail import gate, production
from dovetail.cards import making
from dovetail.contracts.journal import APPROVE, PROMOTE, REJECT, History, Line
from dovetail.errors import ApprovalRequired, DovetailError, GateRefused, NoChampionError, TrackingError
from dovetail.files import read_json, sha256, write_json
from dovetail.gate import Judgement
from dovetail.lineage import (
    DATA_VERSION,
    GATE_DECISION,
    GATE_MODE,
    GATE_NUMBERS,
    GATE_RECORD,
    GIT_COMMIT,
    PROMOTION_FILE,
)
from dovetail.settings.arguments import Promote
from dovetail.settings.schema import MLflow, Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git, journal, model_registry
from dovetail.tools.model_registry import CHALLENGER, CHAMPION, ModelVersion

log = logging.getLogger(__name__)
RECORD = f"reports/{PROMOTION_FILE}"
MOST = 10


def promote(settings: Pipeline, workspace: Workspace, arguments: Promote) -> None:
    """Let the gate decide on the challenger; its version, its run and its card say how, whatever it decides.

    `usecase.gate.mode` says what follows: `enforce` moves the alias if the challenger passes, `dry_run` moves nothing,
    `off` moves it unjudged. Promotions are one at a time. Where the champion is another one by the time the gate has
    decided, it decides again.

    Raises:
        GateRefused: the challenger is not better, cannot be judged fairly, or was recalled; the champion stays.
        ApprovalRequired: the gate lets it pass, and a person has not approved it, or has rejected it.
        NoChampionError: there is no challenger.
        ModelUnavailableError: a model cannot be loaded, or was recalled.
        TrackingError: the run that made the challenger is lost, or the challenger is not this workspace's.
        WorkspaceError: git does not know who promotes, or the holdout is not what the pipeline made.
    """
    who = git.identity(workspace.root)
    client = experiments.connect(workspace.profile.mlflow)
    needs_approval = "required" in (workspace.profile.approval, arguments.approval)
    while not _is_settled(client, settings, workspace, who, needs_approval=needs_approval):
        log.info("the champion is another one now: the gate decides again")


def _is_settled(client: Any, settings: Pipeline, workspace: Workspace, who: str, *, needs_approval: bool) -> bool:
    """Whether the challenger is the champion now; False when somebody moved the champion while the gate decided."""
    name, mlflow = settings.usecase.name, workspace.profile.mlflow
    history = production.look(client, workspace, name)
    challenger = model_registry.find_alias(client, name, CHALLENGER)
    if challenger is None:
        raise _no_challenger(client, name, workspace, history)
    _require_own(challenger, workspace)
    production.require_usable(challenger, history)
    champion = model_registry.find_alias(client, name, CHAMPION)
    experiments.require_run(client, challenger.run_id, tracking_uri=mlflow.tracking_uri, receipt=str(challenger))
    if champion and champion.version == challenger.version and history.has_passed(challenger.key):
        log.info("%s is the champion already: nothing to promote", challenger)
        return True
    _require_no_veto(challenger, history)

    rival = _rival(client, challenger, champion, history)
    log.info("promote %s over %s?", challenger, rival or "nothing: it is the first")
    judgement = gate.judge(settings, workspace, challenger, rival)
    approval = history.last(APPROVE, challenger.key)
    is_awaited = judgement.promotes and needs_approval and not approval
    kept = _keep(client, workspace, judgement, is_awaited=is_awaited)
    now = datetime.now(UTC)
    record = judgement.as_dict()
    card = making.gather(client, settings, workspace, kept, record, history, needs_approval=needs_approval, at=now)
    making.put(client, workspace, kept, card)
    if is_awaited:
        raise _unapproved(challenger, champion)
    if judgement.promotes:
        moved = _move(client, mlflow, judgement, kept, champion, approval, who)
        if moved is None:
            return False
        making.put(client, workspace, kept, making.promoted(card, moved, kept.key))
    _say(judgement, champion)
    return True


def _move(
    client: Any,
    mlflow: MLflow,
    judgement: Judgement,
    challenger: ModelVersion,
    champion: ModelVersion | None,
    approval: Line | None,
    who: str,
) -> History | None:
    """The journal after the challenger became the champion; None when `champion` is no longer the one that it was."""
    with journal.turn(client, mlflow, challenger.name) as turn:
        if turn.aliases.get(CHAMPION) != (champion.version if champion else None):
            return None
        production.require_usable(challenger, turn.history)
        _require_no_veto(challenger, turn.history)
        evidence = {
            "gate": judgement.decision,
            "gate_record": challenger.tags[GATE_RECORD],  # by its SHA-256: with all numbers behind the decision
            "card": f"runs:/{challenger.run_id}/{making.CARD_FILE}",
            "approval": f"by {approval.who} at {approval.at}" if approval else "not required",
        }
        why = "; ".join(judgement.reasons[:MOST])
        turn.move(CHAMPION, challenger.version, act=PROMOTE, who=who, why=why, evidence=evidence)
        return turn.history


def _rival(
    client: Any, challenger: ModelVersion, champion: ModelVersion | None, history: History
) -> ModelVersion | None:
    """Whom the challenger has to beat: the champion or, if that one never passed the gate, the last that did."""
    if champion is None or history.objection(champion.key) is None:
        return champion
    good = history.last_good(champion.key)
    found = model_registry.find_version(client, champion.name, good[0]) if good else None
    return found if found and found.version != challenger.version else None


def _require_no_veto(challenger: ModelVersion, history: History) -> None:
    """Nothing, unless a person's last word on the version was no: he rejected it, or rolled back from it."""
    word = history.word_on(challenger.key)
    if word and word.act != APPROVE:
        said = "was rejected" if word.act == REJECT else "was champion, and was rolled back from"
        raise ApprovalRequired(
            f"{challenger} {said}: {word.why}",
            where=f"by {word.who} at {word.at} (line {word.number} of the journal).",
            expected="Train a better one, or overrule it:",
            todo=f"python -m dovetail approve version={challenger.version} reason='…'",
        )


def _unapproved(challenger: ModelVersion, champion: ModelVersion | None) -> ApprovalRequired:
    return ApprovalRequired(
        f"{challenger} passes the gate, and waits for a person to approve it",
        where=f"{champion or 'No version'} stays champion until then.",
        expected=f"Its card says all about it: {making.place(challenger)}, or in MLflow: make ui",
        todo=f"Say yes, then promote again:  python -m dovetail approve version={challenger.version} reason='…'",
    )


def _no_challenger(client: Any, name: str, workspace: Workspace, history: History) -> DovetailError:
    """The error that tells a version that was recalled, or that MLflow has lost, from one that was never made."""
    receipt = workspace.read("models/version.json")
    own = model_registry.find_version(client, name, read_json(receipt)["version"]) if receipt.exists() else None
    recalled = production.recall_of(own, history) if own else None
    if own and recalled:
        return GateRefused(
            f"{own}, which this workspace made, {recalled}",
            where="by the journal in MLflow; no other version is the challenger.",
            todo="Train another one:  dvc repro",
        )
    is_lost = receipt.exists()
    uri = experiments.public_uri(workspace.profile.mlflow.tracking_uri)
    return NoChampionError(
        f"no version of model '{name}' has the alias '{CHALLENGER}'",
        where=f"in MLflow at {uri}{', though models/version.json names one' if is_lost else ''}.",
        todo="Make it again:  python -m dovetail mend" if is_lost else "Make one first:  make run",
    )


def _require_own(challenger: ModelVersion, workspace: Workspace) -> None:
    """Nothing, when the challenger is what this workspace made: DVC restores files, and no alias."""
    receipt = workspace.read("models/version.json")
    own = read_json(receipt) if receipt.exists() else None
    if own and own["run_id"] != challenger.run_id:
        raise TrackingError(
            f"the challenger is {challenger}, this workspace made version {own['version']}",
            where="by models/version.json; the gate judges with this workspace's holdout and features.",
            todo="Make this workspace's version the challenger:  python -m dovetail mend",
        )


def _keep(client: Any, workspace: Workspace, judgement: Judgement, *, is_awaited: bool) -> ModelVersion:
    """The whole judgement as a file, here and sealed with the version; its numbers as metrics; the rest in words.

    Returns the version with the tags that it has now.
    """
    path = workspace.root / RECORD
    write_json(judgement.as_dict() | {"awaits_approval": is_awaited}, path)
    version = judgement.challenger
    experiments.add_results(client, version.run_id, metrics=judgement.numbers, documents=[path])
    tags = {
        GATE_DECISION: judgement.decision,
        GATE_MODE: judgement.rules.mode,
        GATE_NUMBERS: json.dumps(dict(judgement.numbers)),
        GATE_RECORD: json.dumps({PROMOTION_FILE: sha256(path)}),
    }
    link = making.link(client, version)
    model_registry.annotate(
        client, version, description=_description(judgement, link, is_awaited=is_awaited), tags=tags
    )
    return replace(version, tags={**version.tags, **tags})


def _description(judgement: Judgement, link: str, *, is_awaited: bool) -> str:
    """For people, in Markdown, as MLflow's UI shows it; its table of versions shows the first words as they are."""
    tags = judgement.challenger.tags
    lines = [
        _verdict(judgement, is_awaited=is_awaited),
        "",
        link,
        "",
        *(f"- {reason}" for reason in judgement.reasons),
        "",
        f"Code `{tags.get(GIT_COMMIT, '?')[:10]}`, data `{tags.get(DATA_VERSION, '?')}`.",
    ]
    return "\n".join(lines)


def _verdict(judgement: Judgement, *, is_awaited: bool) -> str:
    over = f"against {judgement.champion}" if judgement.champion else "as the first version"
    if judgement.decision == gate.OFF:
        return f"NEVER JUDGED: the gate was off when this version was promoted {over}."
    dry = "; a dry run: nothing was promoted" if judgement.rules.mode == "dry_run" else ""
    waits = ", and waits for approval" if is_awaited else ""
    return f"{judgement.decision.capitalize()} by the gate {over}, on the same rows of the holdout{waits}{dry}."


def _say(judgement: Judgement, champion: ModelVersion | None) -> None:
    """What happened, in the log.

    Raises:
        GateRefused: it was refused, and not in a dry run.
    """
    challenger = judgement.challenger
    if judgement.decision == gate.OFF:
        log.warning("%s is the champion now, THOUGH IT WAS NOT JUDGED: usecase.gate.mode is off", challenger)
    elif judgement.rules.mode == "dry_run":
        would = "would be" if judgement.decision == gate.PASSED else "would not be"
        listed = "\n".join(_listed(judgement.reasons))
        log.info("dry run: %s %s promoted, nothing was moved\n%s", challenger, would, listed)
    elif judgement.promotes:
        log.info("%s is the champion now: %s", challenger, judgement.reasons[0])
    else:
        raise GateRefused(
            f"{challenger} is not promoted\n" + "\n".join(_listed(judgement.reasons)),
            where=f"{champion or 'No version'} stays champion.",
            expected=f"The rules are usecase.gate in conf/usecase/; all numbers are in {RECORD}.",
            todo=f"Look at its card, {making.place(challenger)}, or compare the runs:  make ui",
        )


def _listed(reasons: Sequence[str]) -> list[str]:
    """The first ten reasons, a line each."""
    more = [f"  - and {len(reasons) - MOST} more, in {RECORD}"] if len(reasons) > MOST else []
    return [*(f"  - {reason}" for reason in reasons[:MOST]), *more]
