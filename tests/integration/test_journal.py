"""The journal in a real MLflow: what is entered by whom, and what is noticed."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tests.integration.conftest import mlflow_in

from dovetail.contracts.journal import APPROVE, CHAMPION, NOTICED, PASSED, PROMOTE, RECALL, REGISTER, History
from dovetail.contracts.model_folders import to_tag
from dovetail.errors import TrackingError
from dovetail.lineage import MODEL_FILES, RECALLED
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, journal, runs

ADA = "Ada <ada@example.org>"


@dataclass(frozen=True)
class Registry:
    """A registered model with three versions, each with files of its own, and no alias."""

    client: MlflowClient
    settings: MLflow
    name: str

    def look(self) -> History:
        """The journal, up to date."""
        return journal.look(self.client, self.settings, self.name)

    def promote(self, version: int) -> History:
        """The journal after the version became champion by the gate."""
        with journal.turn(self.client, self.settings, self.name) as turn:
            turn.move(CHAMPION, version, act=PROMOTE, who=ADA, why="better", evidence={"gate": PASSED})
            return turn.history

    def said(self) -> list[tuple[str, str, str]]:
        """Each line: what moved, by whom, how it ended."""
        return [(str(line), line.who, line.outcome) for line in self.look().lines]

    def runs(self) -> list[Run]:
        """The journal's runs as MLflow's UI lists them, the oldest first."""
        experiment = self.client.get_experiment_by_name(f"{self.name} journal")
        return self.client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])

    def alias(self, alias: str = CHAMPION) -> int | None:
        """Where the alias is, by the registry itself."""
        held = self.client.get_registered_model(self.name).aliases.get(alias)
        return None if held is None else int(held)


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    """One database for all tests: each has a registered model of its own."""
    with mlflow_in(tmp_path_factory.mktemp("journal")) as settings:
        yield settings


@pytest.fixture
def registry(tracking: MLflow, request: pytest.FixtureRequest) -> Registry:
    client = experiments.connect(tracking)
    name = re.sub(r"\W", "_", request.node.name)
    client.create_registered_model(name)
    for number in (1, 2, 3):
        tags = {MODEL_FILES: to_tag({"model.skops": str(number) * 64})}
        client.create_model_version(name, source=f"runs:/{number}/model", tags=tags)
    return Registry(client, tracking, name)


def test_a_move_is_a_run_that_people_can_read(registry: Registry) -> None:
    """In an experiment of its own, with who, from where to where and why, and nothing else of ours disturbs it."""
    registry.promote(1)
    registry.promote(2)
    assert registry.said() == [
        ("champion: none -> 1, promote", ADA, "done"),
        ("champion: 1 -> 2, promote", ADA, "done"),
    ]
    assert registry.alias() == 2
    assert registry.look().flaws == ()
    _, run = registry.runs()
    assert (run.info.run_name, run.info.status) == ("champion: 1 -> 2, promote", "FINISHED")
    assert run.data.tags["mlflow.note.content"] == f"**champion: 1 -> 2, promote** by {ADA}\n\nbetter\n\n- gate: passed"
    assert {key: run.data.tags[f"journal.{key}"] for key in ("alias", "from", "to", "who", "why")} == {
        "alias": "champion", "from": "1", "to": "2", "who": ADA, "why": "better",
    }  # fmt: skip
    assert [key for key in registry.client.get_registered_model(registry.name).tags if "turn" in key] == []


def test_nothing_is_entered_twice(registry: Registry) -> None:
    """Looking writes no line when nothing has happened."""
    registry.promote(1)
    assert len(registry.look().lines) == len(registry.look().lines) == 1


def test_an_older_registry_gets_a_first_journal(registry: Registry) -> None:
    """What the aliases say when it begins is entered as such, and by nobody known."""
    registry.client.set_registered_model_alias(registry.name, CHAMPION, "2")
    registry.client.set_registered_model_alias(registry.name, "challenger", "3")
    assert registry.said() == [
        ("challenger: none -> 3, noticed", "unknown", "done"),
        ("champion: none -> 2, noticed", "unknown", "done"),
    ]
    assert {line.why for line in registry.look().lines} == {"it stood there when this journal began"}
    assert not registry.look().has_passed(registry.look().positions()[CHAMPION].key)


# What somebody does with MLflow alone, where the champion was before and is after it, and what the journal says of it.
BY_HAND: list[tuple[Callable[[MlflowClient, str], object], int | None, str]] = [
    (lambda client, name: client.set_registered_model_alias(name, CHAMPION, "3"), 3, "moved outside Dovetail"),
    (lambda client, name: client.delete_registered_model_alias(name, CHAMPION), None, "taken away outside Dovetail"),
    (
        lambda client, name: client.delete_model_version(name, "1"),
        None,
        "taken away outside Dovetail: in the MLflow UI, or by its API, with version 1, which is deleted",
    ),
    (
        lambda client, name: client.set_model_version_tag(name, "1", MODEL_FILES, to_tag({"model.skops": "0" * 64})),
        1,
        "version 1 is another model now: its manifest changed, or the registered model was made anew",
    ),
]


@pytest.mark.parametrize(("act", "after", "why"), BY_HAND, ids=["moved", "removed", "deleted", "exchanged"])
def test_a_move_by_hand_is_noticed_once(
    registry: Registry, act: Callable[[MlflowClient, str], object], after: int | None, why: str
) -> None:
    """In the MLflow UI or by its API: entered at the next look, with from and to; the journal equals the aliases."""
    client, name = registry.client, registry.name
    registry.promote(1)
    act(client, name)
    line = registry.look().lines[-1]
    assert (line.act, line.who, line.before, line.after) == (NOTICED, "unknown", 1, after)
    assert why in line.why
    assert registry.alias() == after
    assert len(registry.look().lines) == 2


def test_a_registered_model_that_was_made_anew_is_another(registry: Registry) -> None:
    """Its versions begin at 1 again: what passed the gate then has not passed it now."""
    client, name = registry.client, registry.name
    key = registry.promote(1).positions()[CHAMPION].key
    client.delete_registered_model(name)
    assert len(registry.look().lines) == 1
    client.create_registered_model(name)
    client.create_model_version(name, source="runs:/9/model", tags={MODEL_FILES: to_tag({"model.skops": "9" * 64})})
    client.set_registered_model_alias(name, CHAMPION, "1")
    history = registry.look()
    assert (history.lines[-1].act, history.lines[-1].before, history.lines[-1].after) == (NOTICED, 1, 1)
    assert history.has_passed(key)
    assert not history.has_passed(history.positions()[CHAMPION].key)


def test_a_word_on_a_version_is_tied_to_its_files(registry: Registry) -> None:
    """Another model under the same number is not approved."""
    with journal.turn(registry.client, registry.settings, registry.name) as turn:
        line = turn.write(act=APPROVE, after=2, who=ADA, why="looked at it")
    assert registry.look().last(APPROVE, line.key) == line
    assert registry.look().last(APPROVE, (2, "another")) is None


def test_a_recalled_version_is_marked_and_holds_no_alias(registry: Registry) -> None:
    """In the journal and on the version itself."""
    registry.client.set_registered_model_alias(registry.name, "challenger", "2")
    with journal.turn(registry.client, registry.settings, registry.name) as turn:
        turn.recall(2, who=ADA, why="wrong unit")
    assert [line for line, _, _ in registry.said()][1:] == ["version 2, recall", "challenger: 2 -> none, recall"]
    assert registry.alias("challenger") is None
    tags = registry.client.get_model_version(registry.name, "2").tags
    assert tags[RECALLED].endswith(f"by {ADA}: wrong unit")
    assert registry.look().recall_of((2, registry.look().lines[1].digest)) is not None


def edited(client: MlflowClient, run: Run) -> None:
    client.set_tag(run.info.run_id, "journal.who", "Mallory")


def deleted(client: MlflowClient, run: Run) -> None:
    client.delete_run(run.info.run_id)


def unnumbered(client: MlflowClient, run: Run) -> None:
    client.delete_tag(run.info.run_id, "journal.number")


@pytest.mark.parametrize(
    ("act", "first", "both"),
    [
        (edited, "line 2 was altered", "line 2 was altered; line 3 was altered"),
        (
            deleted,
            "line 2 was deleted in MLflow; restore its run there",
            "line 2 was deleted in MLflow; restore its run there; line 3 was deleted in MLflow; restore its run there",
        ),
        (unnumbered, "line 2 is missing", "lines 2 to 3 are missing"),
    ],
)
def test_what_is_done_to_a_line_in_the_ui_is_said(
    registry: Registry, act: Callable[[MlflowClient, Run], object], first: str, both: str
) -> None:
    """In the middle and at the end, and still after the next promotion."""
    registry.promote(1)
    registry.promote(2)
    registry.promote(3)
    _, middle, last = registry.runs()
    act(registry.client, middle)
    assert "; ".join(registry.look().flaws) == first
    act(registry.client, last)
    assert "; ".join(registry.look().flaws) == both
    registry.promote(1)
    assert "; ".join(registry.look().flaws) == both


def test_a_journal_whose_experiment_was_renamed_or_deleted_goes_on(registry: Registry) -> None:
    """It is found by what it is, and comes back with all its lines."""
    registry.promote(1)
    (run,) = registry.runs()
    registry.client.rename_experiment(run.info.experiment_id, "something else")
    registry.client.delete_experiment(run.info.experiment_id)
    history = registry.promote(2)
    assert ([line.number for line in history.lines], history.flaws) == ([1, 2], ())


def test_a_version_that_does_not_exist_moves_nothing(registry: Registry) -> None:
    """The intent is closed as not carried out, and MLflow's own error comes through."""
    registry.promote(1)
    with (
        pytest.raises(Exception, match="version=9"),
        journal.turn(registry.client, registry.settings, registry.name) as turn,
    ):
        turn.move(CHAMPION, 9, act=PROMOTE, who=ADA, why="better")
    assert registry.said()[1:] == [("champion: 1 -> 9, promote", ADA, "not done")]
    assert registry.alias() == 1


def test_a_move_at_the_same_moment_is_said(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody moves the alias in the UI while we do: nobody is told that it worked."""
    point = MlflowClient.set_registered_model_alias

    def and_then_another(client: MlflowClient, name: str, alias: str, version: str) -> None:
        point(client, name, alias, version)
        point(client, name, alias, "3")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", and_then_another)
    with pytest.raises(TrackingError, match="champion is at 3, and not at 1 where it was put"):
        registry.promote(1)
    monkeypatch.undo()
    assert registry.said() == [
        ("champion: none -> 1, promote", ADA, "not done"),
        ("champion: none -> 3, noticed", "unknown", "done"),
    ]


def test_what_is_long_is_cut_before_it_is_sealed(registry: Registry) -> None:
    """MLflow would cut it afterwards, and it would not fit its seal."""
    with journal.turn(registry.client, registry.settings, registry.name) as turn:
        turn.move(CHAMPION, 1, act=PROMOTE, who=ADA, why="ü" * 10_000, evidence={"numbers": json.dumps([1.5] * 4_000)})
    assert registry.look().flaws == ()
    assert registry.look().lines[0].why.endswith("ü…")


def test_the_reaper_of_runs_leaves_an_open_line_alone(registry: Registry) -> None:
    """A run of the journal holds no lease, and is closed by whoever has the next turn."""
    with journal.turn(registry.client, registry.settings, registry.name) as turn:
        turn.write(act=REGISTER, alias="challenger", after=1, who=ADA, why="x", is_open=True)
        runs.close_abandoned(registry.client, registry.settings)
        assert registry.runs()[0].info.status == "RUNNING"
    assert registry.said() == [("challenger: none -> 1, register", ADA, "not done")]
    assert "closed by process" in registry.runs()[0].data.tags["journal.settled"]
    assert registry.look().flaws == ()


def test_a_recall_that_was_interrupted_is_settled(registry: Registry) -> None:
    """The mark on the version says whether it happened."""
    with journal.turn(registry.client, registry.settings, registry.name) as turn:
        turn.write(act=RECALL, after=1, who=ADA, why="x", is_open=True)
    registry.client.set_model_version_tag(registry.name, "2", RECALLED, "yes")
    with journal.turn(registry.client, registry.settings, registry.name) as turn:
        turn.write(act=RECALL, after=2, who=ADA, why="x", is_open=True)
    assert [outcome for _, _, outcome in registry.said()] == ["not done", "done"]
