"""Runs in MLflow and DVC's files belong together: experiments, and receipts whose record MLflow has lost."""

import json
import re
import shutil

import pytest

pytestmark = pytest.mark.slow

LOSE_THE_RUN = "for run in client.search_runs(['1']): client.delete_run(run.info.run_id)"
LOSE_THE_VERSION = "client.delete_model_version('flights', '1')"
LOAD = """
import pandas
example = mlflow.models.Model.load('models:/flights@challenger').load_input_example('models:/flights@challenger')
rows = pandas.concat([example] * 2)
own = mlflow.sklearn.load_model('models:/flights@challenger').predict_proba(rows)
generic = mlflow.pyfunc.load_model('models:/flights@challenger').predict(rows)
print(own.shape, (own == generic).all(), 0 < generic[:, 1].min() < generic[:, 1].max() < 1)
"""


def models_of_complete_runs(project) -> list[str]:
    """The parameter `model` of each complete run, sorted."""
    models = dict(project.mlflow("SELECT run_uuid, value FROM params WHERE key = 'model'"))
    return sorted(models[run] for run in project.complete_runs())


def test_an_experiment_is_complete_and_compared(project) -> None:
    """`dvc exp run -S` makes a complete run and a new challenger; DVC's own commands show, compare and draw it."""
    project.sh("dvc exp run -S model=baseline")
    assert models_of_complete_runs(project) == ["baseline", "hist_gradient_boosting"]
    assert project.aliases() == {"challenger": 2}
    ((name,),) = project.mlflow("SELECT value FROM tags WHERE key = 'dvc.experiment'")
    assert project.sh("dvc exp list --name-only").split() == [name]
    assert (f"baseline {name}",) in project.mlflow("SELECT name FROM runs")

    shown = json.loads(project.sh("dvc metrics show --json 2>/dev/null"))[""]["data"]
    assert shown["metrics/holdout.json"]["data"]["holdout/roc_auc"] == 0.5
    differs = json.loads(project.sh("dvc metrics diff --json 2>/dev/null"))["metrics/holdout.json"]["holdout/roc_auc"]
    assert differs["new"] == 0.5 < differs["old"]
    project.sh("dvc plots show")
    page = (project.folder / "dvc_plots/index.html").read_text()
    assert [name for name in ("roc", "calibration", "slices") if f"plots/{name}.csv" not in page] == []


def test_a_queued_grid_is_complete(project) -> None:
    """Experiments in DVC's temporary copies are complete in the checkout's own MLflow, and leave it alone."""
    project.sh("dvc exp run --queue -S 'model=baseline,logistic'")
    project.sh("dvc exp run --run-all")
    assert models_of_complete_runs(project) == ["baseline", "hist_gradient_boosting", "logistic"]
    assert project.n_trained() == 3
    assert project.sh("git status --short") == ""


def test_a_sweep_is_complete(project) -> None:
    """`python -m dovetail train -m` makes a complete run of each model, and touches none of DVC's outputs."""
    project.step("train -m model=logistic,hist_gradient_boosting")
    assert models_of_complete_runs(project) == ["hist_gradient_boosting", "hist_gradient_boosting", "logistic"]
    assert project.changed_stages() == set()
    assert project.sh("git status --short") == ""


def test_mlflow_loads_the_model_by_itself(project) -> None:
    """MLflow's own loaders predict the same probabilities from the registered model, none of our code needed."""
    assert project.with_mlflow(LOAD) == "(10, 2) True True\n"


def test_a_lost_database_is_noticed_and_mended(project) -> None:
    """Without mlflow.db, `promote` and `doctor` say what to type; that makes the run and the version again."""
    (project.folder / "mlflow.db").unlink()
    for step in ("promote", "doctor"):
        said = project.step(step, 1)
        assert "Make it again:  python -m dovetail mend" in said
        assert "Traceback" not in said

    assert re.findall(r"Running stage '(\w+)'", project.step("mend")) == ["train", "evaluate", "register"]
    assert project.complete_runs() == {project.read("models/run.json")["run_id"]}
    assert project.aliases() == {"challenger": project.read("models/version.json")["version"]}
    assert project.repro() == []
    assert "MLflow has what the receipts name" in project.step("mend")
    project.step("doctor")


def test_a_deleted_run_is_noticed_and_mended(project) -> None:
    """A run that was deleted in MLflow is not promoted; `mend` makes another, and its version is the challenger."""
    project.with_mlflow(LOSE_THE_RUN)
    for step in ("promote", "doctor"):
        said = project.step(step, 1)
        assert "was deleted" in said
        assert "python -m dovetail mend" in said
    project.step("mend")
    assert project.complete_runs() == {project.read("models/run.json")["run_id"]}
    assert project.aliases() == {"challenger": 2}


def test_a_deleted_model_version_is_noticed_and_mended(project) -> None:
    """A model version that was deleted in MLflow is missed, and registered again from the same run."""
    project.with_mlflow(LOSE_THE_VERSION)
    for step in ("promote", "doctor"):
        assert "python -m dovetail mend" in project.step(step, 1)
    assert re.findall(r"Running stage '(\w+)'", project.step("mend")) == ["register"]
    assert project.aliases() == {"challenger": project.read("models/version.json")["version"]}
    assert len(project.complete_runs()) == 1


def test_lost_artifacts_are_noticed_and_mended(project) -> None:
    """A model whose file is gone is not taken for one that is there, though MLflow's database still names it."""
    shutil.rmtree(project.folder / "mlartifacts/models")
    assert "the files of flights version 1 are gone" in project.step("doctor", 1)
    assert re.findall(r"Running stage '(\w+)'", project.step("mend")) == ["train", "evaluate", "register"]
    project.step("doctor")
