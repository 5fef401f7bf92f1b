"""The journal of the registered model, and whether it is whole."""

import json
from dataclasses import asdict

from dovetail import production
from dovetail.contracts.journal import History, Line, shown
from dovetail.errors import ModelUnavailableError, TrackingError
from dovetail.settings.arguments import History as Arguments
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.text import table
from dovetail.tools import experiments

WIDTH = 72


def history(settings: Pipeline, workspace: Workspace, arguments: Arguments) -> None:
    """Print the journal, a line each, the oldest first; moves that others made are entered before.

    Raises:
        ModelUnavailableError: nothing is registered, and nothing ever was.
        TrackingError: lines are missing or were altered; the table above says which.
    """
    name = settings.usecase.name
    mlflow = workspace.profile.mlflow
    client = experiments.connect(mlflow)
    found = production.look(client, workspace, name)
    if not found.lines:
        raise ModelUnavailableError(
            f"the journal of model '{name}' is empty",
            where=f"in MLflow at {experiments.public_uri(mlflow.tracking_uri)}: nothing is registered.",
            todo="Make a first version:  make run",
        )
    print(_as_json(name, found) if arguments.format == "json" else _as_table(found))
    if found.flaws:
        raise TrackingError(
            f"the journal of model '{name}' is not whole" + "".join(f"\n  - {flaw}" for flaw in found.flaws),
            where=f"in MLflow's experiment '{name} journal'; a line that was altered counts for nothing.",
            todo="Restore MLflow's database or what was edited, and look again; the aliases are as they are.",
        )


def _as_table(found: History) -> str:
    rows = [_row(line) for line in found.lines]
    verdict = [] if found.flaws else [f"The journal is whole: {len(rows)} of {len(rows)} lines fit the one before."]
    return "\n".join(
        [table([("#", "when (UTC)", "who", "alias", "move", "what", "why"), *rows], right=False), *verdict]
    )


def _row(line: Line) -> tuple[str, ...]:
    what = (
        line.act
        if line.outcome == "done"
        else f"{line.act} ({'not carried out' if line.outcome == 'not done' else 'open'})"
    )
    move = f"{shown(line.before)} -> {shown(line.after)}" if line.alias else f"version {shown(line.after)}"
    why = " ".join(line.why.split())
    why = why if len(why) <= WIDTH else f"{why[: WIDTH - 1]}…"
    when = line.at[:16].replace("T", " ")
    return (
        str(line.number),
        when,
        line.who,
        line.alias or "-",
        move,
        what if line.is_sound else f"{what} (ALTERED)",
        why,
    )


def _as_json(name: str, found: History) -> str:
    lines = [{key: value for key, value in asdict(line).items() if value != ""} for line in found.lines]
    whole = {"model": name, "is_whole": not found.flaws, "flaws": list(found.flaws), "lines": lines}
    return json.dumps(whole, indent=2, ensure_ascii=False)
