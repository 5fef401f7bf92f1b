"""The stage `featurize` on the flights' own definitions and three flights."""

import json
import logging
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from dovetail.errors import FeatureError
from dovetail.files import sha256
from dovetail.settings.schema import Label, MLflow, Pipeline, Profile, UseCase
from dovetail.settings.workspace import Workspace
from dovetail.stages.featurize import featurize

ROOT = Path(__file__).parents[3]
COLUMNS = "flight_id, carrier, tailnum, origin, dest, time_hour, minute, sched_arr_time, dep_time, dep_delay, arr_delay"
FLIGHTS = """
    ('A', 'UA', 'N1', 'EWR', 'ORD', TIMESTAMPTZ '2013-01-01 10:00Z', 15, 730, 517, 2::BIGINT, 11::BIGINT),
    ('B', 'UA', 'N1', 'EWR', 'ORD', TIMESTAMPTZ '2013-01-02 10:00Z', 15, 730, 517, 2, 40),
    ('C', 'UA', NULL, 'JFK', 'ORD', TIMESTAMPTZ '2013-01-02 11:00Z', 0, 815, NULL, NULL, NULL)
"""
DERIVED = (
    "2013::BIGINT AS year, 1 AS month, day(time_hour) AS day, hour(time_hour) - 5 AS hour, 719::BIGINT AS distance"
)
UNMEASURED = ["dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
SOURCES = {
    "flights": f"SELECT *, {DERIVED} FROM (VALUES {FLIGHTS}) AS t({COLUMNS})",
    "airports": "SELECT 'ORD' AS faa, 'America/Chicago' AS tzone",
    "planes": "SELECT 'N1' AS tailnum, NULL::BIGINT AS year, 55::BIGINT AS seats",
    "weather": "SELECT 'EWR' AS origin, TIMESTAMPTZ '2013-01-01 07:00Z' AS time_hour, 39.0 AS temp, "
    + ", ".join(f"NULL AS {name}" for name in UNMEASURED),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A root with validated sources and the flights' definitions."""
    shutil.copytree(ROOT / "feature_repo", tmp_path / "feature_repo", ignore=shutil.ignore_patterns("*.db"))
    (tmp_path / "data" / "valid").mkdir(parents=True)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name, query in SOURCES.items():
            connection.execute(f"COPY ({query}) TO '{tmp_path}/data/valid/{name}.parquet'")
    mlflow = MLflow(tracking_uri="sqlite://", artifact_location=None)
    profile = Profile(name="test", connections={}, feature_store="none", mlflow=mlflow, predictions="none")
    return Workspace(root=tmp_path, home=tmp_path, out=tmp_path, profile=profile, is_stage=True)


def settings(service: str = "flights") -> Pipeline:
    """As much of the settings as the stage sees; flight B lands after `until`."""
    arguments = {"lead_minutes": 120, "late_after_minutes": 15}
    label = Label(column="is_late", key="flight_id", maturity_hours=48, arguments=arguments)
    until = datetime(2013, 1, 2, 14, tzinfo=UTC)
    usecase = UseCase.model_construct(name="flights", until=until, label=label, feature_service=service)
    return Pipeline.model_construct(usecase=usecase)


def outputs(root: Path) -> dict[str, str]:
    """What the stage wrote, and its hashes."""
    paths = [
        *(root / "data" / "features").iterdir(),
        root / "data" / "label_rows.parquet",
        root / "reports" / "features.json",
    ]
    return {path.name: sha256(path) for path in sorted(paths)}


def test_featurize_writes_each_view_and_the_label_rows(workspace: Workspace) -> None:
    """One file a feature view, the label rows, and the report."""
    featurize(settings(), workspace)
    assert sorted(outputs(workspace.root)) == [
        "aircraft.parquet",
        "aircraft_last_flight.parquet",
        "carrier_delays.parquet",
        "destination_delays.parquet",
        "features.json",
        "label_rows.parquet",
        "origin_delays.parquet",
        "origin_weather.parquet",
        "route_delays.parquet",
    ]


def test_the_report_says_what_is_there_and_what_is_missing(workspace: Workspace) -> None:
    """Rows, keys and moments of a view, missing shares, and the label rows by outcome."""
    featurize(settings(), workspace)
    found = json.loads((workspace.root / "reports" / "features.json").read_text())
    moment = "2013-01-01 00:00:00+00:00"
    shares = {"aircraft_age_years": 1.0, "aircraft_seats": 0.0}
    assert found["views"]["aircraft"] == {
        "rows": 1,
        "keys": 1,
        "first": moment,
        "last": moment,
        "missing_share": shares,
    }
    assert found["label_rows"] == {
        "rows": 3,
        "first": "2013-01-01 08:15:00+00:00",
        "last": "2013-01-02 09:00:00+00:00",
        "by_outcome": {"arrived": 1, "cancelled": 1, "pending": 1},
    }


def test_a_second_run_writes_the_same_bytes(workspace: Workspace) -> None:
    """No clock, no chance, no order of threads is in the outputs."""
    featurize(settings(), workspace)
    first = outputs(workspace.root)
    featurize(settings(), workspace)
    assert outputs(workspace.root) == first


def test_another_feature_service_is_refused(workspace: Workspace) -> None:
    """The message names the service there is, and the setting; nothing is written."""
    with pytest.raises(FeatureError, match=r"no feature service 'trains'\n.*\n  It defines 'flights'\.\n  Set usecase"):
        featurize(settings("trains"), workspace)
    assert not (workspace.root / "data" / "features").exists()


def test_featurize_says_how_much_it_did(workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """One line at the start and one at the end, with rows."""
    with caplog.at_level(logging.INFO, logger="dovetail"):
        featurize(settings(), workspace)
    assert [record.message for record in caplog.records if record.name == "dovetail.stages.featurize"] == [
        "featurize: 7 feature views of flights, until 2013-01-02 14:00:00+00:00, on DuckDB",
        "featurize: 7 feature rows, 3 label rows",
    ]
