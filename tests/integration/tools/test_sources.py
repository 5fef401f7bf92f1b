"""Real files, archives and databases, read into typed tables."""

import gzip
import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dovetail.settings.schema import Source
from dovetail.tools.sources import origin, read

UNTIL = datetime(2013, 1, 2, tzinfo=UTC)
MORNING, EVENING = datetime(2013, 1, 1, 6, tzinfo=UTC), datetime(2013, 1, 1, 18, tzinfo=UTC)
COLUMNS: dict[str, Any] = {
    "id": {"type": "string"},
    "at": {"type": "timestamp"},
    "temp": {"type": "number", "nullable": True},
    "n": {"type": "integer"},
}
CSV = "id,at,temp,n\nb,2013-01-01T18:00:00Z,NA,2\na,2013-01-01T06:00:00Z,10.5,1\nc,2013-01-02T00:00:00Z,1,3\n"
EXPECTED = {"id": ["a", "b"], "at": [MORNING, EVENING], "temp": [10.5, None], "n": [1, 2]}


def source(**changes: Any) -> Source:
    """The settings of a source, with changes."""
    given = {"kind": "csv", "path": "w.csv", "missing": ["", "NA"], "time": "at", "key": ["id"], "columns": COLUMNS}
    return Source(**{**given, "max_quarantined": 0.0, **changes})


def rows(root: Path, connections: dict[str, str] | None = None, **changes: Any) -> dict[str, list]:
    """The rows of a source `weather` with these settings."""
    return read("weather", source(**changes), connections or {}, UNTIL, root).to_pydict()


def test_csv_is_typed_sorted_and_cut(tmp_path: Path) -> None:
    """Rows come in the key's order, in the contract's types, and those at or after `until` do not exist."""
    (tmp_path / "w.csv").write_text(CSV)
    table = read("weather", source(), {}, UNTIL, tmp_path)
    assert table.to_pydict() == EXPECTED
    assert table.schema.types == [pa.string(), pa.timestamp("us", tz="UTC"), pa.float64(), pa.int64()]


def test_csv_may_be_zipped(tmp_path: Path) -> None:
    """The first file of an archive is the source."""
    with zipfile.ZipFile(tmp_path / "w.csv.zip", "w") as archive:
        archive.writestr("w.csv", CSV)
    assert rows(tmp_path, path="w.csv.zip") == EXPECTED


def test_csv_may_be_gzipped(tmp_path: Path) -> None:
    """A .gz is unpacked on the way."""
    (tmp_path / "w.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert rows(tmp_path, path="w.csv.gz") == EXPECTED


def test_csv_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    """The mark that Excel writes does not become a part of the first column's name."""
    (tmp_path / "w.csv").write_text(CSV, encoding="utf-8-sig")
    assert rows(tmp_path) == EXPECTED


def test_csv_may_have_another_separator(tmp_path: Path) -> None:
    """The separator is a setting."""
    (tmp_path / "w.csv").write_text(CSV.replace(",", ";"))
    assert rows(tmp_path, separator=";") == EXPECTED


def test_csv_may_hold_lines_in_a_value(tmp_path: Path) -> None:
    """A quoted line break does not end a row."""
    (tmp_path / "w.csv").write_text('id,at,temp,n\n"a\nb",2013-01-01T06:00:00Z,1,1\n')
    assert rows(tmp_path)["id"] == ["a\nb"]


def test_parquet_is_read_in_utc(tmp_path: Path) -> None:
    """Another zone and unit of a timestamp, and a NaN, become UTC, microseconds and null."""
    local = pa.array([1_357_063_200_000, 1_357_020_000_000], pa.timestamp("ms", tz="America/New_York"))
    table = pa.table({"id": ["b", "a"], "at": local, "temp": [float("nan"), 10.5], "n": pa.array([2, 1], pa.int8())})
    pq.write_table(table, tmp_path / "w.parquet")
    assert rows(tmp_path, kind="parquet", path="w.parquet") == EXPECTED


def test_a_url_is_left_to_fsspec(tmp_path: Path) -> None:
    """A path with a protocol is not looked for under the root."""
    with fsspec.open("memory://bucket/w.csv", "w") as file:
        file.write(CSV)
    assert rows(tmp_path, path="memory://bucket/w.csv") == EXPECTED


def test_a_file_of_a_package_is_found_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that cannot be imported still gives its files."""
    package = tmp_path / "broken_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError\n")
    (package / "w.csv").write_text(CSV)
    monkeypatch.syspath_prepend(tmp_path)
    assert rows(Path("elsewhere"), path="package://broken_package/w.csv") == EXPECTED


def test_a_renamed_column_has_the_contracts_name_and_type(tmp_path: Path) -> None:
    """An accepted rename is applied before types and times are looked at."""
    (tmp_path / "w.csv").write_text(CSV.replace("temp", "temperature").replace("at,", "observed_at,"))
    assert rows(tmp_path, rename={"temperature": "temp", "observed_at": "at"}) == EXPECTED


def test_a_value_of_another_type_keeps_its_column_as_text(tmp_path: Path) -> None:
    """Nothing is lost before the contract complains."""
    (tmp_path / "w.csv").write_text(CSV.replace("10.5", "cold"))
    assert rows(tmp_path)["temp"] == ["cold", None]


def test_missing_and_unknown_columns_pass(tmp_path: Path) -> None:
    """A column too few or too many is the contract's matter."""
    (tmp_path / "w.csv").write_text("id,at,n,humid\na,2013-01-01T06:00:00Z,1,50\n")
    assert rows(tmp_path) == {"id": ["a"], "at": [MORNING], "n": [1], "humid": ["50"]}


def test_doubled_columns_pass(tmp_path: Path) -> None:
    """Two columns of one name are the contract's matter too."""
    (tmp_path / "w.csv").write_text("id,at,n,n\na,2013-01-01T06:00:00Z,1,2\n")
    assert read("weather", source(), {}, UNTIL, tmp_path).column_names == ["id", "at", "n", "n"]


def test_a_row_without_a_time_is_not_lost(tmp_path: Path) -> None:
    """Whether a time may be missing is for the contract to say."""
    (tmp_path / "w.csv").write_text("id,at,temp,n\na,,1,1\n")
    assert rows(tmp_path)["at"] == [None]


def test_the_order_of_rows_does_not_matter(tmp_path: Path) -> None:
    """Rows with one key are ordered by their other columns."""
    first, second = "a,2013-01-01T06:00:00Z,1,1\n", "a,2013-01-01T06:00:00Z,2,1\n"
    (tmp_path / "one.csv").write_text("id,at,temp,n\n" + first + second)
    (tmp_path / "two.csv").write_text("id,at,temp,n\n" + second + first)
    assert rows(tmp_path, path="one.csv") == rows(tmp_path, path="two.csv")


# --- databases -------------------------------------------------------------------------------------------------------


def database(folder: Path, statements: str) -> dict[str, str]:
    """The connection to a SQLite database that the statements have filled."""
    with closing(sqlite3.connect(folder / "w.sqlite")) as connection:
        connection.executescript(statements)
    return {"operational": f"sqlite:///{folder / 'w.sqlite'}"}


def query(connections: dict[str, str], text: str) -> dict[str, list]:
    """The rows of a query."""
    return rows(Path("elsewhere"), connections, kind="sql", path=None, connection="operational", query=text)


FILLED = """
CREATE TABLE w (id TEXT, at TIMESTAMP, temp REAL, n INTEGER);
INSERT INTO w VALUES ('b', '2013-01-01T18:00:00Z', NULL, 2), ('a', '2013-01-01 06:00:00+00:00', 10.5, 1),
  ('c', '2013-01-02 00:00:00+00:00', 1, 3);
"""


def test_a_query_is_typed_sorted_and_cut(tmp_path: Path) -> None:
    """A query's rows become what a file's rows become."""
    assert query(database(tmp_path, FILLED.replace("Z", "+00:00")), "SELECT * FROM w") == EXPECTED


def test_a_database_may_lie_in_any_folder(tmp_path: Path) -> None:
    """Signs that mean something in a URL are part of the folder's name."""
    folder = tmp_path / "50% #1"
    folder.mkdir()
    assert query(database(folder, FILLED.replace("Z", "+00:00")), "SELECT * FROM w") == EXPECTED


def test_a_query_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    """An empty answer is a table of the right columns."""
    assert query(database(tmp_path, FILLED), "SELECT * FROM w WHERE n > 9") == {name: [] for name in EXPECTED}


def test_a_querys_own_text_is_left_alone(tmp_path: Path) -> None:
    """A colon or a percent sign in a query is no parameter."""
    connections = database(tmp_path, FILLED)
    assert query(connections, "SELECT *, ':30' AS c, '5%s' AS p FROM w WHERE n = 1")["c"] == [":30"]


def test_a_column_of_mixed_values_becomes_text(tmp_path: Path) -> None:
    """SQLite keeps a word in a column of numbers: the column reaches the contract as text, also over batches."""
    mixed = FILLED + "INSERT INTO w VALUES ('d', '2013-01-01T07:00:00Z', 'cold', 4);"
    assert query(database(tmp_path, mixed), "SELECT * FROM w")["temp"] == ["10.5", None, "cold"]


def test_batches_of_different_types_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of nulls, one of integers and one of decimals are one column."""
    monkeypatch.setattr("dovetail.tools.sources.BATCH_ROWS", 1)
    connections = database(tmp_path, FILLED)
    unknown = query(connections, "SELECT *, CASE n WHEN 1 THEN 7 WHEN 2 THEN NULL ELSE 0.5 END AS x FROM w")["x"]
    assert unknown == [7.0, None]


def test_a_query_cannot_write(tmp_path: Path) -> None:
    """The database is opened read-only."""
    connections = database(tmp_path, FILLED)
    with pytest.raises(Exception, match="attempt to write a readonly database"):
        query(connections, "DELETE FROM w RETURNING *")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"path": "data/w.csv"}, "data/w.csv"),
        ({"path": "/home/somebody/w.csv"}, "w.csv"),
        ({"path": "s3://key:secret@bucket/w.csv"}, "s3://***@bucket/w.csv"),
        ({"path": "https://host/w.csv?sig=secret&v=1"}, "https://host/w.csv?sig=***&v=***"),
        ({"kind": "sql", "connection": "db", "query": "SELECT 1"}, "a query on the connection 'db'"),
    ],
)
def test_origin_tells_no_secret_and_no_folder(changes: dict[str, Any], expected: str) -> None:
    """What is recorded of a source's place can be shown to anybody."""
    assert origin(source(**changes)) == expected
