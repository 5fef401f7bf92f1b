"""Bad input, a full disk and killed stages: a clear error, exit code 1, and nothing lost or half written."""

import hashlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FLIGHTS = "conf/usecase/flights.yaml"
DVC_FAILED = 255  # of `dvc repro`, when a stage exits with 1
OUTPUTS = {
    "ingest": ["data/raw"],
    "validate": ["data/valid", "data/quarantine"],
    "featurize": ["data/features", "data/label_rows.parquet"],
    "assemble": ["data/training_set"],
    "train": ["models"],
    "evaluate": ["reports/pictures", "metrics", "plots"],
    "register": ["models"],
    "drift": ["reports/drift.html", "metrics/drift.json"],
}


def digests(project, paths) -> dict[Path, str]:
    """Each file below the paths with the hash of its bytes, files that are being written included."""
    files = [file for path in paths for file in (project.folder / path).rglob("*") if file.is_file()]
    files += [project.folder / path for path in paths if (project.folder / path).is_file()]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize(
    ("file", "pattern", "replacement", "message"),
    [
        (
            FLIGHTS,
            r"n_bootstrap:",
            "n_botstrap:",
            "unknown key; did you mean 'n_bootstrap'?  [conf/usecase/flights.yaml]",
        ),
        ("conf/pipeline.yaml", r"model: \w+", "model: forest", "Available options in 'model':"),
    ],
)
def test_a_wrong_setting_stops_before_any_stage(project, file, pattern, replacement, message) -> None:
    """A misspelt key and a model that does not exist stop `dvc repro` at its first stage, and all outputs stay."""
    before = digests(project, ["data", "models", "reports"])
    project.edit(file, pattern, replacement)
    said = project.sh("dvc repro", DVC_FAILED)
    assert "SettingsError" in said
    assert message in said
    assert "Running stage 'ingest'" not in said
    assert digests(project, ["data", "models", "reports"]) == before


def test_an_empty_part_stops_the_run(project) -> None:
    """A part of two hours at night, when nobody flies, fails the certificate; corrected, all is restored."""
    project.edit(FLIGHTS, r"validation: \{.*\}", 'validation: {start: "2013-02-03T04:00", end: "2013-02-03T06:00"}')
    said = project.sh("dvc repro", DVC_FAILED)
    assert "SplitError: " in said
    assert "usecase.split.validation (2013-02-03 04:00:00+00:00 to 2013-02-03 06:00:00+00:00) has no labelled" in said
    assert "Traceback" not in said
    assert digests(project, ["data/training_set"]) == {}
    project.sh("git checkout -q conf")
    assert project.repro() == ["config"]
    assert project.sh("git status --short") == ""


def test_without_git_nothing_runs(project) -> None:
    """Without a git repository, DVC and every step refuse; the step says what to type."""
    shutil.move(project.folder / ".git", project.folder.parent / "git-put-aside")
    assert project.step("train", 1) == (
        f"WorkspaceError: no git repository\n  in {project.folder}; DVC needs one.\n  Make one:  git init && dvc init\n"
    )
    assert "is not a git repository" in project.sh("dvc repro", DVC_FAILED)
    shutil.rmtree(project.folder.parent / "git-put-aside")


def test_a_missing_database_is_named(project) -> None:
    """Without the operational database `ingest` fails, and names the source and the setting."""
    (project.folder / "data/operational.sqlite").unlink()
    said = project.sh("dvc repro --force --single-item ingest", DVC_FAILED)
    assert "SourceError: source 'flights'" in said
    assert "Traceback" not in said
    project.sh("dvc checkout")
    assert project.changed_stages() == set()


def test_a_renamed_column_is_recognized(project) -> None:
    """A column of a source with another name is called a probable rename, with the setting that accepts it."""
    with closing(sqlite3.connect(project.folder / "data/operational.sqlite")) as database:
        database.execute("ALTER TABLE flights RENAME COLUMN distance TO miles")
    project.edit(FLIGHTS, r"air_time, distance$", "air_time, miles")
    said = project.sh("dvc repro", DVC_FAILED)
    assert "ContractError: 1 of 4 sources break their contract: flights" in said
    assert "column 'distance' is missing; 'miles' is new and looks the same" in said
    assert "usecase.sources.flights.rename: {miles: distance}" in said
    assert digests(project, ["data/valid"]) == {}


@pytest.mark.parametrize("stage", OUTPUTS)
def test_a_full_disk_leaves_the_old_outputs(project, stage) -> None:
    """A stage that cannot write says so, and its outputs are those of before, byte for byte."""
    before = digests(project, OUTPUTS[stage])
    said = project.sh(f"ulimit -f 20; python -m dovetail {stage}", 1, DVC_STAGE=stage)
    assert "DiskFullError: no space left" in said
    assert said.endswith("Free some space and run the same command again:  df -h .\n"), "no traceback of ours"
    assert digests(project, OUTPUTS[stage]) == before


@pytest.mark.parametrize("stage", ["ingest", "validate", "featurize", "train"])
def test_a_killed_stage_leaves_whole_files(project, stage) -> None:
    """After kill -9 at some moment each output is whole, and `dvc repro` ends with the same hashes."""
    before = digests(project, OUTPUTS[stage])
    kill(project, stage, seconds_after_start=random.Random(stage).uniform(0, 3))
    after = digests(project, OUTPUTS[stage])
    assert set(before) <= set(after)
    if stage != "train":  # a model's file holds the time it was written
        assert {path: after[path] for path in before} == before
    project.repro()
    assert digests(project, OUTPUTS[stage]) == before
    assert project.sh("git status --short") == ""
    assert project.read("models/run.json")["run_id"] in project.complete_runs()


def kill(project, stage: str, seconds_after_start: float) -> None:
    """Start a stage as DVC does, and kill it some time after its first line."""
    command = ["python", "-m", "dovetail", stage]
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment(DVC_STAGE=stage),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        process.stdout.readline()
        time.sleep(seconds_after_start)
        process.send_signal(signal.SIGKILL)


def test_data_that_dvcs_cache_has_altered_is_not_used(project) -> None:
    """An object of the cache that was altered is checked out by DVC, and called up to date: we refuse, and it mends."""
    for part in ("train", "holdout"):
        path = project.folder / f"data/training_set/{part}.parquet"
        md5 = project.hashes("assemble")[f"data/training_set/{part}.parquet"]
        cached = project.folder / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
        cached.chmod(0o644)
        cached.write_bytes(path.read_bytes() + b"\0")
        cached.chmod(0o444)
        path.unlink()
    project.sh("dvc checkout")
    assert project.changed_stages() == set(), "DVC notices nothing"

    project.edit("conf/model/hist_gradient_boosting.yaml", r"max_iter: \d+", "max_iter: 21")
    refusals = [project.sh("dvc repro train", DVC_FAILED), project.step("evaluate", 1), project.step("promote", 1)]
    for said, part in zip(refusals, ("train", "holdout", "holdout"), strict=True):
        altered = rf"  - data/training_set/{part}\.parquet is [0-9a-f]{{32}}, assemble made [0-9a-f]{{32}}\n"
        assert re.search(rf"WorkspaceError: data is not what the pipeline made\n{altered}", said)
        assert "Traceback" not in said
    assert project.n_trained() == 1
    assert project.aliases() == {"challenger": 1}

    (advice,) = set(re.findall(r"mend what is damaged:  (chmod .* && dvc repro)$", "\n".join(refusals), re.MULTILINE))
    project.sh(f"{advice} train")
    assert project.n_trained() == 2
    assert project.hashes("assemble")["data/training_set/holdout.parquet"] == md5
