"""What may be compared: versions, revisions and dates, in a real git repository and a real MLflow."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.conftest import mlflow_in

from dovetail.errors import NoChampionError, SettingsError, TrackingError
from dovetail.files import write_json
from dovetail.operations.compare.points import RAW, TRAINED_ON, Point, find_points
from dovetail.settings.arguments import Compare
from dovetail.settings.composition import compose
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import Pipeline, Profile
from dovetail.settings.validation import validate_pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, git

CONF = Path(__file__).parents[3] / "conf"
HASHES = {path: letter * 32 for path, letter in zip((RAW, *TRAINED_ON), "abc", strict=True)}


def sh(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@dovetail.test"]
    return subprocess.run(
        ["git", *who, *command], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


class Here:
    """A checkout with two commits, of which the second has a dvc.lock, and an MLflow without any model."""

    def __init__(self, root: Path, mlflow: Any) -> None:
        self.root, self.client = root, experiments.connect(mlflow)
        shutil.copytree(CONF, root / "conf")
        sh(root, "init", "-q", "-b", "main")
        for text in ("old", "new"):
            (root / "code.py").write_text(text)
            outs = [{"path": path, "md5": md5} for path, md5 in HASHES.items()]
            (root / "src").mkdir(exist_ok=True)
            (root / "src/model.py").write_text("trees = 100")
            train = {"deps": [{"path": "src/model.py", "md5": dvc_hash(root / "src/model.py")}]}
            if text == "new":
                (root / "dvc.lock").write_text(yaml.safe_dump({"stages": {"assemble": {"outs": outs}, "train": train}}))
            sh(root, "add", "-A")
            sh(root, "commit", "-qm", text)
        profile = Profile(
            name="local", connections={}, feature_store="feature_store.yaml", mlflow=mlflow, predictions="predictions"
        )
        self.workspace = Workspace(root=root, home=root, out=root, profile=profile, is_stage=False)
        self.settings: Pipeline = validate_pipeline(compose(CONF), CONF)

    def find(self, old: str, new: str) -> tuple[Point, Point]:
        """What `compare` would compare."""
        return find_points(self.settings, self.workspace, self.client, Compare(old=old, new=new))

    def register(self, *, dirty: bool = False, run_id: str = "r", without: str = "", alias: str = "") -> None:
        """A version as `register` tags it."""
        tags = {f"dvc.md5.{path}": md5 for path, md5 in HASHES.items()} | {
            "git.commit": sh(self.root, "rev-parse", "HEAD~"),
            "git.dirty": str(dirty).lower(),
            "feast.definition_hash": "f",
            "dovetail.trained_until": "2013-08-01T00:00:00+00:00",
        }
        if not self.client.search_registered_models():
            self.client.create_registered_model("flights")
        made = self.client.create_model_version(
            "flights", "file:///nowhere", run_id, {key: value for key, value in tags.items() if key != without}
        )
        if alias:
            self.client.set_registered_model_alias("flights", alias, made.version)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("empty")
    with mlflow_in(folder) as mlflow:
        experiments.connect(mlflow)
    return folder / "mlflow.db"


@pytest.fixture
def here(tmp_path: Path, empty: Path) -> Iterator[Here]:
    (tmp_path / "project").mkdir()
    shutil.copy(empty, tmp_path / "mlflow.db")
    with mlflow_in(tmp_path) as mlflow:
        yield Here(tmp_path / "project", mlflow)


def test_versions_are_named_in_every_way(here: Here) -> None:
    """By alias or number, with the model's name or without; the code is that of the version's commit."""
    here.register(alias="champion")
    here.register(alias="candidate")
    old, new = here.find("champion", "2")
    assert (old.kind, old.title, old.commit) == (
        "version",
        "flights version 1 (champion)",
        sh(here.root, "rev-parse", "HEAD~"),
    )
    assert (new.title, new.files, new.recorded(RAW)) == ("flights version 2", None, "a" * 32)
    for said in ("flights@candidate", "flights/2", "candidate", "models:/flights@candidate"):
        assert here.find("1", said)[1].version.version == 2


def test_revisions_are_commits(here: Here) -> None:
    """Any name that git knows; a number that is no version may be a hash."""
    old, new = here.find("main~", "HEAD")
    assert (old.kind, old.commit, new.commit) == ("revision", *sh(here.root, "rev-parse", "HEAD~", "HEAD").split())
    assert new.title == f"HEAD ({new.commit[:10]})"


def test_dates_are_the_workspace_at_another_until(here: Here) -> None:
    """With what is not committed yet, and all other settings."""
    (here.root / "code.py").write_text("newest")
    old, new = here.find("2013-10-01", "2013-12-01")
    assert (old.kind, old.title) == ("date", "until 2013-10-01")
    assert git.show(here.root, old.files, "code.py") == b"newest"
    assert old.params["usecase"] | {"until": "2013-12-01"} == new.params["usecase"] == compose(CONF)["usecase"]


def test_what_was_trained_before_it_was_committed_is_found(here: Here) -> None:
    """In the workspace, when it was trained here last; else at the first commit whose dvc.lock has its data."""
    here.register(dirty=True, run_id="mine")
    here.register(dirty=True, run_id="another")
    write_json({"run_id": "mine"}, here.root / "models/run.json")
    mine, another = here.find("1", "2")
    assert (mine.commit, mine.files) == (sh(here.root, "rev-parse", "HEAD"), git.snapshot(here.root))
    assert (another.commit, another.files) == (sh(here.root, "rev-parse", "HEAD"), None)
    (here.root / "src/model.py").write_text("trees = 7")
    assert here.find("1", "1")[0].files is None  # it was edited since
    sh(here.root, "reset", "-q", "--hard", "HEAD~")
    sh(here.root, "reflog", "expire", "--expire=now", "--all")
    assert here.find("2", "2")[0].commit == ""


def test_an_empty_registry_says_what_to_type(here: Here) -> None:
    """The defaults are aliases, which nothing has yet."""
    with pytest.raises(NoChampionError, match=r"0 versions; aliases: none\).\n  Make one first:  make run"):
        here.find("champion", "challenger")


def test_nonsense_is_told_with_what_there_is(here: Here) -> None:
    """A typo may be meant for any of four kinds."""
    here.register(alias="champion")
    with pytest.raises(SettingsError) as caught:
        here.find("champion", "chalenger")
    assert str(caught.value) == (
        "'chalenger' is no version, no alias, no git revision and no date\n"
        "  on the command line of compare.\n"
        "  The model 'flights' has versions 1; aliases champion -> 1.\n"
        "  See the revisions:  git log --oneline --all"
    )
    for said in ("7", "flights/7", "hotels@champion", "0" * 40, "2013-13-45"):
        with pytest.raises(SettingsError):
            here.find("1", said)


def test_two_of_a_kind(here: Here) -> None:
    """A version and a date have nothing that could be told apart."""
    here.register()
    with pytest.raises(SettingsError, match=r"^flights version 1 is a version, until 2013-12-01 is a date\n"):
        here.find("1", "2013-12-01")


def test_a_date_before_the_holdout_is_refused_at_once(here: Here) -> None:
    """Nobody waits for a pipeline that cannot end well."""
    with pytest.raises(SettingsError, match=r"until 2013-08-01 there is no holdout"):
        here.find("2013-08-01", "2013-12-01")


def test_a_version_that_says_nothing_of_its_data_is_refused(here: Here) -> None:
    """One that somebody registered by hand cannot be compared; what it lacks is named."""
    here.register(without=f"dvc.md5.{RAW}")
    with pytest.raises(TrackingError, match=r"flights version 1 does not say all .* no tag dvc.md5.data/raw\n"):
        here.find("1", "1")
