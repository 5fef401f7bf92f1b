"""The stage `assemble` on a dozen rows, with Feast's join replaced by a column that is given."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

from dovetail.errors import SplitError
from dovetail.files import read_parquet, sha256, write_parquet
from dovetail.settings.schema import Label, Period, Split
from dovetail.settings.workspace import Workspace
from dovetail.stages import assemble as stage

DAY = timedelta(days=1)
PARTS = ("train", "validation", "holdout", "live")


def day(number: float) -> datetime:
    """A moment in January 2020, in days."""
    return datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=number)


def label_rows() -> pd.DataFrame:
    """Two late and two punctual flights a part, one in a gap, one cancelled in train; not in the order of time."""
    days = [40, 41, 42, 43, 30, 31, 32, 33, 20, 21, 22, 23, 0, 1, 2, 3, 14, 4]
    at = pd.Series([day(number) for number in days]).astype("datetime64[us, UTC]")
    rows = pd.DataFrame({"id": [f"f{number}" for number in days], "place": "a", "hour": range(len(days))})
    rows = rows.assign(event_timestamp=at, label_known_at=at + timedelta(hours=3), outcome="arrived")
    rows["late"] = pd.Series([0, 1] * 9, dtype="Int8")
    rows.loc[17, ["label_known_at", "outcome", "late"]] = [pd.NaT, "cancelled", None]
    return rows


def definitions() -> SimpleNamespace:
    """One view, `weather`, with one feature, by place."""
    place = Entity(name="place", join_keys=["place"], value_type=ValueType.STRING)
    view = FeatureView(
        name="weather",
        entities=[place],
        ttl=timedelta(0),
        source=FileSource(name="weather", path="weather.parquet", timestamp_field="event_timestamp"),
        schema=[Field(name="place", dtype=String), Field(name="temp", dtype=Float64)],
    )
    return SimpleNamespace(views={"weather": view}, service=FeatureService(name="s", features=[view]))


class Project:
    """A folder with a label table and a feature table, in which the stage runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Write the feature table, and put Feast aside."""
        self.folder = folder
        self.rows = label_rows()
        self.temp = 5
        history = pa.table(
            {"place": ["a"], "event_timestamp": pa.array([day(-1)], pa.timestamp("us", "UTC")), "temp": [5]}
        )
        write_parquet(history, folder / "data/features/weather.parquet")
        monkeypatch.setattr(stage, "load_definitions", lambda folder, name: definitions())
        monkeypatch.setattr(stage, "meaning", lambda definitions, usecase: {"request": ["size"]})
        monkeypatch.setattr(stage, "historical_features", self.join)

    def join(self, definitions: Any, rows: pa.Table, folder: Path, config_file: str) -> pa.Table:
        """The label rows with `temp`, an integer, as Feast would bring it."""
        return rows.append_column("temp", pa.array([self.temp] * rows.num_rows, pa.int64()))

    def assemble(self, **changed: Any) -> dict[str, str]:
        """Run the stage; the parts' hashes."""
        table = pa.Table.from_pandas(self.rows, preserve_index=False)
        write_parquet(table, self.folder / "data/label_rows.parquet")
        split = Split(
            train=Period(start=day(0), end=day(10)),
            validation=Period(start=day(20), end=day(25)),
            holdout=Period(start=day(30), end=day(35)),
            suspicious_auc=0.9,
        )
        usecase = SimpleNamespace(
            name="test",
            feature_service="s",
            request=["hour"],
            label=Label(column="late", key="id", maturity_hours=48, arguments={}),
            split=split.model_copy(update=changed),
        )
        profile = SimpleNamespace(feature_store="feature_store.yaml")
        workspace = Workspace(root=self.folder, home=self.folder, out=self.folder, profile=profile, is_stage=True)  # type: ignore[arg-type]
        stage.assemble(SimpleNamespace(usecase=usecase), workspace)  # type: ignore[arg-type]
        return {part: sha256(self.folder / f"data/training_set/{part}.parquet") for part in PARTS}

    def part(self, name: str) -> pa.Table:
        """A part's rows."""
        return read_parquet(self.folder / f"data/training_set/{name}.parquet")

    def certificate(self) -> dict[str, Any]:
        """The report of the split."""
        text = (self.folder / "reports/split_certificate.json").read_text()
        return json.loads(text)  # type: ignore[no-any-return]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that has not run yet."""
    return Project(tmp_path, monkeypatch)


def test_the_parts_hold_their_rows_in_the_order_of_time(project: Project) -> None:
    """Columns are key, moments, outcome, inputs as floats, and label; an unlabelled row is left out of train."""
    project.assemble()
    train = project.part("train")
    assert train.column_names == ["id", "event_timestamp", "label_known_at", "outcome", "hour", "temp", "late"]
    assert train["id"].to_pylist() == ["f0", "f1", "f2", "f3"]
    assert {str(train.schema.field(name).type) for name in ("hour", "temp")} == {"double"}
    assert [project.part(name).num_rows for name in PARTS] == [4, 4, 4, 4]


def test_the_live_part_keeps_rows_without_a_label(project: Project) -> None:
    """A flight whose outcome is pending is there to be scored."""
    project.rows.loc[3, ["label_known_at", "outcome", "late"]] = [pd.NaT, "pending", None]
    project.assemble()
    assert project.part("live")["late"].to_pylist() == [0, 1, 0, None]


def test_the_report_counts_what_was_left_out(project: Project) -> None:
    """Rows by part, rows in the gaps, rows without a label by outcome, and missing shares."""
    project.assemble()
    report = project.certificate()
    assert report["holds"] is True
    assert report["rows"] == {"train": 4, "validation": 4, "holdout": 4, "live": 4}
    assert report["rows_in_gaps"] == 1
    assert report["left_out_by_outcome"] == {"train": {"cancelled": 1}, "validation": {}, "holdout": {}}
    assert report["missing_share"]["temp"] == dict.fromkeys(PARTS, 0.0)


def test_the_same_rows_give_the_same_bytes(project: Project) -> None:
    """A second run, with the rows in another order, writes the same four files."""
    first = project.assemble()
    project.rows = project.rows[::-1].reset_index(drop=True)
    assert project.assemble() == first


def test_new_live_rows_leave_train_as_it_was(project: Project) -> None:
    """When more of the year exists, only `live` changes."""
    before = project.assemble()
    newest = project.rows[3:4]
    project.rows = pd.concat([project.rows, newest.assign(id="new", event_timestamp=newest["event_timestamp"] + DAY)])
    after = project.assemble()
    assert {part for part in PARTS if before[part] != after[part]} == {"live"}


def test_a_value_that_is_not_the_table_s_stops_the_run(project: Project) -> None:
    """A join that serves another value than the table's is found; the report is written, the parts are not."""
    project.temp = 6
    with pytest.raises(SplitError, match=r"temp of weather \(16 of 16 rows\)"):
        project.assemble()
    assert project.certificate()["holds"] is False
    assert not (project.folder / "data/training_set").exists()


def test_an_empty_part_names_the_setting(project: Project) -> None:
    """A validation period without rows says which setting, and where rows are."""
    message = r"usecase.split.validation \(.*\) has no labelled row; the others run from 2020-01-01 .* to 2020-02-13"
    with pytest.raises(SplitError, match=message):
        project.assemble(validation=Period(start=day(15), end=day(18)))
