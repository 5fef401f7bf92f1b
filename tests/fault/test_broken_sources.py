"""Sources that are missing, cut off or closed: a clear error, no secret, and nothing lost."""

import gzip
import sqlite3
import zipfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dovetail.errors import SourceError
from dovetail.settings.schema import Source
from dovetail.tools.sources import read

UNTIL = datetime(2013, 1, 2, tzinfo=UTC)
COLUMNS: dict[str, Any] = {"id": {"type": "string"}, "temp": {"type": "number"}}
CSV = "id,temp\n" + "".join(f"{row},{row / 7}\n" for row in range(1000))


def error_of(root: Path, connections: dict[str, str] | None = None, **changes: Any) -> SourceError:
    """What reading a source `weather` with these settings raises."""
    given = {"kind": "csv", "path": "w.csv", "key": ["id"], "columns": COLUMNS, "max_quarantined": 0.0, **changes}
    with pytest.raises(SourceError) as caught:
        read("weather", Source(**given), connections or {}, UNTIL, root)
    return caught.value


def query_error(connections: dict[str, str], query: str = "SELECT * FROM w") -> SourceError:
    """What a query raises."""
    return error_of(Path("elsewhere"), connections, kind="sql", path=None, connection="operational", query=query)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message says which source, which file and which setting."""
    assert str(error_of(tmp_path)) == (
        "source 'weather' is missing\n"
        "  at w.csv\n"
        "  Put the file there, or correct usecase.sources.weather.path in conf/."
    )


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    """The message says what to install."""
    assert str(error_of(tmp_path, path="package://no_such_package/w.csv")) == (
        "source 'weather' is missing: the package 'no_such_package' is not installed\n"
        "  at package://no_such_package/w.csv\n"
        "  Install it:  pip install no_such_package"
    )


def test_an_empty_file_is_told_from_an_empty_table(tmp_path: Path) -> None:
    """A file without even a header cannot be read."""
    (tmp_path / "w.csv").touch()
    assert str(error_of(tmp_path)) == (
        "source 'weather' cannot be read: Empty CSV file\n"
        "  at w.csv\n"
        "  A whole csv file; is it empty, cut off, or of another kind?\n"
        "  Put a whole file there, or correct usecase.sources.weather in conf/."
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A folder in the file's place is an error of ours, not a traceback."""
    (tmp_path / "w.csv").mkdir()
    assert error_of(tmp_path).what.startswith("source 'weather' cannot be read")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("ending", ["csv.zip", "csv.gz", "parquet"])
def test_a_truncated_file_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    """A file whose end is missing gives no rows, wherever it was cut."""
    whole = tmp_path / f"whole.{ending}"
    if ending == "csv.zip":
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("w.csv", CSV)
    elif ending == "csv.gz":
        whole.write_bytes(gzip.compress(CSV.encode()))
    else:
        pq.write_table(pa.table({"id": ["a"] * 1000, "temp": [1.0] * 1000}), whole)
    content = whole.read_bytes()
    (tmp_path / f"w.{ending}").write_bytes(content[: int(len(content) * share)])
    error = error_of(tmp_path, kind=ending.partition(".")[0], path=f"w.{ending}")
    assert error.what.startswith("source 'weather' cannot be read: ")


@pytest.mark.parametrize(
    "content", [b"id,temp\na\n", b'id,temp\n"a,1\n', "id,temp\na,1\n".encode("utf-16"), b"id,temp\n\xff,1\n"]
)
def test_a_damaged_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    """A short line, an open quote, another encoding: no half of it is taken."""
    (tmp_path / "w.csv").write_bytes(content)
    assert error_of(tmp_path).what.startswith("source 'weather' cannot be read: ")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    """A CSV file that is said to be Parquet is none."""
    (tmp_path / "w.csv").write_text(CSV)
    assert error_of(tmp_path, kind="parquet").what.startswith("source 'weather' cannot be read: ")


def test_a_wrong_separator_is_told(tmp_path: Path) -> None:
    """A single column where several are wanted points to the setting."""
    (tmp_path / "w.csv").write_text("id;temp\na;1\n")
    assert str(error_of(tmp_path)) == (
        "source 'weather' has a single column: id;temp\n"
        "  at w.csv\n"
        "  2 columns with ',' between them.\n"
        "  Set what is between them in conf/:  usecase.sources.weather.separator"
    )


def test_an_unknown_protocol_is_refused(tmp_path: Path) -> None:
    """A URL that fsspec does not know is an error of ours, without the password in it."""
    error = error_of(tmp_path, path="nosuch://user:secret@host/w.csv")
    assert error.what == "source 'weather' cannot be read: Protocol not known: nosuch"
    assert "secret" not in str(error)


def test_an_unknown_connection_names_the_known_ones() -> None:
    """The message lists what the profile has."""
    assert str(query_error({"warehouse": "sqlite://"})) == (
        "source 'weather' asks for the unknown connection 'operational'\n"
        "  in the profile's connections (conf/profile/)\n"
        "  Available: warehouse.\n"
        "  Correct usecase.sources.weather.connection, or add the connection to the profile."
    )


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """The message says how to make the example's database, and no empty file appears."""
    error = query_error({"operational": f"sqlite:///{tmp_path}/w.sqlite"})
    assert error.what == "source 'weather' is missing: its database is not there"
    assert error.todo.endswith("make sources")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A damaged database is an error of ours."""
    (tmp_path / "w.sqlite").write_bytes(b"no database" * 100)
    error = query_error({"operational": f"sqlite:///{tmp_path}/w.sqlite"})
    assert error.what == "the query of source 'weather' fails: file is not a database"


def test_a_query_that_fails_says_why(tmp_path: Path) -> None:
    """The database's own words are passed on."""
    with closing(sqlite3.connect(tmp_path / "w.sqlite")) as connection:
        connection.execute("CREATE TABLE v (id TEXT)")
    error = query_error({"operational": f"sqlite:///{tmp_path}/w.sqlite"})
    assert error.what == "the query of source 'weather' fails: no such table: w"


@pytest.mark.parametrize("url", ["no url with a secret", "nosuch://user:secret@host/db", "postgresql://u:secret@h/d"])
def test_a_database_that_cannot_be_reached_tells_no_secret(url: str) -> None:
    """Whatever is wrong with a URL, its password is in no message."""
    assert "secret" not in str(query_error({"operational": url}))
