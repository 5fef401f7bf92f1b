"""The prediction log: ids that are found without reading everything, and that prove their rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dovetail.contracts import prediction_log
from dovetail.contracts.prediction_log import ID, find, made_by, with_ids
from dovetail.errors import WorkspaceError
from dovetail.files import write_parquet

NOON = datetime(2013, 4, 9, 12, tzinfo=UTC)


def rows(run_id: str = "run1", scored_at: datetime = NOON, probabilities: tuple[float, ...] = (0.25, 0.5)) -> pa.Table:
    """One scoring, as `score` stamps it."""
    n = len(probabilities)
    return pa.table(
        {
            "key": [f"UA{at}" for at in range(n)],
            "event_timestamp": pa.array([NOON - timedelta(hours=1)] * n, pa.timestamp("us", "UTC")),
            "probability": probabilities,
            "is_positive": [p >= 0.5 for p in probabilities],
            "model": ["flights"] * n,
            "model_version": [1] * n,
            "run_id": [run_id] * n,
            "data_version": ["77b565fbb34d"] * n,
            "scored_at": pa.array([scored_at] * n, pa.timestamp("us", "UTC")),
        }
    )


def logged(folder: Path, name: str, table: pa.Table) -> list[str]:
    """The ids of a scoring that was written to the log."""
    stamped = with_ids(table)
    write_parquet(stamped, folder / f"{name}.parquet")
    return stamped[ID].to_pylist()


def test_ids_are_stable_and_unique() -> None:
    """The same rows have the same ids; each row, run and scoring has its own."""
    tables = [rows(), rows("run2"), rows(scored_at=NOON + timedelta(microseconds=1)), rows(probabilities=(0.25, 0.6))]
    ids = [name for table in tables for name in with_ids(table)[ID].to_pylist()]
    assert with_ids(rows())[ID].to_pylist() == ids[:2]
    assert len(set(ids)) == 7  # the last scoring is the first one, but for a row
    assert all(len(name) == 25 and name[8] == "-" for name in ids)


def test_a_prediction_is_found_by_its_id_or_its_beginning(tmp_path: Path) -> None:
    """With the file that holds it."""
    logged(tmp_path, "a", rows("run2"))
    first, second = logged(tmp_path, "b", rows())
    (hit,) = find(tmp_path, second)
    assert (hit.file.name, hit.row["key"], hit.row["probability"], hit.is_sound) == ("b.parquet", "UA1", 0.5, True)
    assert [hit.row["key"] for hit in find(tmp_path, first[:12])] == ["UA0"]
    assert {hit.row["key"] for hit in find(tmp_path, first[:8])} == {"UA0", "UA1"}
    assert find(tmp_path, "00000000-0000000000000000") == find(tmp_path, "zz") == find(tmp_path / "none", "aa") == []


def test_only_files_that_may_hold_the_id_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred scorings one is opened: Parquet's own notes rule out the others."""
    ids = [logged(tmp_path, f"{at:03}", rows(f"run{at}"))[0] for at in range(100)]
    opened: list[Path] = []
    real = prediction_log._read
    monkeypatch.setattr(prediction_log, "_read", lambda file: opened.append(file) or real(file))
    assert len(find(tmp_path, ids[42])) == 1
    assert made_by(tmp_path, "run42", 1, verify=False).rows == 2
    assert [file.name for file in opened] == ["042.parquet", "042.parquet"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("probability", 0.5000000000000001), ("key", "UA9"), ("is_positive", False), ("run_id", "run3")],
)
def test_an_altered_row_is_not_what_its_id_says(tmp_path: Path, column: str, value: object) -> None:
    """In whatever column, by however little."""
    table = with_ids(rows())
    at = table.column_names.index(column)
    changed = pc.if_else(pa.array([False, True]), pa.scalar(value, table.field(column).type), table[column])
    pq.write_table(table.set_column(at, column, changed), tmp_path / "log.parquet")
    name = table[ID][1].as_py()
    assert [hit.is_sound for hit in find(tmp_path, name)] == [False]
    run_id = value if column == "run_id" else "run1"
    assert made_by(tmp_path, str(run_id), 1, verify=True).altered == (name,)


def test_what_a_run_predicted_is_counted(tmp_path: Path) -> None:
    """Over files, with the first and last scoring; another run's rows do not count."""
    later = NOON + timedelta(days=1)
    logged(tmp_path, "a", rows())
    logged(tmp_path, "b", rows(scored_at=later))
    logged(tmp_path, "c", rows("run2"))
    made = made_by(tmp_path, "run1", 1, verify=True)
    assert (made.rows, made.files, made.first, made.last) == (4, 2, NOON, later)
    assert (made.altered, made.without_id) == ((), 0)
    assert made_by(tmp_path, "run3", 1, verify=False).rows == made_by(tmp_path, "run1", 2, verify=False).rows == 0


def test_rows_of_before_there_were_ids_are_counted_apart(tmp_path: Path) -> None:
    """Nobody can say whether they are as they were."""
    write_parquet(rows(), tmp_path / "old.parquet")
    made = made_by(tmp_path, "run1", 1, verify=True)
    assert (made.rows, made.without_id, made.altered) == (2, 2, ())
    assert find(tmp_path, "aaaaaaaa") == []


@pytest.mark.parametrize("content", [b"", b"PAR1 torn", b"PAR1" + b"\0" * 100])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """With the command that puts it aside."""
    (tmp_path / "log.parquet").write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"log\.parquet cannot be read.*\n.*\n.*mv "):
        find(tmp_path, "aaaaaaaa")
