"""Was it the data or the model, on the real pipeline: a null change, newer data, and defects that are planted."""

import json
import shutil
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

WINDOWS = r'ORIGIN_WINDOWS = \{"3h": timedelta\(hours=3\)'
OFF_BY_SIXTY = 'ORIGIN_WINDOWS = {"3h": timedelta(minutes=3)'
HOURS = "UPDATE flights SET arr_delay = arr_delay / 60, dep_delay = dep_delay / 60 WHERE time_hour >= '2013-03-20'"


def draw(text: str) -> float:
    """A number from 0 to 1 that only the text decides."""
    return zlib.crc32(text.encode()) / 2**32


def delay(origin: str, time: str, flight: str) -> int:
    """Minutes: in a third of the stretches of eight hours most flights of an origin are late, else few are."""
    is_bad = draw(f"{origin} {time[:10]} {int(time[11:13]) // 8}") < 1 / 3
    return int(60 * (draw(flight + time) < (0.7 if is_bad else 0.08)) + 20 * draw(time + flight)) - 10


def change_source(project, statement: str) -> None:
    """Change the operational system, and read it again as a data version of its own."""
    with closing(sqlite3.connect(project.folder / "data/operational.sqlite")) as connection:
        connection.create_function("delay", 3, delay, deterministic=True)
        connection.execute(statement)
        connection.commit()
    project.sh("dvc repro --force --single-item ingest && git add -A && git commit -qm 'other data'")


def answer(project, arguments: str) -> dict[str, Any]:
    """What `compare` says to a program: JSON on standard output and nothing else."""
    return json.loads(project.sh(f"python -m dovetail compare {arguments} format=json 2> .runs/said.txt"))


@pytest.fixture(scope="module")
def planted(first_run) -> dict[str, Any]:
    """The answers about two defects: delays in hours from one day on, and a window off by a factor of sixty.

    In the operational system flights are late in stretches, by origin: only what landed lately tells of them.
    """
    project = first_run.checkout
    shutil.rmtree(project.folder)
    shutil.copytree(first_run.copy, project.folder, symlinks=True)
    (project.folder / ".runs").mkdir(exist_ok=True)
    change_source(project, "UPDATE flights SET arr_delay = delay(origin, time_hour, carrier || flight) "
                           "WHERE arr_delay IS NOT NULL")  # fmt: skip
    project.sh("git tag sound")
    project.edit("feature_repo/flights.py", WINDOWS, OFF_BY_SIXTY)
    project.sh("git commit -qam 'a window off by a factor' && git tag code && git checkout -q sound")
    change_source(project, HOURS)
    project.sh("git tag data")
    answers = {tag: answer(project, f"old=sound new={tag}") for tag in ("code", "data")}
    answers["runs"] = project.mlflow(
        "SELECT experiments.name, runs.name, runs.status, tags.value FROM runs JOIN experiments USING (experiment_id)"
        " LEFT JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'dovetail.comparison' ORDER BY start_time"
    )
    answers["picture"] = Path(answers["data"]["picture"]).read_bytes()
    answers["artifacts"] = {
        path.name for path in project.folder.glob(f"mlartifacts/{answers['data']['run_id']}/artifacts/**/*.*")
    }
    return answers


def test_a_unit_that_is_wrong_from_one_day_on_is_the_data(planted) -> None:
    """Nothing else differs, the model is the same; source, columns and day are named, and a delay feature first."""
    found = planted["data"]
    assert (found["outcome"], found["because_of"], found["same_model"]) == ("data", ["data"], True)
    assert found["effects"]["data"]["high"] < 0
    (difference,) = found["differences"]
    assert difference["part"] == "data"
    assert "arr_delay differs on" in difference["said"]
    assert "from 2013-03-20" in difference["said"]
    assert "delay" in found["inputs"][0]["name"] or "late" in found["inputs"][0]["name"]
    assert [row["moves"] for row in found["inputs"] if row["name"] in ("temp", "aircraft_seats", "hour")] == [0, 0, 0]
    changed = next(group for group in found["rows"] if group["fate"] == "changed")
    assert changed["labels"] > 100
    assert changed["first"] >= "2013-03-19"


def test_a_window_off_by_a_factor_is_the_features(planted) -> None:
    """The data is the same; the constant is named, and first of the inputs is one of that window."""
    found = planted["code"]
    assert (found["outcome"], found["because_of"], found["same_model"]) == ("model", ["features"], False)
    assert found["effects"]["model"]["high"] < 0
    assert [difference["part"] for difference in found["differences"]] == ["features"]
    assert "origin_delays: computation: ORIGIN_WINDOWS" in found["differences"][0]["said"]
    first, second, third, *others = found["inputs"]
    assert {row["name"] for row in (first, second, third)} == {
        "origin_n_flights_3h", "origin_mean_arr_delay_3h", "origin_share_late_3h",
    }  # fmt: skip
    assert first["name"] != "origin_n_flights_3h"
    assert {row["moves"] for row in others} == {0}
    assert {cell["data"]: cell["value"] for cell in found["cells"] if cell["model"] == "old"}.keys() == {"old", "new"}


def test_comparisons_are_not_among_the_trainings(planted) -> None:
    """They have an experiment of their own, with the table and the picture; a training is recorded as any other."""
    comparisons = [row for row in planted["runs"] if row[0] == "flights comparisons"]
    assert [(status, outcome) for _, _, status, outcome in comparisons] == [("FINISHED", "model"), ("FINISHED", "data")]
    assert {row[2] for row in planted["runs"]} == {"FINISHED"}
    assert planted["artifacts"] == {"comparison.json", "comparison.png"}
    assert planted["picture"].startswith(b"\x89PNG")


def test_the_same_version_is_no_change(in_production) -> None:
    """Same data, same model: said so, and nothing moved."""
    said = in_production.step("compare old=champion new=1")
    assert "Nothing differs: same data, same model, roc_auc +0.0000." in said
    assert in_production.aliases() == {"challenger": 1, "champion": 1}
    assert in_production.sh("git status --porcelain") == ""
    assert in_production.sh("git worktree list").count("\n") == 1


def test_newer_data_is_compared_on_the_rows_that_came(in_production) -> None:
    """Three weeks more of data: the model is the one that DVC has, and is judged on what only the new data knows."""
    said = in_production.step("compare old=2013-03-20 new=2013-04-10")
    assert "until 2013-04-10: ingest, validate, featurize, assemble, train from DVC's cache" in said
    assert "the model did not change" in said
    assert "rows (2013-03-19 to 2013-04-09) that came: roc_auc 0." in said
    assert "data        until 2013-03-20 -> 2013-04-10" in said
    assert "train runs" not in said
    trainings = "SELECT 1 FROM runs JOIN experiments USING (experiment_id) WHERE experiments.name = 'flights'"
    assert len(in_production.mlflow(trainings)) == 1


def test_data_that_is_gone_is_said_with_what_brings_it(in_production) -> None:
    """Neither in the cache nor in a remote: the command, and nothing moved."""
    raw = in_production.hashes("ingest")["data/raw"]
    (in_production.folder / f".dvc/cache/files/md5/{raw[:2]}/{raw[2:]}").unlink()
    said = in_production.step("compare old=champion new=1", 1)
    assert "DataVersionError: the data is not what was recorded\n  - data/raw is gone: recorded" in said
    assert "Bring it back:  dvc fetch --all-commits data/raw" in said
    assert in_production.aliases() == {"challenger": 1, "champion": 1}
