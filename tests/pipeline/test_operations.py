"""The operations on the real pipeline: the gate, batch scoring, the summary and the doctor."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

DESCRIBE = """
for number in (1, 2):
    version = client.get_model_version('flights', str(number))
    print(number, version.tags.get('dovetail.gate'), version.description)
"""
# What a person does in MLflow's UI: a copy of the version, made the champion.
SECOND_CHAMPION = """
first = client.get_model_version('flights', '1')
client.create_model_version('flights', first.source, first.run_id, tags=first.tags)
client.set_registered_model_alias('flights', 'champion', '2')
"""


def predictions(project) -> list[Path]:
    """The files of the prediction log."""
    return sorted((project.folder / "predictions/flights").glob("*.parquet"))


def test_the_first_model_is_promoted_once(project) -> None:
    """The first model needs to beat the baseline only; asked again, there is nothing to promote."""
    assert "flights version 1 is the champion now: gain in roc_auc +0." in project.step("promote")
    assert project.aliases() == {"challenger": 1, "champion": 1}
    tags = dict(project.mlflow("SELECT key, value FROM model_version_tags WHERE version = 1"))
    assert tags["dovetail.gate"] == "passed"
    assert tags["git.commit"] == project.sh("git rev-parse HEAD~").strip()
    assert tags["git.dirty"] == "false"
    assert "flights version 1 is the champion already: nothing to promote" in project.step("promote")


def test_an_equal_model_is_refused(in_production) -> None:
    """The same model trained again is no gain: exit code 2, the reasons, the numbers, and the champion stays."""
    project = in_production
    project.repro("--force --single-item train")
    assert project.repro() == ["evaluate", "register"]
    said = project.step("promote", 2)
    assert (
        "GateRefused: flights version 2 is not promoted\n  - gain in roc_auc +0.0000 (interval +0.0000 to +0.0000)"
        in said
    )
    assert "over the champion; must be at least 0.002 with its interval above 0" in said
    assert "flights version 1 stays champion." in said
    assert project.aliases() == {"challenger": 2, "champion": 1}
    assert re.match(
        r"1 passed Passed by the gate as the first version, on the same rows of the holdout\."
        r"\n\n\[Model card\].*?\n- gain .*?"
        r"2 refused Refused by the gate against flights version 1, on the same rows of the holdout\.\n\n\[Model card\]",
        project.with_mlflow(DESCRIBE),
        re.DOTALL,
    )


def test_without_a_champion_nothing_is_scored(project) -> None:
    """Before a promotion, `score` says what is missing and what to type."""
    assert project.step("score", 1).endswith(
        "NoChampionError: no version of model 'flights' has the alias 'champion'\n"
        "  in the model registry (1 versions; aliases: challenger -> 1).\n"
        "  Promote one first:  python -m dovetail promote\n"
    )
    assert predictions(project) == []


def test_scores_are_appended(in_production) -> None:
    """Each flight is scored once by each champion, stamped with what made it; no file is ever written over."""
    in_production.step("score")
    (first,) = predictions(in_production)
    rows = pq.read_table(first)
    content = first.read_bytes()
    assert rows.num_rows > 100
    assert rows["key"].to_pylist() == sorted(set(rows["key"].to_pylist()), key=rows["key"].to_pylist().index)
    assert set(rows["run_id"].to_pylist()) == {in_production.read("models/run.json")["run_id"]}
    assert [set(rows[name].to_pylist()) for name in ("model", "model_version")] == [{"flights"}, {1}]
    assert [len(set(rows[name].to_pylist())) for name in ("data_version", "scored_at")] == [1, 1]

    assert "is predicted: nothing to score" in in_production.step("score")
    assert predictions(in_production) == [first]

    in_production.with_mlflow(SECOND_CHAMPION)
    said = in_production.step("score usecase.scoring.ungated=warn")
    assert "THE CHAMPION, flights version 2, never passed the gate, by the journal (moved outside Dovetail: " in said
    (second,) = set(predictions(in_production)) - {first}
    again = pq.read_table(second)
    assert first.read_bytes() == content
    assert again["probability"] == rows["probability"]
    assert set(again["model_version"].to_pylist()) == {2}


def test_no_flight_is_missed_when_time_goes_on(in_production) -> None:
    """Days later every flight since the log began is predicted once, those too that were not known yet at first."""
    in_production.step("score")
    in_production.edit("conf/usecase/flights.yaml", r'until: "[\d-]+"', 'until: "2013-04-13"')
    assert "WorkspaceError: there is no row in the 24 hours before" in in_production.step("score", 1)
    in_production.repro("assemble")
    in_production.step("score")
    logged = [key for file in predictions(in_production) for key in pq.read_table(file)["key"].to_pylist()]
    rows = pq.read_table(in_production.folder / "data/label_rows.parquet").to_pandas()
    assert sorted(logged) == sorted(rows.loc[rows["event_timestamp"] >= "2013-04-09T00:00Z", "flight_id"])


def test_a_champion_with_other_features_is_judged_by_its_own(in_production) -> None:
    """Where a feature now means something else, the champion's predictions of the time count, on the same rows."""
    champion = in_production.read("metrics/holdout.json")["holdout/roc_auc"]
    in_production.edit("feature_repo/flights.py", r"_\.arr_delay\.mean\(\)", "(_.arr_delay / 60).mean()")
    in_production.repro()
    in_production.step("promote", 2)
    numbers = in_production.read("reports/promotion.json")["numbers"]
    assert numbers["gate/champion_roc_auc"] == pytest.approx(champion)
    assert numbers["gate/roc_auc"] == pytest.approx(in_production.read("metrics/holdout.json")["holdout/roc_auc"])


def test_other_features_are_not_served(in_production) -> None:
    """When the feature definitions are no longer those of the champion's training, nothing is scored."""
    in_production.edit("feature_repo/flights.py", r"ttl=timedelta\(hours=6\)", "ttl=timedelta(hours=7)")
    said = in_production.step("score", 1)
    assert "FeatureError: the inputs are not those that flights version 1 was trained on" in said
    assert "train and promote a model with these:  make run" in said
    assert predictions(in_production) == []


def test_the_summary_names_files_that_exist(in_production) -> None:
    """The summary has the metric with its interval, the gate, drift, and five files to look at."""
    in_production.step("score")
    said = in_production.step("summary")
    assert re.search(r"^  this model +ROC AUC 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]", said, re.MULTILINE)
    assert re.search(r"^gate +passed as the first version: gain in roc_auc", said, re.MULTILINE)
    assert re.search(r"^drift +\w+ in 2013-03: \d+ of \d+ inputs drift", said, re.MULTILINE)
    paths = re.findall(r"^  ((?:reports|predictions)/\S+)", said, re.MULTILINE)
    assert len(paths) == 5
    assert [path for path in paths if not (in_production.folder / path).is_file()] == []


def test_the_doctor_says_what_to_type(project) -> None:
    """The doctor is content after a run; without dvc.lock and the database it says what makes them."""
    assert "->" not in project.step("doctor")
    (project.folder / "dvc.lock").unlink()
    (project.folder / "data/operational.sqlite").unlink()
    said = project.step("doctor", 1)
    assert re.findall(r"^-> +(\w+)", said, re.MULTILINE) == ["DVC", "source"]
    assert "Run it:  make run" in said
    assert "Make it:  make sources" in said
