"""Runs in a real MLflow."""

import json
import re
from pathlib import Path

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from dovetail.contracts.model_folders import TRUSTED_TYPES
from dovetail.errors import TrackingError
from dovetail.science import pictures
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, runs

FRAME = pd.DataFrame({"hour": [5.0, 9.0, 13.0, 21.0], "delay": [0.0, 1.0, 40.0, 30.0]})


def model() -> Pipeline:
    return make_pipeline(LogisticRegression()).fit(FRAME, [0, 0, 1, 1])


def record(tracking: MLflow, **tags: str) -> tuple[experiments.MlflowClient, experiments.LoggedModel]:
    client = experiments.connect(tracking)
    with runs.recording(
        client, tracking, experiment="flights", run_name="logistic", description="A run.", tags=tags
    ) as run_id:
        inputs = [experiments.Input.of("train", "data/training_set/train.parquet", "a" * 32, FRAME)]
        experiments.log_inputs(client, run_id, inputs)
        experiments.log_results({"model": "logistic"}, {"validation/roc_auc": 0.75})
        y, p = np.array([0, 1]), np.array([0.1, 0.9])
        experiments.log_pictures({"validation_confusion": pictures.confusion(y, p, 0.5, "")})
        experiments.log_document({"seed": 42}, "settings.yaml")
        logged = experiments.log_model(model(), "logistic", FRAME.head(2), run_id=run_id, trusted_types=TRUSTED_TYPES)
    return client, logged


def test_a_run_holds_everything_about_the_model(tracking: MLflow) -> None:
    """Parameters, metrics, tags, data set with digest, picture, settings: as MLflow's own client reads them."""
    client, logged = record(tracking, **{"git.commit": "c0ffee"})
    run = client.get_run(logged.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"model": "logistic"}
    assert run.data.metrics == {"validation/roc_auc": 0.75}
    assert (run.data.tags["git.commit"], run.data.tags["dovetail.complete"]) == ("c0ffee", "true")
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("train", "a" * 12)
    assert json.loads(data.dataset.profile) == {"num_rows": 4, "num_elements": 8}
    artifacts = {file.path for folder in ("", "pictures") for file in client.list_artifacts(logged.run_id, folder)}
    assert artifacts == {"pictures", "pictures/validation_confusion.png", "settings.yaml"}


def test_an_experiment_shows_itself(tracking: MLflow) -> None:
    """Its description links, at any address, to a table of results that the UI offers, and to the registered model."""
    client, logged = record(tracking)
    experiment = client.get_experiment(client.get_run(logged.run_id).info.experiment_id)
    view = json.loads(experiment.tags["mlflow.sharedViewState.results"])
    assert "metrics.`holdout/roc_auc`" in json.loads(view["state"])["selectedColumns"]
    links = re.findall(r"\]\((.*?)\)", experiment.tags["mlflow.note.content"])
    assert links == [
        f"#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=results&workflowType=machine_learning",
        "#/models/flights",
    ]
    assert client.get_run(logged.run_id).data.tags["mlflow.source.name"] == "dovetail train"


def test_mlflow_loads_the_model_and_predicts_probabilities(tracking: MLflow) -> None:
    """`mlflow.sklearn` and `mlflow.pyfunc` both give what scikit-learn gave; inputs may be missing."""
    _, logged = record(tracking)
    expected = model().predict_proba(FRAME)
    assert (mlflow.sklearn.load_model(logged.model_uri).predict_proba(FRAME) == expected).all()
    loaded = mlflow.pyfunc.load_model(logged.model_uri)
    assert (loaded.predict(FRAME) == expected).all()
    assert [(column.type.name, column.required) for column in loaded.metadata.signature.inputs] == [
        ("double", False),
        ("double", False),
    ]


def test_a_run_that_raises_is_failed_and_incomplete(tracking: MLflow) -> None:
    """It is not taken for a run that a receipt may name."""
    client = experiments.connect(tracking)
    with (
        pytest.raises(RuntimeError, match="half-way"),
        runs.recording(client, tracking, experiment="flights", run_name="x", description="", tags={}) as run_id,
    ):
        raise RuntimeError("half-way")
    assert client.get_run(run_id).info.status == "FAILED"
    with pytest.raises(TrackingError, match=r"did not end well \(FAILED\)"):
        experiments.require_run(client, run_id, tracking_uri=tracking.tracking_uri, receipt="models/run.json")


def test_a_lost_run_is_said_with_the_command_that_makes_it_again(tracking: MLflow) -> None:
    """A run that was deleted, and one that was never there, both name the receipt."""
    client, logged = record(tracking)
    experiments.require_run(client, logged.run_id, tracking_uri=tracking.tracking_uri, receipt="models/run.json")
    client.delete_run(logged.run_id)
    for run_id, what in ((logged.run_id, "was deleted"), ("0" * 32, "is not there")):
        with pytest.raises(TrackingError) as caught:
            experiments.require_run(client, run_id, tracking_uri=tracking.tracking_uri, receipt="models/run.json")
        assert str(caught.value) == (
            f"run {run_id} {what}\n  in MLflow at {tracking.tracking_uri}, though models/run.json names it.\n"
            "  Make it again:  python -m dovetail mend"
        )


def test_the_artifacts_do_not_follow_the_working_directory(
    tracking: MLflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An experiment made from DVC's temporary copy keeps its artifacts at home."""
    (tmp_path / "copy").mkdir()
    monkeypatch.chdir(tmp_path / "copy")
    client, logged = record(tracking)
    assert client.get_run(logged.run_id).info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())


def test_a_deleted_experiment_comes_back(tracking: MLflow) -> None:
    """Somebody deleted it in the UI: the next run restores it instead of failing."""
    client, logged = record(tracking)
    client.delete_experiment(client.get_run(logged.run_id).info.experiment_id)
    _, again = record(tracking)
    assert client.get_run(again.run_id).info.status == "FINISHED"


def test_a_database_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A file that is no database gives one line and the next command, not a traceback of SQLAlchemy's."""
    (tmp_path / "mlflow.db").write_text("not a database")
    settings = MLflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_location=None)
    with pytest.raises(TrackingError, match="MLflow's database cannot be read: file is not a database"):
        experiments.connect(settings)


def test_no_secret_is_shown() -> None:
    """A URI is printed without user and password."""
    assert experiments.public_uri("postgresql://me:secret@db/mlflow") == "postgresql://db/mlflow"
    assert experiments.public_uri("sqlite:////home/me@work/mlflow.db") == "sqlite:////home/me@work/mlflow.db"
