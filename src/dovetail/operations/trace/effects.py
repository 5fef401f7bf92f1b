"""What a run led to, a function a link: the model's files, what was found of it, decided on it, and predicted by it."""

import json
import re
from pathlib import Path

from dovetail.contracts import model_folders, prediction_log
from dovetail.errors import WorkspaceError
from dovetail.lineage import GATE_DECISION, GATE_NUMBERS, INPUT_PREFIX, MODEL_FILES, PROMOTION_FILE
from dovetail.operations.trace.causes import TRAIN
from dovetail.operations.trace.evidence import Evidence, Subject
from dovetail.provenance import DIGITS, VERIFIED, Check, Link, differs, same, unknown
from dovetail.settings.dvc_files import dvc_hash
from dovetail.tools import mlflow_records

CHAMPION = "champion"
PREDICTIONS = "holdout_predictions.parquet"
DRIFT_FILE = "metrics/drift.json"
MOST = 5


def files(subject: Subject, evidence: Evidence) -> Link | None:
    """The files that are loaded; None when nothing was registered."""
    version = subject.version
    if version is None:
        return None
    manifest = model_folders.from_tag(version.tags.get(MODEL_FILES))

    def check() -> Check:
        mend = "python -m dovetail mend"
        if not manifest:
            return unknown("the version has no manifest of its files: `register` did not make it")
        folder = mlflow_records.fetch(version.location, "", evidence.folder / "models" / str(version.version))
        if folder is None:
            return unknown(f"its files are gone from {version.location}", f"Make the model again:  {mend}")
        found = model_folders.differences(manifest, model_folders.digests(folder))
        said = f"{'; '.join(found[:MOST])}; in {folder}"
        return differs(said, f"Restore the artifact store, or make the model again:  {mend}") if found else VERIFIED

    digest = manifest.get(model_folders.MODEL_FILE, "")
    facts = {"location": version.location, "files": manifest}
    said = f"{model_folders.MODEL_FILE} and {len(manifest) - 1} more" if manifest else "no manifest"
    return Link("files", digest[:DIGITS], said, facts, evidence.checked(check))


def evaluation(subject: Subject, evidence: Evidence) -> Link | None:
    """What was measured on the holdout; None when nothing was registered."""
    if subject.version is None:
        return None
    document = evidence.document(subject, "evaluation.json")
    auc, rows = document.says.get("models", {}).get("model", {}).get("roc_auc"), document.says.get("rows", 0)
    interval = f"{auc['value']:.4f} [{auc['low']:.4f}, {auc['high']:.4f}]" if auc else ""

    def check() -> Check:
        if document.check == VERIFIED and document.says.get("run_id") != subject.run_id:
            return differs(f"it is of run {document.says.get('run_id')}")
        return document.check

    return Link(
        "evaluation",
        "",
        f"ROC AUC {interval} on {rows:,} rows of the holdout" if auc else "",
        {"file": "evaluation.json", "roc_auc": auc, "rows": rows or None},
        evidence.checked(check),
        (Link(PREDICTIONS, "", "", {"file": PREDICTIONS}, evidence.document(subject, PREDICTIONS).check),),
    )


def gate(subject: Subject, evidence: Evidence) -> Link | None:
    """What the gate decided; None when nothing was registered."""
    version = subject.version
    if version is None:
        return None
    decision, is_champion = version.tags.get(GATE_DECISION), CHAMPION in version.aliases
    if decision is None and not is_champion:
        return Link("gate", "", "not asked yet")
    document = evidence.document(subject, PROMOTION_FILE)
    numbers = _numbers(version.tags.get(GATE_NUMBERS))
    reasons = document.says.get("reasons") or [f"{name} {value:+.4f}" for name, value in numbers.items()]

    def check() -> Check:
        if is_champion and decision != "passed":
            return differs(f"it is the champion, and the gate's decision is: {decision or 'none'}")
        if document.check == VERIFIED and document.says.get("run_id") != subject.run_id:
            return differs(f"{PROMOTION_FILE} is of run {document.says.get('run_id')}")
        return document.check

    facts = {"decision": decision, "numbers": numbers, "file": PROMOTION_FILE}
    return Link("gate", decision or "", str(reasons[0])[:120] if reasons else "", facts, evidence.checked(check))


def _numbers(tag: str | None) -> dict[str, float]:
    try:
        return {str(name): float(value) for name, value in json.loads(tag or "{}").items()}
    except (AttributeError, TypeError, ValueError):
        return {}


def predictions(subject: Subject, evidence: Evidence) -> Link | None:
    """What the model predicted; None when nothing was registered."""
    if subject.version is None:
        return None
    folder = evidence.predictions / subject.version.name
    try:
        made = prediction_log.made_by(folder, subject.run_id, subject.version.version, verify=evidence.verify)
    except WorkspaceError as error:
        damage = unknown(error.what, error.todo)
        return Link("predictions", "", "a file of the log is damaged", {}, evidence.checked(lambda: damage))
    if made.first is None or made.last is None:
        return Link("predictions", "", "none yet", {"rows": 0})

    def check() -> Check:
        if made.altered:
            return differs(f"{len(made.altered)} were altered, in {folder}: {', '.join(made.altered[:MOST])}")
        return unknown(f"{made.without_id:,} were made before there were ids") if made.without_id else VERIFIED

    first, last = (f"{moment:%Y-%m-%d}" for moment in (made.first, made.last))
    period = first if first == last else f"{first} to {last}"
    facts = {"rows": made.rows, "files": made.files, "first": made.first.isoformat(), "last": made.last.isoformat()}
    said = f"{made.rows:,} in {made.files} file{'s' if made.files > 1 else ''}, scored {period}"
    return Link("predictions", "", said, facts, evidence.checked(check))


def drift(subject: Subject, evidence: Evidence) -> Link | None:
    """The workspace's drift report, if it is about the part that this model was trained on; else None."""
    path = evidence.root / DRIFT_FILE
    _, reference = compared(path).get("reference", ("", ""))
    if not reference or reference != subject.tagged(INPUT_PREFIX).get(TRAIN):
        return None
    says = json.loads(path.read_bytes())
    said = (
        f"{says.get('outcome')} in {says.get('month')}: {says.get('n_drifted')} of {says.get('n_columns')} inputs drift"
    )
    facts = {"file": DRIFT_FILE, "month": says.get("month"), "outcome": says.get("outcome")}
    check = evidence.checked(lambda: same(evidence.lock.get(DRIFT_FILE), dvc_hash(path), f"in {DRIFT_FILE}"))
    return Link("drift", "", f"{said}; {DRIFT_FILE}", facts, check)


def compared(report: Path) -> dict[str, tuple[str, str]]:
    """Part -> path and hash, by a drift report, JSON or HTML; empty when it is none, or does not say."""
    text = report.read_text(encoding="utf-8", errors="replace") if report.is_file() else ""
    if report.suffix == ".html":
        found = re.findall(r"(reference|current): (\S+), MD5 (\w{32})", text)
        return {part: (path, md5) for part, path, md5 in found}
    try:
        return {str(each["part"]): (str(each["path"]), str(each["md5"])) for each in json.loads(text)["compared"]}
    except (ValueError, KeyError, TypeError):
        return {}
