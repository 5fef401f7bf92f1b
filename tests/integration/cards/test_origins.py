"""Where two versions came from, with a real cache of DVC: their training data, sources, settings and definitions."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dovetail.cards import origins, training_data
from dovetail.cards.sides import CERTIFICATE_FILE, Side
from dovetail.files import write_parquet
from dovetail.lineage import (
    DATA_VERSION,
    DEFINITION_HASH,
    GIT_COMMIT,
    GIT_DIRTY,
    INPUT_PREFIX,
    MEANING_FILE,
    SETTINGS_FILE,
)
from dovetail.pages.records import Drifted, Fact, Unknown
from dovetail.settings.schema import Drift, Label, Profile, UseCase
from dovetail.settings.workspace import Workspace
from dovetail.tools import data_versions
from dovetail.tools.model_registry import ModelVersion

USECASE = UseCase.model_construct(
    label=Label(column="is_late", key="flight_id", maturity_hours=1.0, arguments={}),
    drift=Drift(reference="train", min_rows=50, threshold=0.1, missing_tolerance=0.1),
)
N = 400


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A checkout with DVC and nothing in its cache."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("")
    profile = Profile.model_construct(name="local")
    return Workspace(root=tmp_path, home=tmp_path, out=tmp_path, profile=profile, is_stage=False)


def rows(warmer: float = 0.0, **columns: Any) -> pa.Table:
    """Some rows of a training part."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "flight_id": [f"UA{n}" for n in range(N)],
            "event_timestamp": pd.Timestamp("2013-01-01", tz="UTC"),
            "temp": random.normal(50 + warmer, 10, N),
            "carrier": random.choice(["UA", "AA"], N),
            "is_late": random.integers(0, 2, N),
        }
    )
    return pa.Table.from_pandas(frame.assign(**columns), preserve_index=False)


def keep(workspace: Workspace, content: bytes, suffix: str = "") -> str:
    """The hash under which DVC's cache has the content now."""
    md5 = hashlib.md5(content).hexdigest() + suffix
    path = data_versions.object_path(data_versions.cache_folder(workspace.root), md5)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def keep_rows(workspace: Workspace, table: pa.Table) -> str:
    path = workspace.write("some.parquet")
    write_parquet(table, path)
    return keep(workspace, path.read_bytes())


def side(number: int, documents: Mapping[str, Any] | None = None, **tags: str) -> Side:
    """A version as the registry has it; documents that are not given are lost."""
    names = (SETTINGS_FILE, MEANING_FILE, CERTIFICATE_FILE)
    lost = {name: Unknown(f"the run of flights version {number} has no {name}") for name in names}
    return Side(ModelVersion("flights", number, f"run-{number}", "", tags), lost | dict(documents or {}))


def trained_on(number: int, md5: str) -> Side:
    return side(number, **{INPUT_PREFIX + training_data.TRAIN: md5})


def test_the_same_training_data_has_not_moved(workspace: Workspace) -> None:
    """Equal hashes are equal rows."""
    md5 = keep_rows(workspace, rows())
    found = training_data.drift(trained_on(2, md5), trained_on(1, md5), USECASE, workspace)
    assert found == Drifted(N, N, (), is_same=True)


def test_what_moved_in_the_training_data_is_named(workspace: Workspace) -> None:
    """Each input of either side is compared, the label too; keys and moments are no inputs."""
    before = keep_rows(workspace, rows())
    now = keep_rows(workspace, rows(warmer=10, visib=5.0))
    found = training_data.drift(trained_on(2, now), trained_on(1, before), USECASE, workspace)
    assert isinstance(found, Drifted)
    outcomes = {column.column: column.outcome for column in found.columns}
    assert outcomes == {"temp": "drift", "carrier": "ok", "visib": "could_not_evaluate", "is_late": "ok"}
    assert found.columns[2].reason == "the column is missing in the reference"


def test_training_data_that_is_gone_is_unknown(workspace: Workspace) -> None:
    """The card says that it is gone, and the command that brings it back."""
    now = keep_rows(workspace, rows())
    found = training_data.drift(trained_on(2, now), trained_on(1, "0" * 32), USECASE, workspace)
    assert isinstance(found, Unknown)
    assert f"{training_data.TRAIN} is gone: recorded {'0' * 32}" in found.why
    assert found.why.endswith("No remote is configured: dvc remote add --default NAME URL")
    assert found.todo == f"dvc fetch --all-commits {training_data.TRAIN}"


def test_a_version_that_does_not_say_its_data_is_unknown(workspace: Workspace) -> None:
    """No tag is no data: nothing is compared with it."""
    found = training_data.drift(trained_on(2, "0" * 32), side(1), USECASE, workspace)
    assert found == Unknown("flights version 1 does not say which data it was trained on")


def test_facts_stand_side_by_side(workspace: Workspace) -> None:
    """Each source has the hash that was read; what a side has not said is unknown, not empty."""
    listing = json.dumps(
        [{"md5": "f" * 32, "relpath": "weather.parquet"}, {"md5": "e" * 32, "relpath": "manifest.json"}]
    )
    raw = keep(workspace, listing.encode(), ".dir")
    certificate = {CERTIFICATE_FILE: {"checks": [{"name": "gaps", "holds": True}, {"name": "time", "holds": False}]}}
    own = side(
        2, certificate, **{GIT_COMMIT: "c0ffee", GIT_DIRTY: "true", DATA_VERSION: "1", INPUT_PREFIX + "data/raw": raw}
    )
    champion = side(1, **{GIT_COMMIT: "decaf", GIT_DIRTY: "false", INPUT_PREFIX + "data/raw": "0" * 32 + ".dir"})
    found = {fact.name: fact for fact in origins.facts(own, champion, workspace)}
    assert found["git commit"] == Fact("git commit", "c0ffee", "decaf")
    assert found["uncommitted changes"][1:] == ("yes: the commit alone does not give this model", "none")
    assert found["data version"] == Fact("data version", "1", None)
    assert found["source weather"] == Fact("source weather", "f" * 32, None)
    assert "source manifest" not in found
    assert found["split certificate"] == Fact("split certificate", "broken: time", None)


def test_differences_are_listed_by_part(workspace: Workspace) -> None:
    """Settings by their dotted names, the code as the command that shows it; equal parts are left out."""
    settings = [
        {"model": {"name": "logistic", "C": 1.0}, "seed": 1},
        {"model": {"name": "logistic", "C": 0.3}, "new": []},
    ]
    champion, own = (
        side(number, {SETTINGS_FILE: document}, **{GIT_COMMIT: commit * 8, DEFINITION_HASH: "same"})
        for number, document, commit in zip((1, 2), settings, ("c0ffee", "decaf0"), strict=True)
    )
    assert origins.changes(own, champion) == {
        "code": ("git diff c0ffeec0ffee decaf0decaf0 -- src feature_repo requirements.lock",),
        "settings": ("model.C: 1.0 -> 0.3", "seed: 1 -> (not there)", "new: (not there) -> []"),
    }
    assert origins.changes(own, own) == {}


def test_differences_of_lost_documents_are_unknown() -> None:
    """A document that is lost is no document without differences."""
    own = side(2, {SETTINGS_FILE: {"seed": 1}}, **{DEFINITION_HASH: "new"})
    found = origins.changes(own, side(1, **{DEFINITION_HASH: "old"}))
    assert found["settings"] == (f"unknown: the run of flights version 1 has no {SETTINGS_FILE}",)
    assert found["feature definitions"][0] == f"unknown: the run of flights version 1 has no {MEANING_FILE}"


def test_definitions_that_differ_are_told_by_view() -> None:
    """As `score` tells them when it refuses."""
    documents = [
        {MEANING_FILE: {"views": {"weather": {"ttl_seconds": seconds}}}, SETTINGS_FILE: {}}
        for seconds in (86400, 43200)
    ]
    champion, own = (side(n, documents[n - 1], **{DEFINITION_HASH: str(n)}) for n in (1, 2))
    assert origins.changes(own, champion) == {
        "feature definitions": ("weather: time to live: 1 day, 0:00:00 -> 12:00:00",)
    }


def test_what_must_not_be_overlooked() -> None:
    """A version of uncommitted files, and one whose documents were changed, say so."""
    assert "no commit has" in next(iter(origins.warnings(side(1, **{GIT_DIRTY: "true"}))))
    said = list(origins.warnings(side(1, **{GIT_DIRTY: "false"})))
    assert len(said) == 3
    assert said[0] == f"of what was sealed with the version, {SETTINGS_FILE} cannot be read: " + (
        f"the run of flights version 1 has no {SETTINGS_FILE}."
    )
