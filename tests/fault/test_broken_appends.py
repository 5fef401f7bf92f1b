"""An append to an offline source that is killed, or finds no space: what was there stays readable."""

import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

APPEND = """
import sys; from pathlib import Path
import pyarrow as pa
from dovetail.offline_store.writing import append
path, first = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
for number in range(first, first + int(sys.argv[3])):
    append(pa.table({"number": [number] * 1000}), path)
    print(number, flush=True)
"""


def appender(path: Path, first: int, n: int, **arguments) -> subprocess.Popen:
    """A process that appends a thousand equal rows again and again."""
    command = [sys.executable, "-W", "ignore", "-c", APPEND, str(path), str(first), str(n)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **arguments)


def numbers(path: Path) -> dict[int, int]:
    """How often each number is in the source, which must be readable."""
    counts = pq.read_table(path).group_by("number").aggregate([([], "count_all")])
    return dict(zip(counts["number"].to_pylist(), counts["count_all"].to_pylist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.parquet", "rows"], ids=["file", "folder"])
def test_a_killed_append_loses_nothing(tmp_path: Path, name: str) -> None:
    """Killed at random moments, all that was acknowledged is there once, and nothing is there by half."""
    path = tmp_path / name
    path.mkdir() if not path.suffix else pq.write_table(pa.table({"number": [-1] * 1000}), path)
    chance = random.Random(5)
    acknowledged: set[int] = set()
    for attempt in range(6):
        with appender(path, 1000 * attempt, 1000) as process:
            said = [process.stdout.readline()]
            end = time.monotonic() + chance.uniform(0.02, 0.3)
            while time.monotonic() < end:
                said.append(process.stdout.readline())
            process.kill()
            said += process.stdout.readlines()
        acknowledged |= {int(line) for line in said if line.strip().isdigit() and line.endswith("\n")}
        found = numbers(path)
        assert acknowledged <= set(found)
        assert set(found.values()) == {1000}
    assert len(acknowledged) > 6


@pytest.mark.slow
def test_two_writers_take_turns(tmp_path: Path) -> None:
    """What two processes append to one file at once is all there."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"number": [-1] * 1000}), path)
    processes = [appender(path, 1000 * number, 20) for number in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert numbers(path) == dict.fromkeys([-1, *range(20), *range(1000, 1020)], 1000)


def test_a_full_disk_leaves_the_source_as_it_was(tmp_path: Path) -> None:
    """An append that finds no space fails and leaves no file behind."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"number": range(100_000)}), path)
    before = path.read_bytes()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    with appender(path, 0, 1, preexec_fn=limit) as process:
        _, error = process.communicate()
    assert process.returncode == 1
    assert "File too large" in error
    assert path.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"rows.parquet", ".rows.parquet.lock"}
