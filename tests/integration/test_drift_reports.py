"""Evidently itself: its distances, its page, and the whole stage on small data."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import ValueDrift
from hypothesis import given, settings
from hypothesis import strategies as st

from dovetail.files import write_parquet
from dovetail.settings.schema import Drift, Label
from dovetail.settings.workspace import Workspace
from dovetail.stages.drift import drift
from dovetail.tools.drift_reports import VerdictRow, distance, page

UNTIL = datetime(2020, 4, 1, tzinfo=UTC)
FLOATS = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30).map(pd.Series)


@given(FLOATS)
@settings(derandomize=True, max_examples=50, deadline=None)
def test_a_column_does_not_drift_from_itself(column: "pd.Series[float]") -> None:
    """The distance of any column from itself is zero, as numbers and as categories."""
    assert distance(column, column, is_number=True) == pytest.approx(0)
    assert distance(column.astype(str), column.astype(str), is_number=False) == pytest.approx(0)


@given(st.floats(-10, 10), st.floats(0.2, 5))
@settings(derandomize=True, max_examples=30, deadline=None)
def test_a_shift_is_measured_in_standard_deviations(shift: float, scale: float) -> None:
    """A column moved by some standard deviations is at that distance."""
    column = pd.Series(np.linspace(-1, 1, 101)) * scale
    moved = column + shift * column.std(ddof=0)
    assert distance(column, moved, is_number=True) == pytest.approx(abs(shift), rel=1e-6, abs=1e-9)


def test_the_distances_are_those_of_evidently_s_own_report() -> None:
    """`ValueDrift`, Evidently's public metric, gives the same numbers."""
    random = np.random.default_rng(0)
    before = pd.DataFrame({"x": random.normal(size=500), "c": random.choice(["a", "b"], 500)})
    after = pd.DataFrame({"x": random.normal(0.3, size=500), "c": random.choice(["a", "b", "n"], 500)})
    definition = DataDefinition(numerical_columns=["x"], categorical_columns=["c"])
    current, reference = (Dataset.from_pandas(frame, data_definition=definition) for frame in (after, before))
    metrics = [ValueDrift(column="x", method="wasserstein"), ValueDrift(column="c", method="jensenshannon")]
    values = [metric["value"] for metric in Report(metrics).run(current, reference).dict()["metrics"]]
    assert values == pytest.approx([distance(before[name], after[name], name == "x") for name in ("x", "c")])


def test_what_evidently_cannot_measure_is_a_text() -> None:
    """Words among numbers are an error of Evidently's, and no crash of ours."""
    said = distance(pd.Series([1.0, 2.0]), pd.Series(["a", "b"], dtype=object), is_number=True)
    assert isinstance(said, str)
    assert said.startswith("Evidently: ")


def test_the_page_escapes_what_comes_from_the_data() -> None:
    """A category that looks like HTML is shown, not run."""
    row = VerdictRow("<b>", "ok", 0.0, 0.0, None, "", "<script>alert(1)</script>")
    text = page("title", "subtitle", [row], None)
    assert "&lt;script&gt;" in text
    assert "<script>" not in text


def training_part(start: datetime, days: int, shift: float) -> pd.DataFrame:
    """Twenty rows a day; `x` is a wave, `c` a category, `old` is always empty."""
    n = 20 * days
    at = pd.Series([start + timedelta(hours=1.2 * i) for i in range(n)]).astype("datetime64[us, UTC]")
    return pd.DataFrame(
        {
            "id": [f"{start:%m}-{i}" for i in range(n)],
            "event_timestamp": at,
            "label_known_at": at,
            "outcome": "arrived",
            "c": np.where(np.arange(n) % 3 == 0, "a", "b"),
            "x": np.sin(np.arange(n)) + shift,
            "old": np.nan,
            "y": pd.Series(np.arange(n) % 2, dtype="Int8"),
        }
    )


def run(folder: Path, live: pd.DataFrame) -> dict[str, Any]:
    """What the stage reports on these live rows, and that it drew a page."""
    parts = {"train": training_part(datetime(2020, 1, 1, tzinfo=UTC), 31, 0.0), "live": live}
    for name, part in parts.items():
        table = pa.Table.from_pandas(part, preserve_index=False)
        write_parquet(table, folder / f"data/training_set/{name}.parquet")
    usecase = SimpleNamespace(
        until=UNTIL,
        label=Label(column="y", key="id", maturity_hours=48, arguments={}),
        drift=Drift(reference="train", min_rows=50, threshold=0.1, missing_tolerance=0.1),
    )
    workspace = Workspace(root=folder, home=folder, out=folder, profile=None, is_stage=True)  # type: ignore[arg-type]
    drift(SimpleNamespace(usecase=usecase), workspace)  # type: ignore[arg-type]
    assert "<table>" in (folder / "reports/drift.html").read_text()
    return json.loads((folder / "metrics/drift.json").read_text())  # type: ignore[no-any-return]


def outcomes(report: dict[str, Any]) -> dict[str, str]:
    """Each column's outcome."""
    return {column["column"]: column["outcome"] for column in report["columns"]}


def test_the_newest_full_month_is_reported(tmp_path: Path) -> None:
    """March is compared, one column moved; the label is judged too and has no vote."""
    live = pd.concat([training_part(datetime(2020, month, 1, tzinfo=UTC), 29, month - 2.0) for month in (2, 3)])
    report = run(tmp_path, live)
    assert outcomes(report) == {"c": "ok", "x": "drift", "old": "could_not_evaluate", "y": "ok"}
    numbers = {key: report[key] for key in ("month", "rows", "outcome", "n_columns", "n_drifted")}
    assert numbers == {"month": "2020-03", "rows": 580, "outcome": "drift", "n_columns": 3, "n_drifted": 1}
    assert "Drift in column" in (tmp_path / "reports/drift.html").read_text()


def test_no_live_row_could_not_be_evaluated(tmp_path: Path) -> None:
    """An empty live part gives both files and no verdict."""
    report = run(tmp_path, training_part(UNTIL, 0, 0.0))
    assert (report["month"], report["rows"], report["outcome"]) == ("no full month", 0, "could_not_evaluate")
    assert set(outcomes(report).values()) == {"could_not_evaluate"}


def test_a_half_month_could_not_be_evaluated(tmp_path: Path) -> None:
    """Live rows from the middle of March on are no full month."""
    report = run(tmp_path, training_part(datetime(2020, 3, 15, tzinfo=UTC), 16, 0.0))
    assert (report["month"], report["outcome"]) == ("no full month", "could_not_evaluate")


def test_a_month_of_few_rows_could_not_be_evaluated(tmp_path: Path) -> None:
    """Forty rows are fewer than the minimum of fifty: no verdict, and the reason says so."""
    report = run(tmp_path, training_part(datetime(2020, 3, 1, tzinfo=UTC), 2, 0.0))
    assert report["outcome"] == "could_not_evaluate"
    assert report["columns"][1]["reason"] == (
        "40 known values in the current data, fewer than usecase.drift.min_rows (50)"
    )


def test_a_column_that_is_gone_could_not_be_evaluated(tmp_path: Path) -> None:
    """A column that the live rows lack is named, the others are judged."""
    live = training_part(datetime(2020, 3, 1, tzinfo=UTC), 31, 0.0).drop(columns="c")
    assert outcomes(run(tmp_path, live)) == {
        "c": "could_not_evaluate",
        "x": "ok",
        "old": "could_not_evaluate",
        "y": "ok",
    }
