"""Files are written whole or not at all."""

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from dovetail.errors import DiskFullError, WorkspaceError
from dovetail.files import read_json, read_parquet, replacing, sha256, write_json, write_parquet, write_text


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    """A write that fails half-way leaves the old file as it was, and nothing beside it."""
    path = tmp_path / "report.txt"
    write_text("old", path)
    with pytest.raises(IsADirectoryError), replacing(path) as temporary:
        temporary.write_text("ne" + tmp_path.read_text())
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("report.txt", "old")]


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path) -> None:
    """ENOSPC becomes a DiskFullError with the file's name; the old content is there."""
    path = tmp_path / "report.txt"
    write_text("old", path)
    with pytest.raises(DiskFullError, match=r"no space left to write report\.txt"), replacing(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert path.read_text() == "old"


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    """Parquet files of equal tables are equal, whatever pandas noted in the schema's metadata."""
    table = pa.table({"key": [1, 2], "name": ["a", None]})
    write_parquet(table, tmp_path / "one.parquet")
    write_parquet(pa.Table.from_pandas(table.to_pandas()).select(["key", "name"]), tmp_path / "two.parquet")
    assert sha256(tmp_path / "one.parquet") == sha256(tmp_path / "two.parquet")


def test_chunks_of_a_table_leave_no_trace(tmp_path: Path) -> None:
    """An engine that hands a table out in other pieces makes the same file; these numbers outgrow a dictionary."""
    table = pa.table({"x": [n / 7 for n in range(150_000)]})
    write_parquet(table, tmp_path / "one.parquet")
    write_parquet(pa.concat_tables([table[at : at + 777] for at in range(0, 150_000, 777)]), tmp_path / "two.parquet")
    assert sha256(tmp_path / "one.parquet") == sha256(tmp_path / "two.parquet")


def test_a_flipped_bit_in_parquet_is_noticed(tmp_path: Path) -> None:
    """Pages carry checksums: data that changed on the disk is not read as if nothing were."""
    path = tmp_path / "numbers.parquet"
    write_parquet(pa.table({"x": list(range(1000))}), path)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match="CRC"):
        read_parquet(path)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    """What a stage should have written, and did not, is a WorkspaceError that says `dvc repro`."""
    for read in (read_json, read_parquet):
        with pytest.raises(WorkspaceError) as caught:
            read(tmp_path / "run.json")
        assert str(caught.value) == f"run.json is missing\n  at {tmp_path / 'run.json'}\n  Make it:  dvc repro"


def test_json_keeps_its_order_and_ends_with_a_line(tmp_path: Path) -> None:
    """JSON is written for people: keys in their order, accents as they are."""
    write_json({"b": 1, "a": "é"}, tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text() == '{\n  "b": 1,\n  "a": "é"\n}\n'
    assert read_json(tmp_path / "x.json") == {"b": 1, "a": "é"}
