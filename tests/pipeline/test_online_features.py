"""The feature registry, the online store and the meaning of features, on the real pipeline."""

import re
import signal
import sqlite3
import subprocess
import time
from contextlib import closing

import pytest

pytestmark = pytest.mark.slow

STORE = "feature_repo/online_store.db"


@pytest.fixture
def online(project):
    """The project with its features registered and online."""
    project.step("apply")
    project.step("materialize")
    return project


def content(project) -> list[tuple]:
    """Every row of the online store, in order."""
    with closing(sqlite3.connect(project.folder / STORE)) as connection:
        tables = [
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        ]
        return [(name, *row) for name in tables for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2")]


def ends(project) -> set[str]:
    """Up to when the registry says that the views are online."""
    code = "import feast; views = feast.FeatureStore('feature_repo').list_feature_views()\n"
    code += "print(*{view.most_recent_end_time for view in views}, sep='\\n')"
    return set(project.sh(f'python -W ignore -c "{code}" 2>/dev/null').split("\n")) - {""}


def test_a_feature_has_one_value_online_and_offline(online) -> None:
    """All values of real flights agree, to the bit, in a store filled step by step and in the store in use."""
    said = online.step("parity")
    found = online.read("reports/parity.json")
    assert list(found) == ["a store of its own", "the store in use"]
    for views in found.values():
        assert len(views) == 7
        assert all(view["equal"] > 0 for view in views)
        assert not any(
            view[count] for view in views for count in ("different", "only_online", "only_offline", "other_type")
        )
        # Keys that nobody has, and values that are too old.
        assert all(view["null"] > 0 for view in views)
    assert re.search(r"^origin_weather +8 +[\d,]+ ", said, re.MULTILINE)


def test_a_value_that_is_not_the_same_is_shown(online) -> None:
    """A store that holds something else fails the comparison: view, key and both values are said."""
    with closing(sqlite3.connect(online.folder / STORE)) as connection, connection:
        table, feature = "dovetail_carrier_delays", "feature_name = 'carrier_share_late_7d'"
        other = f"SELECT value FROM {table} AS other WHERE {feature} AND value <> {table}.value LIMIT 1"
        connection.execute(f"UPDATE {table} SET value = ({other}) WHERE {feature}")
    said = online.step("parity", 1)
    assert re.search(r"carrier_delays: carrier_share_late_7d of carrier=\w+, .*: 0\.\d+ online, 0\.\d+ offline", said)
    assert "values are not the same online and offline" in said


def test_impact_names_models_views_and_changes(in_production) -> None:
    """A comment hits nobody; a changed window and time to live name the models, the views and what changed."""
    assert "flights version 1 (champion, challenger): its features stay as they are" in in_production.step("impact")
    in_production.edit("feature_repo/flights.py", "^# The US on-time definition.", "# Late, as the US count it.")
    assert "stay as they are" in in_production.step("impact")
    in_production.edit("feature_repo/flights.py", r"ttl=timedelta\(hours=6\)", "ttl=timedelta(hours=7)")
    in_production.edit("feature_repo/flights.py", r'"28d": timedelta\(days=28\)', '"28d": timedelta(days=29)')
    said = in_production.step("impact", 2)
    named = r"^flights version 1 +champion, challenger +"
    assert re.search(named + r"origin_weather +time to live: 6:00:00 -> 7:00:00$", said, re.MULTILINE)
    assert re.search(named + r"route_delays +computation: ROUTE_WINDOWS = .* -> ROUTE_WINDOWS = ", said, re.MULTILINE)
    assert "carrier_delays" not in said
    assert "FeatureImpactError: 1 of 1 models in use would get other features" in said


def test_definitions_that_are_not_registered_are_not_materialized(project) -> None:
    """Before `apply`, after Feast's own, and after a change, `materialize` says what is registered and what to type."""
    assert "is not registered" in project.step("materialize", 1)
    project.sh("cd feature_repo && feast apply")
    said = project.step("materialize", 1)
    assert "nobody can say how registered features are computed: aircraft, aircraft_last_flight" in said
    project.step("apply")
    project.edit("feature_repo/flights.py", r"^LATE_AFTER_MINUTES = 15", "LATE_AFTER_MINUTES = 16")
    said = project.step("materialize", 1)
    assert "route_delays: computation: LATE_AFTER_MINUTES = 15 -> LATE_AFTER_MINUTES = 16" in said
    assert said.endswith("Register the definitions:  python -m dovetail apply\n")


def test_time_goes_on_and_never_back(online) -> None:
    """A later `until` brings the new rows online, an earlier one is refused, and one in the future is cut to now."""
    before = content(online)
    assert ends(online) == {"2013-04-10 00:00:00+00:00"}
    online.step("materialize")
    assert content(online) == before

    online.edit("conf/usecase/flights.yaml", r'until: "[\d-]+"', 'until: "2013-04-13"')
    online.repro("featurize")
    assert "origin_weather         2013-04-12 18:00:00 to 2013-04-13 00:00:00" in online.step("materialize")
    assert ends(online) == {"2013-04-13 00:00:00+00:00"}
    assert content(online) != before

    online.edit("conf/usecase/flights.yaml", r'until: "[\d-]+"', 'until: "2013-04-12"')
    said = online.step("materialize", 1)
    assert "is online up to 2013-04-13 00:00:00 already\n  and the end is 2013-04-12 00:00:00" in said

    online.edit("conf/usecase/flights.yaml", r'until: "[\d-]+"', 'until: "2199-01-01"')
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert f" to {today} " in online.step("materialize")
    assert all(end < "2100" for end in ends(online))


def test_an_interrupted_run_is_repeated(online) -> None:
    """Killed at six moments and run again, the store holds what an uninterrupted run would have put there."""
    expected = content(online)
    for delay in (4.0, 5.0, 5.5, 6.0, 6.5, 7.0):
        for path in (online.folder / "feature_repo").glob("*.db*"):
            path.unlink()
        online.step("apply")
        command = ["python", "-m", "dovetail", "materialize"]
        with subprocess.Popen(command, cwd=online.folder, env=online.environment(), start_new_session=True) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        online.step("materialize")
        assert content(online) == expected


def test_one_run_at_a_time(online) -> None:
    """While a run holds the lock, a second is refused and told which process is at it."""
    holder = "import fcntl, os, time; f = open('feature_repo/online_store.db.lock', 'w'); fcntl.flock(f, 2);"
    holder += " f.write(str(os.getpid())); f.flush(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen(["python", "-c", holder], cwd=online.folder, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        said = online.step("materialize", 1)
        process.kill()
    assert f"another run is at it: process {process.pid}" in said


def test_all_that_is_wrong_with_feature_tables_is_said(online) -> None:
    """A missing table and a retyped column of another are named together, before anything is written."""
    before = content(online)
    (online.folder / "data/features/aircraft.parquet").unlink()
    retype = "import pyarrow as pa, pyarrow.parquet as pq; p = 'data/features/origin_weather.parquet';"
    retype += " t = pq.read_table(p); pq.write_table(t.set_column(2, 'temp', t['temp'].cast('string')), p)"
    online.sh(f'chmod u+w data/features/*; python -c "{retype}"')
    said = online.step("materialize", 1)
    assert "the feature tables have 2 problems" in said
    assert "aircraft: its table is missing" in said
    assert "origin_weather: column 'temp' is string, not double" in said
    assert content(online) == before


def test_four_applies_at_once_lose_nothing(project) -> None:
    """They wait for each other: all four succeed, and what is registered can be brought online."""
    command = ["python", "-m", "dovetail", "apply"]
    at_once = [subprocess.Popen(command, cwd=project.folder, env=project.environment()) for _ in range(4)]
    assert [process.wait() for process in at_once] == [0, 0, 0, 0]
    project.step("materialize")
    assert ends(project) == {"2013-04-10 00:00:00+00:00"}
