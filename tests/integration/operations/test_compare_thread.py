"""What differs between two points, by a real repository and a real cache: all that can be a cause, and nothing else."""

import hashlib
import json
import subprocess
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from dovetail.files import write_parquet
from dovetail.operations.compare.builds import Build
from dovetail.operations.compare.points import RAW, Point
from dovetail.operations.compare.thread import Difference, differences

STAGES = {
    "validate": {"deps": ["src/checks.py"], "params": ["usecase.sources"]},
    "featurize": {"deps": ["src/store"], "params": ["usecase.label", "usecase.until"]},
    "assemble": {"deps": ["src/splits.py"], "params": ["usecase.split"]},
    "train": {
        "deps": ["src/splits.py", "src/model.py", "src/dovetail/science/pictures.py", "src/dovetail/tools/runs.py"],
        "params": ["model", "seed"],
    },
}
FILES = {
    "dvc.yaml": yaml.safe_dump({"stages": STAGES}),
    "requirements.lock": "numpy==1.0 \\\n    --hash=sha256:a\nscipy==2.0\n",
    "src/checks.py": "limit = 1\n",
    "src/store/join.py": "join = 1\n",
    "src/splits.py": "def split(rows):\n    return rows\n",
    "src/model.py": "trees = 100\n",
    "src/report.py": "colour = 1\n",
    "src/dovetail/science/pictures.py": "size = 1\n",
    "src/dovetail/tools/runs.py": "run = 1\n",
}
PARAMS = {
    "usecase": {
        "until": "2013-10-01",
        "sources": {"flights": {"key": ["key"], "time": "at", "max_quarantined": 0.1}},
        "split": {"train": {"end": "2013-07-01"}, "holdout": {"end": "2013-10-01"}},
        "gate": {"margin": 0.002},
    },
    "model": {"name": "logistic", "C": 1.0, "seed": 42},
    "seed": 42,
}
MEANING = {
    "views": {"delays": {"ttl_seconds": 3600.0}},
    "feature_service": None,
    "label_rows": {"arguments": {"lead_minutes": 120}},
    "request": [],
}


def build(params=PARAMS, meaning=MEANING, raw="0" * 32 + ".dir", sources=None) -> Build:
    return Build(pd.DataFrame(), pd.Index([]), {RAW: raw}, params, meaning, sources or {})


def changed(params: dict, **values: object) -> dict:
    """The settings with other values, by dotted keys."""
    copy = json.loads(json.dumps(params))
    for key, value in values.items():
        *path, last = key.split("__")
        node = copy
        for part in path:
            node = node[part]
        node[last] = value
    return copy


class Repository:
    """A repository whose commits hold `FILES` with some of them changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.sh("init", "-q")
        self.old = self.commit({})

    def sh(self, *arguments: str) -> str:
        """What git says."""
        command = ["git", "-c", "user.name=A", "-c", "user.email=a@dovetail.test", *arguments]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, changes: dict[str, str]) -> Point:
        """The point of a commit with these files changed, and no other."""
        for name, text in {**FILES, **changes}.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text)
        self.sh("add", "-A")
        self.sh("commit", "-q", "--allow-empty", "-m", "commit")
        return Point("revision", "commit", self.sh("rev-parse", "HEAD"))

    def differences(self, changes: dict[str, str], old: Build | None = None, new: Build | None = None):
        """What differs from the first commit."""
        return differences((self.old, old or build()), (self.commit(changes), new or build()), self.root)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_nothing_differs(repository: Repository) -> None:
    """Two commits with the same files are the same."""
    assert repository.differences({}) == []


def test_code_that_makes_rows_or_models_is_a_cause(repository: Repository) -> None:
    """With the stages that run it; code that says the same, records, draws or is not run by them is none."""
    changes = {
        "src/checks.py": "limit = 2\n",
        "src/store/join.py": "join = 2\n",
        "src/splits.py": 'def split(rows):\n    """Says more."""\n    return rows  # and here\n',
        "src/model.py": "trees = 200\n",
        "src/report.py": "colour = 2\n",
        "src/dovetail/science/pictures.py": "size = 2\n",
        "src/dovetail/tools/runs.py": "run = 2\n",
    }
    assert repository.differences(changes) == [
        Difference("code", "src/checks.py (validate)", rows=True),
        Difference("code", "src/model.py (train)", rows=False),
        Difference("code", "src/store/join.py (featurize)", rows=True),
    ]


def test_settings_of_these_stages_are_causes(repository: Repository) -> None:
    """Not the gate's, nor the holdout's end; a seed is luck, and is said as such."""
    params = changed(
        PARAMS,
        usecase__sources__flights__max_quarantined=0.2,
        usecase__split__holdout__end="2013-11-01",
        usecase__gate__margin=0.1,
        model__C=2.0,
        seed=43,
        model__seed=43,
    )
    assert repository.differences({}, new=build(params)) == [
        Difference("settings", "usecase.sources.flights.max_quarantined: 0.1 -> 0.2", rows=True),
        Difference("settings", "model.C: 1.0 -> 2.0", rows=False),
        Difference("seed", "model.seed: 42 -> 43", rows=False),
        Difference("seed", "seed: 42 -> 43", rows=False),
    ]


def test_features_and_packages_are_causes(repository: Repository) -> None:
    """A view that means something else, and a package of another version."""
    meaning = changed(MEANING, views__delays__ttl_seconds=60.0, label_rows__arguments__lead_minutes=90)
    found = repository.differences({"requirements.lock": "numpy==1.1\nscipy==2.0\n"}, new=build(meaning=meaning))
    assert [(difference.part, difference.said) for difference in found] == [
        ("features", "delays: time to live: 1:00:00 -> 0:01:00"),
        ("environment", "numpy 1.0 -> 1.1"),
    ]


def test_code_that_nobody_knows_is_said(repository: Repository) -> None:
    """A version that was trained with changes which were never committed."""
    unknown = Point("version", "flights version 1", "")
    (difference,) = differences((unknown, build()), (repository.old, build()), repository.root)
    assert (difference.part, difference.said[:11]) == ("code", "nobody know")


def test_data_is_told_by_source_column_and_day(repository: Repository) -> None:
    """From the cache's two versions of the source that differs; one that is the same is not read."""
    cache = repository.root / ".dvc/cache/files/md5"
    (repository.root / ".dvc/config").parent.mkdir()
    (repository.root / ".dvc/config").touch()

    def keep(content: Path) -> str:
        md5 = hashlib.md5(content.read_bytes()).hexdigest()
        (cache / md5[:2]).mkdir(parents=True, exist_ok=True)
        content.rename(cache / md5[:2] / md5[2:])
        return md5

    def version(delays: list[int]) -> str:
        at = pd.to_datetime(["2013-01-01", "2013-01-02", "2013-01-03"], utc=True)[: len(delays)]
        rows = pa.table({"key": list("abc")[: len(delays)], "at": at, "delay": delays})
        write_parquet(rows, repository.root / "flights.parquet")
        listing = [{"md5": keep(repository.root / "flights.parquet"), "relpath": "flights.parquet"}]
        (repository.root / "listing").write_text(json.dumps(listing))
        md5 = keep(repository.root / "listing")
        (cache / md5[:2] / md5[2:]).rename(cache / md5[:2] / f"{md5[2:]}.dir")
        return f"{md5}.dir"

    same = {"rows": 9, "sha256": "s"}
    old = build(raw=version([5, 120]), sources={"flights": {"rows": 2, "sha256": "o"}, "weather": same, "gone": same})
    new = build(
        changed(PARAMS, usecase__until="2013-12-01"),
        raw=version([5, 2, 7]),
        sources={"flights": {"rows": 3, "sha256": "n"}, "weather": same},
    )
    assert [difference.said for difference in repository.differences({}, old, new)] == [
        "until 2013-10-01 -> 2013-12-01",
        "source flights: 1 rows came; delay differs on 1 from 2013-01-02",
        "source gone is gone",
    ]
