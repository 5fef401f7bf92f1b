"""The stages `ingest` and `validate` on small real files: what they write, and that it is whole or not there."""

import errno
import json
import logging
import resource
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from dovetail.errors import ContractError, DiskFullError, SourceError
from dovetail.files import sha256, write_parquet
from dovetail.settings.schema import MLflow, Pipeline, Profile, Source
from dovetail.settings.workspace import Workspace
from dovetail.stages.ingest import ingest
from dovetail.stages.validate import validate

UNTIL = datetime(2013, 2, 1, tzinfo=UTC)
WEATHER = "origin,at,temp\nJFK,2013-01-01T06:00:00Z,30\nEWR,2013-01-01T06:00:00Z,31\nEWR,2013-01-01T07:00:00Z,999\n"
PLANES = "tailnum,year\nN2,2004\nN1,\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A root with two sources."""
    (tmp_path / "weather.csv").write_text(WEATHER)
    (tmp_path / "planes.csv").write_text(PLANES)
    mlflow = MLflow(tracking_uri="sqlite://", artifact_location=None)
    profile = Profile(name="test", connections={}, feature_store="none", mlflow=mlflow, predictions="none")
    return Workspace(root=tmp_path, home=tmp_path, out=tmp_path, profile=profile, is_stage=True)


def settings(**changes: Any) -> Pipeline:
    """As much of the settings as the two stages see; `changes` are made to the source `weather`."""
    weather: dict[str, Any] = {
        "kind": "csv",
        "path": "weather.csv",
        "time": "at",
        "key": ["origin", "at"],
        "columns": {
            "origin": {"type": "string"},
            "at": {"type": "timestamp"},
            "temp": {"type": "number", "nullable": True, "max": 120},
        },
        "max_quarantined": 0.5,
    }
    planes = {
        "kind": "csv",
        "path": "planes.csv",
        "key": ["tailnum"],
        "columns": {"tailnum": {"type": "string"}, "year": {"type": "integer", "nullable": True}},
        "max_quarantined": 0.0,
    }
    sources = {"weather": Source(**{**weather, **changes}), "planes": Source(**planes)}
    return Pipeline.model_construct(usecase=SimpleNamespace(sources=sources, until=UNTIL))


def content(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder."""
    return {str(path.relative_to(folder)): sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_ingest_writes_sorted_tables_and_a_manifest(workspace: Workspace) -> None:
    """Each source is a Parquet file by its key, and the manifest says what it holds."""
    ingest(settings(), workspace)
    raw = workspace.root / "data/raw"
    assert pq.read_table(raw / "weather.parquet")["origin"].to_pylist() == ["EWR", "EWR", "JFK"]
    manifest = json.loads((raw / "manifest.json").read_text())
    assert manifest["weather"] == {
        "kind": "csv",
        "from": "weather.csv",
        "rows": 3,
        "sha256": sha256(raw / "weather.parquet"),
        "columns": {"origin": "string", "at": "timestamp[us, tz=UTC]", "temp": "double"},
        "first": "2013-01-01T06:00:00+00:00",
        "last": "2013-01-01T07:00:00+00:00",
    }
    assert (manifest["planes"]["first"], manifest["planes"]["last"]) == (None, None)
    assert content(raw).keys() == {"manifest.json", "planes.parquet", "weather.parquet"}


def test_ingest_and_validate_write_the_same_bytes_again(workspace: Workspace) -> None:
    """A second run with the same sources in another order of rows leaves every file as it was."""
    ingest(settings(), workspace)
    validate(settings(), workspace)
    before = content(workspace.root / "data"), content(workspace.root / "reports")
    header, *lines = WEATHER.splitlines()
    (workspace.root / "weather.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")
    ingest(settings(), workspace)
    validate(settings(), workspace)
    assert (content(workspace.root / "data"), content(workspace.root / "reports")) == before


def test_ingest_reports_all_sources_at_once(workspace: Workspace) -> None:
    """Two sources that cannot be read are one error, and nothing is written."""
    (workspace.root / "weather.csv").unlink()
    (workspace.root / "planes.csv").write_text("")
    with pytest.raises(SourceError) as caught:
        ingest(settings(), workspace)
    assert str(caught.value) == (
        "2 of 2 sources cannot be read\n"
        "  - source 'weather' is missing\n"
        "      at weather.csv\n"
        "      Put the file there, or correct usecase.sources.weather.path in conf/.\n"
        "  - source 'planes' cannot be read: Empty CSV file\n"
        "      at planes.csv\n"
        "      Put a whole file there, or correct usecase.sources.planes in conf/.\n"
        "  Nothing was written.\n"
        "  Mend them all, then:  dvc repro"
    )
    assert not (workspace.root / "data").exists()


def test_validate_parts_good_rows_from_bad_ones(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """Good rows pass, the bad one is put aside with its reason, and a source without bad rows has no quarantine."""
    ingest(settings(), workspace)
    with caplog.at_level(logging.WARNING):
        validate(settings(), workspace)
    data = workspace.root / "data"
    assert pq.read_table(data / "valid/weather.parquet")["temp"].to_pylist() == [31.0, 30.0]
    assert pq.read_table(data / "quarantine/weather.parquet")["reason"].to_pylist() == ["temp: at most 120"]
    assert not (data / "quarantine/planes.parquet").exists()
    assert caplog.messages == ["validate: weather: temp: at most 120: rows put in data/quarantine: 1"]


def test_the_report_says_what_was_judged(workspace: Workspace) -> None:
    """Rows, reasons, missing shares and warnings are in reports/contract.json."""
    ingest(settings(), workspace)
    validate(settings(), workspace)
    report = json.loads((workspace.root / "reports/contract.json").read_text())
    assert report["weather"]["quarantined_by_rule"] == {"temp: at most 120": 1}
    assert report["planes"] == {
        "rows": 2,
        "valid": 2,
        "quarantined": 0,
        "quarantined_by_rule": {},
        "missing_share": {"year": 0.5},
        "warnings": [],
        "problems": [],
    }


def test_the_quarantine_folder_is_always_there(workspace: Workspace) -> None:
    """DVC wants each output of a stage, also when no row is bad."""
    (workspace.root / "weather.csv").write_text(WEATHER.replace("999", "99"))
    ingest(settings(), workspace)
    validate(settings(), workspace)
    assert list((workspace.root / "data/quarantine").iterdir()) == []


def test_validate_reports_all_problems_of_all_sources_at_once(workspace: Workspace) -> None:
    """One error names everything; the report is written, the tables are not."""
    (workspace.root / "weather.csv").write_text(WEATHER.replace("temp", "temperature").replace("999", "99"))
    (workspace.root / "planes.csv").write_text("tailnum,year\nN1,new\nN1,2004\n")
    ingest(settings(), workspace)
    with pytest.raises(ContractError) as caught:
        validate(settings(), workspace)
    assert str(caught.value) == (
        "2 of 2 sources break their contract: weather, planes\n"
        "  - weather: column 'temp' is missing; 'temperature' is new and looks the same (overlap 1.00): renamed?\n"
        "      accept it:  usecase.sources.weather.rename: {temperature: temp}\n"
        "  - planes: column 'year' should be of type integer, and is not (e.g. new)\n"
        "  - planes: 2 of 2 rows break a rule: 100.00%, at most 0.00% may\n"
        "      how many may:  usecase.sources.planes.max_quarantined\n"
        "  - planes: tailnum: unique — 2 rows (e.g. N1)\n"
        "  Nothing was written. Full report: reports/contract.json\n"
        "  Mend the source and read it again:  dvc repro --force --single-item ingest && dvc repro\n"
        "  or change its contract under usecase.sources in conf/, then:  dvc repro"
    )
    report = json.loads((workspace.root / "reports/contract.json").read_text())
    assert len(report["planes"]["problems"]) == 3
    assert not (workspace.root / "data/valid").exists()


def test_the_proposed_rename_is_accepted(workspace: Workspace) -> None:
    """The setting that the error proposes gives the table that was there before the rename."""
    ingest(settings(), workspace)
    validate(settings(), workspace)
    before = content(workspace.root / "data/valid")
    (workspace.root / "weather.csv").write_text(WEATHER.replace("temp", "temperature"))
    renamed = settings(rename={"temperature": "temp"})
    ingest(renamed, workspace)
    validate(renamed, workspace)
    assert content(workspace.root / "data/valid") == before


def test_ten_problems_are_shown_and_the_others_counted(workspace: Workspace) -> None:
    """A table with nothing right in it does not fill the screen."""
    columns = {f"column_{number:02}": {"type": "integer"} for number in range(14)}
    ingest(settings(), workspace)
    with pytest.raises(ContractError) as caught:
        validate(settings(columns=columns, key=["column_00"], time=None), workspace)
    findings = [line for line in str(caught.value).splitlines() if line.startswith("  - ")]
    assert len(findings) == 11
    assert findings[-1] == "  - and 4 more"


@pytest.mark.parametrize("stage", [ingest, validate])
def test_a_full_disk_leaves_what_was_there(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, stage: Any) -> None:
    """When the second file does not fit on the disk, the first has not moved in and nothing is left beside."""
    ingest(settings(), workspace)
    validate(settings(), workspace)
    (workspace.root / "weather.csv").write_text(WEATHER.replace("31", "32"))
    if stage is validate:
        ingest(settings(), workspace)
    before = content(workspace.root / "data")
    written: list[Path] = []

    def fills_up(table: Any, path: Path) -> None:
        written.append(path)
        if len(written) == 2:
            monkeypatch.setattr("pyarrow.parquet.write_table", no_space)
        write_parquet(table, path)

    def no_space(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"dovetail.stages.{stage.__name__}.write_parquet", fills_up)
    with pytest.raises(DiskFullError, match=r"no space left to write \w+\.parquet"):
        stage(settings(), workspace)
    assert content(workspace.root / "data") == before
    assert not list(workspace.root.rglob(".*"))


def test_a_file_that_may_not_grow_leaves_what_was_there(workspace: Workspace) -> None:
    """The operating system itself refuses the second file, and the first has not moved in."""
    ingest(settings(), workspace)
    before = content(workspace.root / "data")
    many = "".join(f"N{row * 7919 % 99991},{1950 + row % 60}\n" for row in range(30_000))
    (workspace.root / "planes.csv").write_text("tailnum,year\n" + many)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(DiskFullError, match=r"no space left to write planes\.parquet"):
            ingest(settings(), workspace)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(workspace.root / "data") == before
