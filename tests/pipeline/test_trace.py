"""The thread on the real pipeline: from any end to all others, checked, and a model made again from it."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

TRAIN = r"data/training_set/train\.parquet"
BY_HAND = "client.set_registered_model_alias('flights', 'champion', '1')"


def links(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Every link of a tree in JSON."""
    for link in found:
        yield link
        yield from links(link.get("below", []))


def recorded(project, path: str) -> str:
    """DVC's hash of a path, by dvc.lock."""
    (stage,) = [stage for stage in project.read("dvc.lock")["stages"] if path in project.hashes(stage)]
    return project.hashes(stage)[path]


def test_every_end_leads_to_all_others(in_production) -> None:
    """From the model, its run, its commits, its data, a prediction and the drift report, in under three seconds."""
    project = in_production
    project.step("score")
    (log,) = (project.folder / "predictions/flights").glob("*.parquet")
    prediction = pq.read_table(log)["prediction_id"][7].as_py()
    run_id = project.read("models/run.json")["run_id"]
    raw = recorded(project, "data/raw")
    flights = next(
        entry["md5"]
        for entry in json.loads((project.folder / f".dvc/cache/files/md5/{raw[:2]}/{raw[2:]}").read_text())
        if entry["relpath"] == "flights.parquet"
    )
    ends = {
        "model=champion": "model flights version 1  @challenger @champion  registered",
        "model=flights/1": "model flights version 1",
        f"run={run_id}": "model flights version 1",
        "commit=HEAD~": "commit ",  # where it was trained
        "commit=HEAD": "commit ",  # whose dvc.lock names it
        f"data={raw}": "data/raw ",
        f"data={flights[:10]}": "data/raw/flights.parquet ",
        f"data={recorded(project, 'data/features')}": "data/features ",  # what was made of it on the way
        f"prediction={prediction}": f"prediction {prediction}  ",
        "report=metrics/drift.json": "report metrics/drift.json",
        "report=reports/drift.html": "report reports/drift.html",
    }
    for end, title in ends.items():
        before = getrusage(RUSAGE_CHILDREN)
        said = project.step(f"trace {end}")
        after = getrusage(RUSAGE_CHILDREN)
        assert said.startswith(title), end
        assert "flights version 1  @challenger @champion  registered" in said, end
        for line in (rf"run +{run_id}", r"data/training_set/train\.parquet +\w{12}", r"predictions +204 in 1 file"):
            assert re.search(line, said), (end, line)
        assert "Nothing of this was checked; compute it all again:  verify=true" in said
        # On a busy machine the clock says nothing.
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3, end

    said = json.loads(project.step("trace verify=true format=json 2>/dev/null"))
    assert said["verified"] is True
    assert {link.get("verdict", "verified") for link in links(said["found"])} == {"verified"}
    whats = [link["what"] for link in links(said["found"])]
    assert {"run", "code", "environment", "data", "split", "features", "settings", "files"} <= set(whats)
    assert {"evaluation", "gate", "predictions", "drift", "flights.parquet", "weather.parquet"} <= set(whats)
    (run,) = [link for link in links(said["found"]) if link["what"] == "run"]
    assert run == {"what": "run", "run_id": run_id, "status": "FINISHED", "verdict": "verified"}

    rows = pq.read_table(log)
    changed = rows.set_column(rows.column_names.index("key"), "key", [["XX1"] * rows.num_rows])
    pq.write_table(changed, log)
    said = project.step(f"trace prediction={prediction} verify=true", 2)
    assert "differs: the row in " in said
    assert "✗ predictions" in said


def cache_object(project, path: str) -> Path:
    md5 = recorded(project, path)
    return project.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"


def altered(project) -> str:
    path = cache_object(project, "data/training_set/train.parquet")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-8] + b"\0PAR1xxx")
    path.chmod(0o444)
    project.sh("rm data/training_set/train.parquet && dvc checkout -q data/training_set/train.parquet")
    assert "up to date" in project.sh("dvc status -q train && echo up to date || dvc status train")
    md5 = recorded(project, "data/training_set/train.parquet")
    return rf"✗ {TRAIN} .*\n.*differs: recorded {md5}, found \w{{32}} in DVC's cache at {path}\n.*rm -f {path} && "


def altered_in_the_cache_alone(project) -> str:
    path = cache_object(project, "data/training_set/train.parquet")
    path.chmod(0o644)
    path.write_bytes(b"other")
    return rf"✗ {TRAIN} .*\n.*differs: recorded .* in DVC's cache at .*\n.*install -m 444 {TRAIN} {path}"


def missing(project) -> str:
    cache_object(project, "data/training_set/train.parquet").unlink()
    (project.folder / "data/training_set/train.parquet").unlink()
    gone = "cannot be checked: is neither in DVC's cache nor in the workspace"
    return rf"\? {TRAIN} .*\n.*{gone}\n.*dvc fetch --all-commits {TRAIN}"


def edited(project) -> str:
    (project.folder / "data/training_set/train.parquet").write_bytes(b"mine")
    return rf"✗ {TRAIN} .*\n.*differs: recorded \w{{32}}, found \w{{32}} in the workspace at .*\n.*dvc checkout --force"


def flipped(project) -> str:
    (path,) = (project.folder / "mlartifacts/models").rglob("model.skops")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return r"✗ files .*\n.*differs: model\.skops was changed: SHA-256 \w{12}…, registered was \w{12}…; in /"


def lost_run(project) -> str:
    project.with_mlflow("client.delete_run(client.get_model_version('flights', '1').run_id)")
    return r"✗ run .*deleted.*\n.*differs: it was deleted in MLflow\n.*mlflow runs restore --run-id \w{32}"


def vanished_run(project) -> str:
    import sqlite3

    with sqlite3.connect(project.folder / "mlflow.db") as connection:
        connection.execute("DELETE FROM tags")
        connection.execute("DELETE FROM runs")
    return r"\? run .*lost\n.*cannot be checked: MLflow has not got it any more\n.*python -m dovetail mend"


def changed_document(project) -> str:
    (path,) = (project.folder / "mlartifacts").rglob("settings.yaml")
    path.write_text(path.read_text().replace("seed: 42", "seed: 43"))
    return r"✗ settings .*\n.*differs: recorded \w{64}, found \w{64} in /"


def exchanged_document(project) -> str:
    (path,) = (project.folder / "mlartifacts").rglob("split_certificate.json")
    path.write_text('{"holds": true, "rows": [1]}')
    return r"✗ split\n.*differs: recorded \w{64}, found \w{64} in /"


def torn_log(project) -> str:
    (project.folder / "predictions/flights").mkdir(parents=True)
    (project.folder / "predictions/flights/torn.parquet").write_bytes(b"PAR1 torn")
    return r"\? predictions  a file of the log is damaged\n.*cannot be checked: torn\.parquet cannot be read"


def unknown_commit(project) -> str:
    project.sh("rm -rf .git && git init -q && git add -A && git commit -qm anew")
    return (
        r"\? code +\w{12}  not in this repository\n.*cannot be checked: git knows no commit \w{40}\n.*git fetch --all"
    )


def moved_alias(project) -> str:
    project.with_mlflow(BY_HAND)
    return r"✗ gate\n.*differs: it is the champion, and the gate's decision is: none"


@pytest.mark.parametrize(
    "spoil",
    [
        altered,
        altered_in_the_cache_alone,
        missing,
        edited,
        flipped,
        lost_run,
        vanished_run,
        changed_document,
        exchanged_document,
        torn_log,
        unknown_commit,
        moved_alias,
    ],
)
def test_what_is_not_as_recorded_is_said_where_it_is(project, spoil: Callable[[Any], str]) -> None:
    """With both hashes or the reason, and the command that mends it; exit code 2, and nothing moved (F05)."""
    expected = spoil(project)
    said = project.step("trace model=1 verify=true", 2)
    assert re.search(expected, said), said
    assert "LineageError: " in said
    assert "Traceback" not in said
    unverified = project.step("trace model=1")
    assert "Nothing of this was checked" in unverified
    assert "✓" not in unverified


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("model=7", "ModelUnavailableError: model 'flights' has no version 7"),
        ("model=nobody", "NoChampionError: model 'flights' has no alias 'nobody'"),
        ("run=abcdef123", "TrackingError: there is no run 'abcdef123'"),
        ("commit=nowhere", "WorkspaceError: git knows no commit 'nowhere'"),
        ("data=abcdef123", "TrackingError: no model was made of data 'abcdef123'"),
        ("prediction=abcdef123", "WorkspaceError: there is no prediction 'abcdef123'"),
        ("report=README.md", "WorkspaceError: README.md does not say what it compared"),
        ("model=1 run=2", "SettingsError: trace goes from one end to all others, and was given 2: model, run"),
    ],
)
def test_an_unknown_end_says_what_there_is(project, end: str, said: str) -> None:
    """Exit code 1, and what to type."""
    answer = project.step(f"trace {end}", 1)
    assert said in answer
    assert "Traceback" not in answer


def test_a_run_that_was_not_registered_is_traced_too(project) -> None:
    """What it was made of is checked by the hashes that it has; its reports were never sealed."""
    run_id = project.read("models/run.json")["run_id"]
    project.with_mlflow("client.delete_model_version('flights', '1')")
    said = project.step(f"trace run={run_id} verify=true", 2)
    assert said.startswith(f"? run {run_id}  not registered\n├─ ✓ run")
    for line in (r"✓ code", r"✓ features", r"✓ settings", r"\? split .*\n.*split_certificate\.json was never sealed"):
        assert re.search(line, said), line


def test_of_many_models_the_newest_are_shown(project) -> None:
    """Ten, and how many more; those that nobody looked at are not called fine."""
    project.with_mlflow(
        "first = client.get_model_version('flights', '1')\n"
        "for _ in range(11): client.create_model_version('flights', first.source, first.run_id, tags=first.tags)"
    )
    raw = recorded(project, "data/raw")
    said = project.step(f"trace data={raw}")
    assert re.findall(r"model +flights version (\d+)", said) == [str(number) for number in range(12, 2, -1)]
    assert re.search(r"└─ models +and 2 more\n\nNothing of this was checked", said)
    said = project.step(f"trace data={raw} verify=true", 2)
    assert re.search(r"└─ \? models +and 2 more\n +cannot be checked: only the newest 10 are looked at", said)


def test_without_any_model_there_is_nothing_to_trace(project) -> None:
    """An empty registry, and no database at all; neither is made."""
    (project.folder / "mlflow.db").unlink()
    for command in ("trace", "reproduce"):
        assert "there is no model version yet" in project.step(command, 1)
    assert not (project.folder / "mlflow.db").exists()


def test_an_experiment_is_made_again_to_the_bit(project) -> None:
    """From its commit, its raw data and its own settings, which conf/ never had; nothing of it stays anywhere."""
    project.sh("dvc exp run -S model=logistic -S model.C=0.3")
    shutil.rmtree(project.folder / "data")  # also the source: the raw data is in DVC's cache
    cache = sorted(project.folder.glob(".dvc/cache/**/*"))
    versions, runs = project.aliases(), project.complete_runs()
    said = project.step("reproduce model=challenger")
    assert "flights version 2, made again at commit " in said
    assert re.search(r"All [\d,]+ predictions on the holdout are equal to the bit\.", said)
    assert "differs" not in said
    assert sorted(project.folder.glob(".dvc/cache/**/*")) == cache
    assert (project.aliases(), project.complete_runs()) == (versions, runs)
    assert project.n_trained() == 2
    assert not (project.folder / "data").exists()
    assert project.sh("git worktree list").count("\n") == 1


def test_what_cannot_be_made_again_is_said_before_it_takes_minutes(project) -> None:
    """Code that nobody committed, other packages, data that is gone: nothing is started."""
    project.sh("echo '# other packages' >> requirements.lock")
    said = project.step("reproduce model=1", 2)
    assert "the packages are others: requirements.lock is" in said
    assert "anyway=true" in said
    project.sh("git checkout -q requirements.lock")
    cache_object(project, "data/training_set/holdout.parquet").unlink()
    (project.folder / "data/training_set/holdout.parquet").unlink()
    said = project.step("reproduce model=1", 1)
    assert "DataVersionError: the data is not what was recorded\n  - data/training_set/holdout.parquet is gone" in said
    assert "dvc fetch --all-commits data/training_set/holdout.parquet" in said
    assert "Running stage" not in said
