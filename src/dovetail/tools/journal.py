"""The journal of a registered model, kept in MLflow, and the one place that moves an alias.

A line is a run in an experiment of its own, so that it is shared where MLflow is shared, and read in its UI. The run's
status is the line's: RUNNING is intended, FINISHED carried out, KILLED and FAILED not. What a line says, and how a
lost or altered one is seen, is in `dovetail.contracts.journal`. Every function takes the client of
`experiments.connect`.
"""

import logging
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from dovetail import locks
from dovetail.contracts.journal import (
    APPROVE,
    NOTICED,
    RECALL,
    REJECT,
    SETTLED,
    Head,
    History,
    Line,
    Outcome,
    digest_of,
    shown,
)
from dovetail.errors import TrackingError
from dovetail.lineage import RECALLED
from dovetail.settings.schema import MLflow

log = logging.getLogger(__name__)
_OF_MODEL = "dovetail.journal_of"  # on the experiment: the registered model whose journal it is
_HEAD = "dovetail.journal"  # on the registered model: the number and link of the last line
_OUTCOMES: Mapping[str, Outcome] = {"FINISHED": "done", "KILLED": "not done", "FAILED": "not done"}
_OUTSIDE = "outside Dovetail: in the MLflow UI, or by its API"
_LONGEST = 4_000  # MLflow cuts a tag after 8,000 characters, and what is cut does not fit its seal


@dataclass(frozen=True)
class _Found:
    """A journal as MLflow has it: its experiment (None when there is none yet), and the run of each line."""

    experiment_id: str | None
    history: History
    runs: Mapping[int, str]


def look(client: MlflowClient, settings: MLflow, name: str) -> History:
    """The journal of a registered model, up to date: a line is entered for each alias that was moved by somebody else.

    Writes nothing when there is nothing to enter; the history of a model that is not registered is empty.
    """
    history, aliases = _read(client, name).history, _aliases(client, name)
    if aliases is None or (history.open is None and not list(_unknown(client, name, aliases, history))):
        return history
    with turn(client, settings, name) as mine:
        return mine.history


@contextmanager
def turn(client: MlflowClient, settings: MLflow, name: str) -> Iterator["Turn"]:
    """The right to move the aliases of a registered model, which one process has at a time; others wait.

    What a dead process left open is closed first, and what was moved by somebody else is entered.

    Raises:
        TrackingError: the turn does not come, for minutes.
    """
    with locks.turn(client, settings, name) as until:
        mine = Turn(client, settings, name, until)
        mine.catch_up()
        yield mine


class Turn:
    """The journal and the aliases of one registered model, as long as nobody else of Dovetail touches them."""

    def __init__(self, client: MlflowClient, settings: MLflow, name: str, until: float) -> None:
        """`until` is the moment, by this machine's clock, after which the turn may be somebody else's."""
        self._client, self._name, self._until = client, name, until
        found = _read(client, name)
        self.history, self._runs = found.history, dict(found.runs)
        self._experiment_id = found.experiment_id or _create_experiment(client, settings, name)
        self.aliases = _aliases(client, name) or {}

    def move(
        self, alias: str, to: int | None, *, act: str, who: str, why: str, evidence: Mapping[str, str] | None = None
    ) -> Line:
        """The line of a move that is done: the intent is written, the alias is moved and read back, the line is closed.

        Raises:
            TrackingError: the alias is somewhere else than it was put: somebody moved it at the same moment.
        """
        before = self.aliases.get(alias)
        line = self.write(
            act=act, alias=alias, before=before, after=to, who=who, why=why, evidence=evidence, is_open=True
        )
        self._in_time()
        try:
            _point(self._client, self._name, alias, to)
        except BaseException:
            with suppress(MlflowException):  # whoever comes next closes it
                self._settle(line)
            raise
        line = self._settle(line)
        if line.outcome != "done":
            raise TrackingError(
                f"{alias} is at {shown(self.aliases.get(alias))}, and not at {shown(to)} where it was put",
                where=f"in the model registry, on '{self._name}': somebody moved it at the same moment.",
                todo="See what happened, and decide again:  python -m dovetail history",
            )
        return line

    def write(
        self,
        *,
        act: str,
        who: str,
        why: str,
        alias: str = "",
        before: int | None = None,
        after: int | None = None,
        evidence: Mapping[str, str] | None = None,
        is_open: bool = False,
    ) -> Line:
        """A new line, closed unless its act is still to come."""
        about = after if after is not None else before
        line = Line(
            number=self.history.head.number + 1,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            act=act,
            who=_bounded(who),
            why=_bounded(why),
            alias=alias,
            before=before,
            after=after,
            digest=_digest(self._client, self._name, about),
            evidence={name: _bounded(value) for name, value in (evidence or {}).items()},
            previous=self.history.head.link,
        )
        self._in_time()
        run = self._client.create_run(self._experiment_id, tags=line.tags() | _for_people(line), run_name=str(line))
        self._runs[line.number] = run.info.run_id
        self.history = self.history.with_line(line)
        return line if is_open else self._close(line, "done")

    def recall(self, version: int, *, who: str, why: str) -> Line:
        """The version is out of use: marked, and without aliases."""
        line = self.write(act=RECALL, after=version, who=who, why=why, is_open=True)
        self._client.set_model_version_tag(self._name, str(version), RECALLED, f"{line.at} by {line.who}: {line.why}")
        line = self._close(line, "done")
        self.take_aliases(version, who=who, why=why)
        return line

    def take_aliases(self, version: int, *, who: str, why: str) -> None:
        """A recalled version holds no alias."""
        for alias in [alias for alias, held in self.aliases.items() if held == version]:
            self.move(alias, None, act=RECALL, who=who, why=why)

    def catch_up(self) -> None:
        """Close what a dead process left open, and enter what was moved by somebody else."""
        head = _head(self._client, self._name)
        if line := self.history.open:
            line = self._settle(line, f"its process ended before it could; closed by {locks.me()}")
            log.warning(
                "journal of %s: line %d (%s) was left open; it is %s", self._name, line.number, line, line.outcome
            )
        elif self.history.lines and (head is None or head.number < self.history.head.number):
            self._remember()
        for alias, before, after, why in list(_unknown(self._client, self._name, self.aliases, self.history)):
            line = self.write(act=NOTICED, alias=alias, before=before, after=after, who="unknown", why=why)
            log.warning("journal of %s: %s: %s", self._name, line, why)

    def _settle(self, line: Line, note: str = "") -> Line:
        """Close an intent by what is true now."""
        self.aliases = _aliases(self._client, self._name) or {}
        if line.alias and line.act != NOTICED:
            is_done = self.aliases.get(line.alias) == line.after
        elif line.act == RECALL:
            is_done = RECALLED in (_tags(self._client, self._name, line.after) or {})
        else:
            is_done = line.act in (APPROVE, REJECT, NOTICED)  # the line itself is the act
        return self._close(line, "done" if is_done else "not done", note)

    def _close(self, line: Line, outcome: Outcome, note: str = "") -> Line:
        run_id = self._runs[line.number]
        self._in_time()
        if note:
            self._client.set_tag(run_id, SETTLED, note)
        with redirect_stdout(StringIO()):  # a server's client prints where the run is seen, amid JSON too
            self._client.set_terminated(run_id, "FINISHED" if outcome == "done" else "KILLED")
        closed = replace(line, outcome=outcome)
        self.history = self.history.with_line(closed)
        self._remember()
        return closed

    def _remember(self) -> None:
        self._client.set_registered_model_tag(self._name, _HEAD, str(self.history.head))

    def _in_time(self) -> None:
        if time.time() > self._until:
            raise TrackingError(
                f"this process had its turn for more than {locks.TURN_SECONDS:.0f} seconds, and gives it up",
                where=f"at the journal of '{self._name}': MLflow was slow, or this machine slept.",
                todo="Type the same command again.",
            )


def _read(client: MlflowClient, name: str) -> _Found:
    """The journal; whatever the experiment is called by now, and whether or not somebody deleted it."""
    by_tag = f"tags.`{_OF_MODEL}` = '{name}'"
    experiments = client.search_experiments(view_type=ViewType.ALL, filter_string=by_tag, order_by=["experiment_id"])
    lines, runs = [], {}
    for run in _all_runs(client, experiments[0].experiment_id) if experiments else ():
        outcome = _OUTCOMES.get(run.info.status, "open")
        if line := Line.parse(run.data.tags, outcome, is_deleted=run.info.lifecycle_stage == "deleted"):
            lines.append(line)
            runs[line.number] = run.info.run_id
    experiment_id = str(experiments[0].experiment_id) if experiments else None
    if experiments and experiments[0].lifecycle_stage == "deleted":
        client.restore_experiment(experiment_id)  # and all its runs
        lines = [replace(line, is_deleted=False) for line in lines]
    return _Found(experiment_id, History.of(lines, _head(client, name)), runs)


def _all_runs(client: MlflowClient, experiment_id: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs([experiment_id], run_view_type=ViewType.ALL, max_results=1_000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _create_experiment(client: MlflowClient, settings: MLflow, name: str) -> str:
    # As for the experiments of runs: the place is fixed for good, and must not depend on the working directory.
    location = Path(settings.artifact_location).as_uri() if settings.artifact_location else None
    note = (
        f"The journal of the registered model '{name}', a run a line: who moved which alias, from where to where, why. "
        "Nothing is trained here, and nothing is to be edited: each line is sealed with the one before it, and "
        "`python -m dovetail history` says which one was altered."
    )
    tags = {_OF_MODEL: name, "mlflow.note.content": note}
    try:
        return str(client.create_experiment(f"{name} journal", artifact_location=location, tags=tags))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        # Somebody's own experiment has the name.
        return str(client.create_experiment(f"{name} journal {uuid.uuid4().hex[:8]}", location, tags))


def _unknown(
    client: MlflowClient, name: str, aliases: Mapping[str, int], history: History
) -> Iterator[tuple[str, int | None, int | None, str]]:
    """Each alias that is not where the journal's last line about it has put it: from where, to where, and why."""
    positions = history.positions()
    for alias in sorted({*aliases, *positions}):
        line, now = positions.get(alias), aliases.get(alias)
        before = line.after if line else None
        digest = _digest(client, name, now)
        if (before, line.digest if line and before else "") == (now, digest):
            continue
        outside = f"{_OUTSIDE}, or by a line that is missing or was altered here" if history.flaws else _OUTSIDE
        if not history.lines:
            why = "it stood there when this journal began"
        elif before == now:
            why = f"version {now} is another model now: its manifest changed, or the registered model was made anew"
        elif now is None:
            gone = "" if _tags(client, name, before) is not None else f", with version {before}, which is deleted"
            why = f"taken away {outside}{gone}"
        else:
            why = f"moved {outside}"
        yield alias, before, now, why


def _point(client: MlflowClient, name: str, alias: str, version: int | None) -> None:
    if version is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, str(version))


def _aliases(client: MlflowClient, name: str) -> dict[str, int] | None:
    """Alias -> version; None when no model of this name is registered."""
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return {alias: int(version) for alias, version in model.aliases.items()}


def _head(client: MlflowClient, name: str) -> Head | None:
    try:
        return Head.parse(client.get_registered_model(name).tags.get(_HEAD))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _tags(client: MlflowClient, name: str, version: int | None) -> dict[str, str] | None:
    """A version's tags; None when there is no such version."""
    if version is None:
        return None
    try:
        return dict(client.get_model_version(name, str(version)).tags)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _digest(client: MlflowClient, name: str, version: int | None) -> str:
    return digest_of(_tags(client, name, version) or {})


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _for_people(line: Line) -> dict[str, str]:
    """What MLflow's UI shows of the run."""
    told = [f"**{line}** by {line.who}", "", line.why, "", *(f"- {key}: {said}" for key, said in line.evidence.items())]
    return {
        "mlflow.note.content": "\n".join(told),
        "mlflow.user": line.who,
        "mlflow.source.name": f"dovetail {line.act}",
    }
