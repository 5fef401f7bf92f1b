"""What is read from MLflow's own tables is what MLflow's client says, and another MLflow's tables are left alone."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow.store.db.utils
import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from mlflow import MlflowClient
from tests.integration.conftest import mlflow_in
from tests.integration.test_model_registry import registered

from dovetail.contracts import mlflow_database
from dovetail.errors import DovetailError, ModelUnavailableError, NoChampionError, TrackingError
from dovetail.lineage import ModelReference
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, mlflow_records
from dovetail.tools.mlflow_records import Records
from servers import Postgres


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[MLflow, MlflowClient]]:
    """Versions of two models, aliases, a run that failed, one that was deleted, a version that was deleted."""
    with mlflow_in(tmp_path_factory.mktemp("records")) as tracking:
        client, version = registered(tracking)
        for name, number in (("flights", 2), ("flights", 3), ("hotels", 1)):
            if number == 1:
                client.create_registered_model(name)
            client.create_model_version(name, version.source, version.run_id, tags={"git.commit": f"c{number}"})
        client.set_registered_model_alias("flights", "challenger", "1")
        client.set_registered_model_alias("flights", "champion", "2")
        client.delete_model_version("flights", "3")
        experiment = client.get_run(version.run_id).info.experiment_id
        for status in ("FAILED", "KILLED"):
            run = client.create_run(experiment, tags={"git.commit": "c0ffee"}, run_name=status.lower())
            client.set_terminated(run.info.run_id, status)
        client.delete_run(run.info.run_id)
        yield tracking, client


@pytest.fixture
def both(known: tuple[MLflow, MlflowClient]) -> tuple[Records, Records]:
    """The records as they are read from the file, and as the client gives them."""
    tracking, client = known
    return mlflow_records.records(tracking, pytest.fail), mlflow_records._Server(client)


def test_the_file_says_what_the_client_says(both: tuple[Records, Records]) -> None:
    """Versions with tags, aliases and places; runs, failed and deleted ones too; runs by a tag."""
    file, server = both
    versions = file.versions()
    assert [(v.name, v.version, v.aliases) for v in versions] == [
        ("flights", 1, ("challenger",)),
        ("flights", 2, ("champion",)),
        ("hotels", 1, ()),
    ]
    assert versions == server.versions()
    assert file.runs_with(["git.commit"], "c0ffee") == server.runs_with(["git.commit"], "c0ffee")
    ids = [versions[0].run_id, *file.runs_with(["git.commit"], "c0ffee"), "no run"]
    runs = file.runs(ids)
    assert runs == server.runs(ids)
    assert {(run.status, run.is_deleted) for run in runs.values()} == {("FINISHED", False), ("FAILED", False)}


def test_a_deleted_run_is_known_by_its_id(known: tuple[MLflow, MlflowClient], both: tuple[Records, Records]) -> None:
    """A version that came from it can still say so."""
    _, client = known
    (gone,) = client.search_runs(["1"], run_view_type=2)
    for records in both:
        assert records.runs([gone.info.run_id])[gone.info.run_id].is_deleted


def test_files_of_a_run_and_of_a_model_are_found(both: tuple[Records, Records], tmp_path: Path) -> None:
    """Where they lie, when they lie on this machine; what is lost is None."""
    file, _ = both
    version = file.versions()[0]
    run = file.runs([version.run_id])[version.run_id]
    path = mlflow_records.fetch(run.artifacts, "settings.yaml", tmp_path)
    assert path is not None
    assert path.read_text() == "seed: 42\n"
    assert mlflow_records.fetch(run.artifacts, "no such file", tmp_path) is None
    folder = mlflow_records.fetch(version.location, "", tmp_path)
    assert folder is not None
    assert (folder / "model.skops").is_file()


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        (
            "champoin",
            NoChampionError,
            r"no alias 'champoin'\n.*\n  Its versions: 1, 2; aliases: challenger -> 1, champ",
        ),
        ("3", ModelUnavailableError, r"model 'flights' has no version 3\n.*\n.*\n  Name one of them:  model=flights/2"),
        ("planes/1", ModelUnavailableError, r"no registered model 'planes'\n.*\n  There are: flights, hotels\."),
    ],
)
def test_an_unknown_version_lists_what_there_is(
    both: tuple[Records, Records], named: str, error: type[DovetailError], said: str
) -> None:
    """Aliases, numbers, models."""
    with pytest.raises(error, match=said):
        mlflow_records.named(both[0], ModelReference.parse(named, "flights"))


def test_an_empty_registry_is_said_and_not_made(tmp_path: Path) -> None:
    """Looking for a model makes no database."""
    tracking = MLflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_location=None)
    records = mlflow_records.records(tracking, pytest.fail)
    with pytest.raises(ModelUnavailableError, match=r"there is no model version yet[^$]*make run"):
        mlflow_records.named(records, ModelReference("flights", alias="champion"))
    assert list(tmp_path.iterdir()) == []


def test_the_known_revision_is_the_installed_mlflows() -> None:
    """Whoever updates MLflow looks at the tables again, and at the queries that read them."""
    assert mlflow.store.db.utils._get_latest_schema_revision() == mlflow_database.REVISION


def at_revision(uri: str, steps_back: int) -> None:
    """Make a database as an MLflow of some migrations ago left it."""
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    config = mlflow.store.db.utils._get_alembic_config(uri)
    revisions = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    mlflow.store.db.utils.InitialBase.metadata.create_all(engine)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revisions[steps_back])


def test_an_older_database_is_left_alone(tmp_path: Path) -> None:
    """MLflow's client would migrate it, for good, on the first look; here it is said how to."""
    path = tmp_path / "mlflow.db"
    tracking = MLflow(tracking_uri=f"sqlite:///{path}", artifact_location=None)
    at_revision(tracking.tracking_uri, 15)
    content = path.read_bytes()
    for ask in (lambda: mlflow_records.records(tracking, pytest.fail), lambda: experiments.connect(tracking)):
        with pytest.raises(TrackingError) as caught:
            ask()
        assert "the database is another MLflow's: its tables are of revision c3d6457b6d8a" in str(caught.value)
        assert f"cp {path} {path}.before && mlflow db upgrade sqlite:///{path}" in str(caught.value)
    assert path.read_bytes() == content


def test_a_newer_database_is_said(tmp_path: Path) -> None:
    """By a revision that nobody here has heard of."""
    tracking = MLflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_location=None)
    at_revision(tracking.tracking_uri, 0)
    engine = sqlalchemy.create_engine(tracking.tracking_uri, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = 'f00'"))
    with pytest.raises(TrackingError, match=r"revision f00.*\n.*\n.*a newer one needs the newer MLflow"):
        experiments.connect(tracking)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0 torn"])
def test_a_damaged_database_is_said(tmp_path: Path, content: bytes) -> None:
    """And not taken for an empty one."""
    (tmp_path / "mlflow.db").write_bytes(content)
    tracking = MLflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_location=None)
    with pytest.raises(TrackingError, match=r"MLflow's database cannot be read: file is not a database"):
        mlflow_records.records(tracking, pytest.fail).versions()


@pytest.mark.slow
def test_an_older_database_on_postgresql_is_left_alone() -> None:
    """As in a file."""
    # Not in pytest's own folder, which is closed to the user that the server needs.
    with TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        try:
            uri = f"postgresql+psycopg://feast@127.0.0.1:{server.port}/postgres"
            at_revision(uri, 15)
            with pytest.raises(TrackingError, match=r"of revision c3d6457b6d8a.*\n  at postgresql\+psycopg://127"):
                experiments.connect(MLflow(tracking_uri=uri, artifact_location=None))
        finally:
            server.stop()
