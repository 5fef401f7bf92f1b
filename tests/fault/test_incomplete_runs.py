"""`register` before runs that did not end, or miss something: nothing is registered."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tests.integration.conftest import mlflow_in
from tests.integration.test_experiments import record

from dovetail.errors import DovetailError, ModelUnavailableError, TrackingError
from dovetail.lineage import COMPLETE
from dovetail.settings.schema import MLflow, Pipeline, Profile, UseCase
from dovetail.settings.workspace import Workspace
from dovetail.stages.register import register
from dovetail.tools import experiments

TAGS = {"git.commit": "c0ffee"}
SETTINGS = Pipeline.model_construct(usecase=UseCase.model_construct(name="flights"))


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    """One database for all tests: each makes a run of its own."""
    with mlflow_in(tmp_path_factory.mktemp("incomplete")) as settings:
        yield settings


@pytest.fixture
def workspace(tracking: MLflow, tmp_path: Path) -> Workspace:
    """A finished and complete run, its receipt, and what `evaluate` and `assemble` wrote."""
    client, logged = record(tracking, **TAGS)
    client.log_dict(logged.run_id, {"views": {}}, "feature_definitions.json")
    client.log_dict(logged.run_id, {"seed": 42}, "params.yaml")
    client.log_dict(logged.run_id, {"hour": {"auc_lost": 0.1, "deviation": 0.01}}, "importances.json")
    interval = {"value": 0.7, "low": 0.6, "high": 0.8}
    files = {
        "models/run.json": asdict(logged) | {"threshold": 0.3, "tags": TAGS},
        "reports/evaluation.json": {
            "run_id": logged.run_id,
            "rows": 12,
            "holdout_md5": "b" * 32,
            "models": {"model": {"roc_auc": interval}},
        },
        "reports/split_certificate.json": {"holds": True},
        "reports/holdout_predictions.parquet": "any bytes",
        "reports/pictures/curves.png": "any bytes",
        "models/training_keys.parquet": "any bytes",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    client.log_artifact(logged.run_id, str(tmp_path / "models/training_keys.parquet"))
    profile = Profile.model_construct(mlflow=tracking)
    return Workspace(root=tmp_path, home=tmp_path, out=tmp_path, profile=profile, is_stage=True)


@pytest.fixture
def client(tracking: MLflow) -> MlflowClient:
    """As a person has it who writes to MLflow by hand."""
    return experiments.connect(tracking)


def receipt(workspace: Workspace) -> dict[str, Any]:
    """What `train` left."""
    return json.loads(workspace.read("models/run.json").read_text())


def versions(client: MlflowClient, run_id: str) -> int:
    """How many versions were made of the run."""
    return len(client.search_model_versions(f"run_id='{run_id}'"))


def test_a_complete_run_is_registered_with_its_manifests(workspace: Workspace, client: MlflowClient) -> None:
    """The version names every file of the model, and the documents that decide about it later."""
    register(SETTINGS, workspace)
    run = receipt(workspace)
    (version,) = client.search_model_versions(f"run_id='{run['run_id']}'")
    assert json.loads(version.tags["sealed.model_files"]) == run["files"]
    assert version.tags["dvc.evaluated_on.data/training_set/holdout.parquet"] == "b" * 32
    assert version.tags["dovetail.model_sha256"] == run["files"]["model.skops"]
    assert set(json.loads(version.tags["sealed.evidence"])) == {
        "evaluation.json",
        "feature_definitions.json",
        "holdout_predictions.parquet",
        "importances.json",
        "params.yaml",
        "settings.yaml",
        "split_certificate.json",
        "training_keys.parquet",
    }


def test_the_evaluation_is_the_models_too(workspace: Workspace, client: MlflowClient) -> None:
    """MLflow's table of models has the holdout's metrics, and the run has the holdout among its data sets."""
    register(SETTINGS, workspace)
    run = receipt(workspace)
    held = {each.key: (each.value, each.dataset_name) for each in client.get_logged_model(run["model_id"]).metrics}
    assert held["holdout/roc_auc"] == (0.7, "holdout")
    inputs = client.get_run(run["run_id"]).inputs.dataset_inputs
    assert {data.dataset.name: data.dataset.digest for data in inputs} == {"train": "a" * 12, "holdout": "b" * 12}


def unfinished(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    client.update_run(run_id, status="RUNNING")


def killed(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    client.set_terminated(run_id, "KILLED")


def incomplete(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    client.delete_tag(run_id, COMPLETE)


def untagged(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    client.delete_tag(run_id, "git.commit")


def without_meaning(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    (folder / "feature_definitions.json").unlink()


def without_model(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    shutil.rmtree(_model_folder(workspace, client))


def cut_short(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    path = _model_folder(workspace, client) / "model.skops"
    path.write_bytes(path.read_bytes()[:100])


def of_another_run(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    path = workspace.read("reports/evaluation.json")
    path.write_text(path.read_text().replace(run_id, "0" * 32))


def without_certificate(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    workspace.read("reports/split_certificate.json").unlink()


def with_other_keys(workspace: Workspace, client: MlflowClient, run_id: str) -> None:
    folder = Path(client.get_run(run_id).info.artifact_uri.removeprefix("file://"))
    (folder / "training_keys.parquet").write_text("the keys of other rows")


def _model_folder(workspace: Workspace, client: MlflowClient) -> Path:
    location = experiments.model_location(client, receipt(workspace)["model_id"])
    return Path(location.removeprefix("file://"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (unfinished, TrackingError, r"did not end well \(RUNNING\)"),
        (killed, TrackingError, r"did not end well \(KILLED\)"),
        (incomplete, TrackingError, "did not end well"),
        (untagged, TrackingError, r"has not got the receipt's git\.commit"),
        (without_meaning, ModelUnavailableError, r"is not complete: it has no feature_definitions\.json"),
        (without_model, ModelUnavailableError, "the files of the model of run .* are gone"),
        (cut_short, ModelUnavailableError, r"is refused, .*\n  - model\.skops was changed"),
        (of_another_run, TrackingError, r"evaluation\.json is of run 0000"),
        (without_certificate, DovetailError, r"split_certificate\.json"),
        (with_other_keys, TrackingError, r"MLflow has not stored training_keys\.parquet as it is here"),
    ],
)
def test_a_run_that_misses_something_is_not_registered(
    workspace: Workspace,
    client: MlflowClient,
    spoil: Callable[[Workspace, MlflowClient, str], None],
    error: type[DovetailError],
    said: str,
) -> None:
    """No version, no receipt, and a message that names what is missing."""
    run_id = receipt(workspace)["run_id"]
    spoil(workspace, client, run_id)
    with pytest.raises(error, match=said):
        register(SETTINGS, workspace)
    assert versions(client, run_id) == 0
    assert not workspace.read("models/version.json").exists()
