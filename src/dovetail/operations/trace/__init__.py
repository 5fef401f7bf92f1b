"""From any end of the thread to all others: where a model came from, what it led to, and whether that still holds."""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dovetail.errors import LineageError
from dovetail.operations.trace import causes, effects, ends
from dovetail.operations.trace.ends import End
from dovetail.operations.trace.evidence import Evidence, Subject
from dovetail.provenance import Link, Verdict, drawn, tally, unknown, walk
from dovetail.settings.arguments import Trace
from dovetail.settings.schema import MLflow, Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import mlflow_records

MOST_MODELS = 10
MOST = 5
LINKS = (
    causes.run,
    causes.code,
    causes.data,
    causes.split,
    causes.features,
    causes.settings,
    effects.files,
    effects.evaluation,
    effects.gate,
    effects.predictions,
    effects.drift,
)


def trace(settings: Pipeline, workspace: Workspace, asked: Trace) -> None:
    """Print the thread of each model that the end leads to, as a tree or as JSON; nothing is changed.

    Raises:
        LineageError: `verify` was asked for, and something differs or cannot be checked (exit code 2).
        DovetailError: there is no such end (exit code 1).
    """
    with tempfile.TemporaryDirectory(prefix="dovetail-trace-") as folder:
        evidence = Evidence(
            root=workspace.root,
            predictions=Path(workspace.profile.predictions),
            records=mlflow_records.records(workspace.profile.mlflow, lambda: _connect(workspace.profile.mlflow)),
            verify=asked.verify,
            folder=Path(folder),
        )
        end = ends.find(asked, settings.usecase.name, evidence)
        trees = _trees(end, evidence)
    print(_as_json(trees) if asked.format == "json" else _as_text(trees))
    if asked.verify:
        _demand_verified(trees)


def thread(subject: Subject, evidence: Evidence) -> Link:
    """All that is known of a model, from its data to its predictions."""
    below = tuple(link for look in LINKS if (link := look(subject, evidence)))
    version = subject.version
    if version is None:
        return Link("run", subject.run_id, "not registered", {"run_id": subject.run_id}, below=below)
    aliases = "".join(f"@{alias} " for alias in version.aliases)
    facts = {
        "name": version.name,
        "model_version": version.version,
        "aliases": list(version.aliases),
        "registered_at": version.created_at.isoformat(),
    }
    said = f"{aliases} registered {version.created_at:%Y-%m-%d %H:%M} UTC".strip()
    return Link("model", str(version), said, facts, below=below)


def _connect(settings: MLflow) -> object:
    from dovetail.tools import experiments  # two seconds, for servers only

    return experiments.connect(settings)


def _trees(end: End, evidence: Evidence) -> list[Link]:
    """One tree below what was asked for, or one a model."""
    models = [thread(subject, evidence) for subject in end.subjects[:MOST_MODELS]]
    if n_more := len(end.subjects) - len(models):
        left_out = evidence.checked(lambda: unknown(f"only the newest {MOST_MODELS} are looked at"))
        models.append(Link("models", f"and {n_more} more", "", {"models": n_more}, left_out))
    return models if end.head is None else [replace(end.head, below=(*end.head.below, *models))]


def _as_text(trees: Sequence[Link]) -> str:
    colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ  # https://no-color.org
    counts = tally(trees)
    if set(counts) == {Verdict.NOT_CHECKED}:
        summary = "Nothing of this was checked; compute it all again:  verify=true"
    else:
        summary = f"{', '.join(f'{n} {verdict}' for verdict, n in counts.items())}."
    return "\n\n".join([*(drawn(tree, colours=colours) for tree in trees), summary])


def _as_json(trees: Sequence[Link]) -> str:
    counts = {verdict.value.replace(" ", "_"): n for verdict, n in tally(trees).items()}
    is_verified = set(tally(trees)) == {Verdict.VERIFIED}
    found = {"verified": is_verified, "links": counts, "found": [tree.as_dict() for tree in trees]}
    return json.dumps(found, indent=2, ensure_ascii=False)


def _demand_verified(trees: Sequence[Link]) -> None:
    counts = tally(trees)
    found = [link for link in walk(trees) if link.check and link.check.verdict in (Verdict.DIFFERS, Verdict.UNKNOWN)]
    if not found:
        return
    worst = sorted(found, key=lambda link: link.check is not None and link.check.verdict is Verdict.UNKNOWN)
    lines = [f"{link.what} {link.check.verdict}: {link.check.why}" for link in worst[:MOST] if link.check]
    more = [f"and {len(found) - MOST} more"] if len(found) > MOST else []
    todo = next((link.check.todo for link in worst if link.check and link.check.todo), "")
    raise LineageError(
        "\n  - ".join(
            [
                f"of {sum(counts.values())} links {counts.get(Verdict.DIFFERS, 0)} are not as they were recorded, "
                f"and {counts.get(Verdict.UNKNOWN, 0)} cannot be checked",
                *lines,
                *more,
            ]
        ),
        where="in the tree above, or in the field `why` of format=json.",
        todo=todo or "Train and register a model anew, of which all is known:  make run",
    )
