"""`dvc repro` end to end on real flights: what it runs, what it leaves alone, and that it does the same twice."""

import pytest

pytestmark = pytest.mark.slow

STAGES = ["config", "ingest", "validate", "featurize", "assemble", "train", "evaluate", "register", "drift"]
DATA_STAGES = STAGES[1:5]
FLIGHTS = "conf/usecase/flights.yaml"
BOOSTING = "conf/model/hist_gradient_boosting.yaml"
# The file, the place and its new text; the stages that use the value.
EDITS = [
    (BOOSTING, r"max_iter: \d+", "max_iter: 21", {"train"}),
    (BOOSTING.replace("hist_gradient_boosting", "logistic"), r"C: .*", "C: 0.2", set()),
    ("conf/pipeline.yaml", r"^seed: \d+", "seed: 7", {"train", "evaluate"}),
    (FLIGHTS, r"until: .*", 'until: "2013-04-11"', {"ingest", "featurize", "drift"}),
    (FLIGHTS, r"n_bootstrap: \d+", "n_bootstrap: 51", {"evaluate"}),
    (FLIGHTS, r"margin: .*", "margin: 0.01", set()),
    (FLIGHTS, r"window_hours: .*", "window_hours: 12", set()),
    (FLIGHTS, r" threshold: .*", " threshold: 0.2", {"drift"}),
]


def test_a_cold_run_runs_every_stage_once(first_run) -> None:
    """The first `dvc repro` runs all stages, and makes every output that dvc.yaml declares."""
    assert [stage for stage in STAGES if f"Running stage '{stage}'" in first_run.said] == STAGES
    declared = first_run.checkout.read("dvc.yaml")["stages"]
    paths = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in declared.values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    ]
    assert [path for path in paths if not (first_run.copy / path).exists()] == []
    assert "Traceback" not in first_run.said


def test_nothing_changed_runs_nothing(project) -> None:
    """`dvc repro` again runs no stage and makes no run, also after an edit of the profile, or with another engine."""
    (project.folder / "conf/profile/local.yaml").open("a").write("# a comment\n")
    assert project.repro() == []
    assert project.repro(PROFILE="spark") == []
    assert project.complete_runs() == {project.read("models/run.json")["run_id"]}
    assert project.n_trained() == 1
    assert project.sh("git status --short").split() == ["M", "conf/profile/local.yaml"]


def test_an_edit_in_conf_concerns_exactly_its_users(project) -> None:
    """After an edit in conf/ the stages that use the value are out of date, and no others."""
    found = []
    for file, pattern, replacement, _ in EDITS:
        before = (project.folder / file).read_text()
        project.edit(file, pattern, replacement)
        assert project.repro("--single-item config") == ["config"]
        found.append((replacement, project.changed_stages()))
        (project.folder / file).write_text(before)
    assert found == [(replacement, users) for _, _, replacement, users in EDITS]


def test_a_new_model_and_back(project) -> None:
    """A changed model reruns from `train`; changed back, all is restored, its run exists, and `mend` sets the alias."""
    first = project.read("models/version.json")
    project.edit(BOOSTING, r"max_leaf_nodes: \d+", "max_leaf_nodes: 4")
    assert project.repro() == ["config", "train", "evaluate", "register"]
    second = project.read("models/version.json")
    assert second["run_id"] != first["run_id"]
    assert project.aliases() == {"challenger": second["version"]}

    project.sh("git checkout -q conf")
    assert project.repro() == ["config"]
    assert project.read("models/version.json") == first
    assert project.complete_runs() == {first["run_id"], second["run_id"]}
    said = project.step("promote", 1)
    assert "TrackingError: the challenger is flights version 2, this workspace made version 1" in said
    assert "flights version 1, which DVC restored, is the challenger again" in project.step("mend")
    assert project.aliases() == {"challenger": first["version"]}


def test_new_data_is_a_new_data_version_without_training(project) -> None:
    """Moving `until` runs the data's stages and drift, trains nothing, and keeps the model version; and back again."""
    before = project.hashes(*DATA_STAGES)
    project.edit(FLIGHTS, r"until: .*", 'until: "2013-04-12"')
    # `register` adds the new split certificate to the same run.
    assert project.repro() == ["config", *DATA_STAGES, "register", "drift"]
    assert project.n_trained() == 1
    assert project.mlflow("SELECT count(*) FROM model_versions") == [(1,)]
    after = project.hashes(*DATA_STAGES)
    same = {path for path in before if before[path] == after[path] and path.startswith("data/")}
    assert after["data/raw"] != before["data/raw"]
    parts = {f"data/training_set/{name}" for name in ("definition.json", "train.parquet", "validation.parquet")}
    assert same == {*parts, "data/training_set/holdout.parquet", "data/quarantine"}

    project.sh("git checkout -q conf")
    assert project.repro() == ["config"]
    assert project.sh("git status --short") == ""


def test_a_comment_in_the_feature_definitions_trains_nothing(project) -> None:
    """An edit that changes no meaning computes the features again, and stops there."""
    (project.folder / "feature_repo/flights.py").open("a").write("# a comment\n")
    assert project.repro() == ["featurize", "assemble"]
    assert project.changed_stages() == set()


def test_a_new_window_reaches_the_model(project) -> None:
    """A feature that means something else is computed, joined, and trained on."""
    project.edit("feature_repo/flights.py", r"^(CARRIER_WINDOWS = .*)hours=24", r"\1hours=23")
    assert project.repro("assemble") == ["featurize", "assemble"]
    assert project.changed_stages() == {"train", "evaluate", "register", "drift"}


def test_two_cold_runs_agree(project, new_checkout, tmp_path) -> None:
    """Another checkout, elsewhere and in another time zone, makes the same bytes of data and the same metrics."""
    other = new_checkout(tmp_path / "elsewhere")
    said = other.sh("dvc repro evaluate", TZ="Asia/Kathmandu", PYTHONHASHSEED="7")
    assert said.count("Running stage") == len(STAGES) - 2
    assert other.hashes(*DATA_STAGES) == project.hashes(*DATA_STAGES)
    for name in ("validation", "holdout"):
        assert other.read(f"metrics/{name}.json") == project.read(f"metrics/{name}.json")
    assert len(other.complete_runs()) == 1
