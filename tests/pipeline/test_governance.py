"""How a model goes to production and back, on the real pipeline: approval, rollback, recall, and moves by hand.

Most operations run in this process: a command takes seconds to import what it needs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from tests.pipeline.conftest import PERSON, Checkout, FirstRun, put_back
from tests.pipeline.test_operations import predictions

from dovetail.contracts.journal import CHAMPION
from dovetail.errors import (
    ApprovalRequired,
    DovetailError,
    FeatureError,
    GateRefused,
    ModelUnavailableError,
    NoChampionError,
)
from dovetail.operations.approve import approve
from dovetail.operations.promote import promote
from dovetail.operations.recall import recall
from dovetail.operations.reject import reject
from dovetail.operations.rollback import rollback
from dovetail.operations.score import score
from dovetail.settings.arguments import Approve, Promote, Recall, Reject, Rollback
from dovetail.settings.composition import compose
from dovetail.settings.schema import MLflow, Profile
from dovetail.settings.validation import validate_pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, journal

pytestmark = pytest.mark.slow
REASON = {"reason": "for the test"}


@dataclass(frozen=True)
class Desk:
    """The commands, in this process, and the registry as MLflow itself has it."""

    checkout: Checkout
    client: MlflowClient
    profile: Profile

    def settings(self, *overrides: str) -> Any:
        """The checkout's settings."""
        conf = self.checkout.folder / "conf"
        return validate_pipeline(compose(conf, *overrides), conf)

    @property
    def workspace(self) -> Workspace:
        """The checkout, by hand."""
        folder = self.checkout.folder
        return Workspace(root=folder, home=folder, out=folder, profile=self.profile, is_stage=False)

    def promote(self) -> None:
        """`python -m dovetail promote`."""
        promote(self.settings(), self.workspace, Promote(approval=None))

    def score(self, *overrides: str) -> None:
        """`python -m dovetail score`."""
        score(self.settings(*overrides), self.workspace)

    def approve(self, version: int) -> None:
        """`python -m dovetail approve`."""
        approve(self.settings(), self.workspace, Approve(version=version, **REASON))

    def reject(self, version: int) -> None:
        """`python -m dovetail reject`."""
        reject(self.settings(), self.workspace, Reject(version=version, **REASON))

    def recall(self, version: int) -> None:
        """`python -m dovetail recall`."""
        recall(self.settings(), self.workspace, Recall(version=version, **REASON))

    def rollback(self, to: int | None = None) -> None:
        """`python -m dovetail rollback`."""
        rollback(self.settings(), self.workspace, Rollback(to=to, **REASON))

    def lines(self) -> list[str]:
        """What the journal says, up to date and whole."""
        history = journal.look(self.client, self.profile.mlflow, "flights")
        assert history.flaws == ()
        assert {line.outcome for line in history.lines} == {"done"}
        return [str(line) for line in history.lines]

    def aliases(self) -> dict[str, int]:
        """Alias -> version, by the registry itself."""
        held = self.client.get_registered_model("flights").aliases
        return {alias: int(version) for alias, version in held.items()}

    def refused(self, error: type[DovetailError], call: Any, *arguments: Any, **named: Any) -> str:
        """What the error says that it ends with; no alias was moved."""
        before = self.aliases()
        with pytest.raises(error) as caught:
            call(*arguments, **named)
        assert self.aliases() == before
        return str(caught.value)

    def crown(self, version: int) -> None:
        """What a person does in MLflow's UI."""
        self.client.set_registered_model_alias("flights", CHAMPION, str(version))


@pytest.fixture(scope="module")
def two_champions(first_run: FirstRun) -> Path:
    """A copy of the project in which a model of two trees was champion, version 2, and version 1 is now."""
    checkout = put_back(first_run.checkout, first_run.copy)
    checkout.sh("dvc exp run -S model.max_iter=2")
    # Two trees have not looked at the aircraft yet.
    checkout.step("promote '~usecase.gate.behaviour.delay_of_the_aircraft'")
    checkout.sh("git checkout -q . && dvc checkout -q")
    assert "flights version 1, which DVC restored, is the challenger again" in checkout.step("mend")
    checkout.step("promote")
    shutil.copytree(checkout.folder, first_run.copy.parent / "two_champions", symlinks=True)
    return first_run.copy.parent / "two_champions"


@pytest.fixture
def desk(first_run: FirstRun, two_champions: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    for name, value in PERSON.items():
        monkeypatch.setenv(name, value)
    checkout = put_back(first_run.checkout, two_champions)
    folder = checkout.folder
    tracking = MLflow(tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_location=f"{folder}/mlartifacts")
    profile = Profile(
        name="local",
        connections={},
        feature_store="feature_store.yaml",
        mlflow=tracking,
        predictions=str(folder / "predictions"),
    )
    monkeypatch.chdir(folder)
    # The database is another file under the same name in each test: no connection may outlive its use.
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "NullPool")
    yield Desk(checkout, experiments.connect(tracking), profile)
    mlflow.set_tracking_uri(None)
    os.environ.pop("MLFLOW_TRACKING_URI", None)


HISTORY = [
    "challenger: none -> 1, register",
    "challenger: 1 -> 2, register",
    "champion: none -> 2, promote",
    "challenger: 2 -> 1, register",
    "champion: 2 -> 1, promote",
]


def test_back_and_forth(desk: Desk) -> None:
    """Rollback goes to the last good one; the one that was left does not come back before somebody says so."""
    assert desk.lines() == HISTORY
    desk.rollback()
    assert desk.aliases() == {"challenger": 1, "champion": 2}
    desk.score()
    assert len(predictions(desk.checkout)) == 1

    said = desk.refused(ApprovalRequired, desk.promote)
    assert said.startswith("flights version 1 was champion, and was rolled back from: for the test\n  by test@dovetail")
    assert said.endswith("python -m dovetail approve version=1 reason='…'")
    assert "no earlier good champion to go back to" in desk.refused(ModelUnavailableError, desk.rollback)
    desk.approve(1)
    desk.reject(1)
    assert desk.refused(ApprovalRequired, desk.promote).startswith("flights version 1 was rejected: for the test")
    desk.approve(1)
    desk.promote()
    words = ["version 1, approve", "version 1, reject", "version 1, approve"]
    assert desk.lines() == [*HISTORY, "champion: 1 -> 2, rollback", *words, "champion: 2 -> 1, promote"]
    evidence = journal.look(desk.client, desk.profile.mlflow, "flights").lines[5].evidence
    assert (evidence["files"], evidence["features"]) == ("as registered", "as trained on")
    assert re.fullmatch(r"200 newest rows: 0\.\d+ to 0\.\d+, mean 0\.\d+", evidence["trial"])


def test_a_rollback_that_would_not_work_moves_nothing(desk: Desk) -> None:
    """Each of the things that are checked first, broken in turn."""
    folder = desk.checkout.folder
    model = Path(desk.client.get_model_version("flights", "2").tags["mlflow.run_id"])
    (stored,) = [
        path for path in folder.rglob("mlartifacts/models/*/artifacts/model.skops")
        if desk.client.get_logged_model(path.parts[-3]).source_run_id == str(model)
    ]  # fmt: skip
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1])
    assert "model.skops was changed" in desk.refused(ModelUnavailableError, desk.rollback)
    stored.write_bytes(whole)

    desk.checkout.edit("feature_repo/flights.py", r"ttl=timedelta\(hours=6\)", "ttl=timedelta(hours=7)")
    said = desk.refused(FeatureError, desk.rollback)
    assert "the inputs are not those that flights version 2 was trained on\n  - " in said
    assert "time to live: 6:00:00 -> 7:00:00" in said
    desk.checkout.sh("git checkout -q feature_repo")

    rows = folder / "data/label_rows.parquet"
    rows.rename(folder / "aside")
    assert "Make it:  dvc repro" in desk.refused(DovetailError, desk.rollback)
    (folder / "aside").rename(rows)

    assert "is the champion already" in desk.refused(ModelUnavailableError, desk.rollback, to=1)
    assert "there is no version 7 of model 'flights'\n  in the model registry (2 versions: 2, 1)." in desk.refused(
        ModelUnavailableError, desk.rollback, to=7
    )
    assert desk.lines() == HISTORY
    desk.rollback(to=2)


def test_a_champion_by_hand_is_noticed_and_not_used(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """A copy with the same tags, made champion in the MLflow UI: entered, said, refused by `score`, judged anew."""
    first = desk.client.get_model_version("flights", "2")
    desk.client.create_model_version("flights", first.source, first.run_id, tags=first.tags)
    desk.crown(3)
    said = desk.refused(ModelUnavailableError, desk.score)
    assert said.startswith(
        "flights version 3 is the champion and never passed the gate, by the journal (moved outside Dovetail: "
    )
    assert "usecase.scoring.ungated: warn" in said
    assert predictions(desk.checkout) == []
    desk.score("usecase.scoring.ungated=warn")
    assert "THE CHAMPION, flights version 3, never passed the gate" in caplog.text
    assert len(predictions(desk.checkout)) == 1
    # The challenger, version 1, has to beat the last one that passed; that is itself: only the rules for a first one.
    desk.promote()
    assert desk.lines() == [*HISTORY, "champion: 1 -> 3, noticed", "champion: 3 -> 1, promote"]


def test_what_was_taken_away_is_brought_back(desk: Desk) -> None:
    """The alias, or the version with it, deleted in MLflow: noticed, said with what to type, and mended by it."""
    desk.client.delete_registered_model_alias("flights", CHAMPION)
    said = desk.refused(NoChampionError, desk.score)
    assert said.startswith("the alias 'champion' of model 'flights' is gone; it was at version 1\n  ")
    assert said.endswith("python -m dovetail rollback reason='…'")
    desk.rollback()
    assert desk.aliases() == {"challenger": 1, "champion": 1}
    desk.client.delete_model_version("flights", "1")
    assert "with version 1, which is deleted" in desk.refused(NoChampionError, desk.score)
    assert "there is no version 1" in desk.refused(ModelUnavailableError, desk.rollback)
    desk.rollback(to=2)
    assert desk.aliases() == {"champion": 2}


def test_a_recalled_version_is_out_of_use(desk: Desk) -> None:
    """Not while it is champion; then without aliases, whatever MLflow says later, and once is enough."""
    assert "Go back first:  python -m dovetail rollback" in desk.refused(ModelUnavailableError, desk.recall, 1)
    desk.rollback()
    desk.recall(1)
    desk.recall(1)
    assert desk.aliases() == {"champion": 2}
    assert desk.lines()[-3:] == ["champion: 1 -> 2, rollback", "version 1, recall", "challenger: 1 -> none, recall"]
    assert desk.refused(GateRefused, desk.promote).startswith(
        "flights version 1, which this workspace made, was recalled at "
    )
    for act in (desk.approve, desk.reject):
        assert "was recalled" in desk.refused(ModelUnavailableError, act, 1)
    assert "was recalled" in desk.refused(ModelUnavailableError, desk.rollback, to=1)
    desk.crown(1)
    assert "was recalled" in desk.refused(ModelUnavailableError, desk.score, "usecase.scoring.ungated=warn")
    assert "it does not become challenger" in desk.checkout.step("mend")


def test_a_person_has_to_say_yes(project: Checkout) -> None:
    """`approval=required` holds a version back that passes the gate, by exit code 2, until somebody approves it."""
    said = project.step("promote approval=required", 2)
    assert "ApprovalRequired: flights version 1 passes the gate, and waits for a person to approve it" in said
    assert "No version stays champion until then." in said
    assert "; waits for:  python -m dovetail approve version=1 reason=" in project.step("summary")
    ((described,),) = project.mlflow("SELECT description FROM model_versions")
    assert "and waits for approval" in described.splitlines()[0]
    assert project.aliases() == {"challenger": 1}
    project.step("approve version=1 reason='looked at the slices'")
    project.step("promote approval=required")
    assert project.aliases() == {"challenger": 1, "champion": 1}
    told = json.loads(project.sh("python -m dovetail history format=json 2>/dev/null"))
    assert told["is_whole"]
    approved, promoted = told["lines"][-2:]
    assert (approved["why"], approved["evidence"]) == ("looked at the slices", {"trained by": "the same person"})
    assert promoted["evidence"]["approval"] == f"by {approved['who']} at {approved['at']}"


def test_a_machine_that_knows_nobody_still_makes_its_run(project: Checkout) -> None:
    """In a container git has no identity: `make run` goes through under its own name, and a person is asked for his."""
    nobody = {name: value for name, value in project.environment(HOME="/nonexistent").items() if name not in PERSON}
    command = ["make", "--old-file=setup", "run"]
    done = subprocess.run(command, cwd=project.folder, env=nobody, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(predictions(project)) == 1
    said = project.step("history")
    assert "flights version 1 is the champion now" in done.stdout
    assert re.search(r"^2 .* make run <\w+@\S+> +champion +none -> 1 +promote", said, re.M)

    command = [sys.executable, "-m", "dovetail", "rollback", "reason=late"]
    done = subprocess.run(command, cwd=project.folder, env=nobody, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(
        "WorkspaceError: git does not know who you are, and the journal of a model has to say"
    )
