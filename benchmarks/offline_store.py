"""Measures point-in-time features beside hand-written SQL and beside Feast's own stores: seconds and peak memory.

Each measurement is a process of its own; those of one case take turns. Prints a table, and draws a picture of it.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import matplotlib.pyplot as plt
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
ENGINES = Path(__file__).with_name("offline_store_engines.py")
PICTURE = ROOT / "docs/pictures/offline-store.png"
OURS, BY_HAND = "dovetail", "sql"
LENGTHS = (10, 100, 1_000, 10_000, 100_000)
DAYS = 30


@dataclass
class Case:
    """Label rows and feature rows, and who is asked for them.

    Args:
        name: What it is, for people.
        folder: Where its files are, by `prepare`.
        others: Feast's own stores that survive it, and our sibling on Spark; each is asked once.
        turns: How often ours and the hand-written query are asked.
        found: Seconds, MB, rows and digest of each measurement, by engine.
    """

    name: str
    folder: Path
    others: tuple[str, ...] = ()
    turns: int = 3
    found: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def median(self, engine: str, what: str) -> float:
        """The middle of an engine's measurements."""
        return float(statistics.median(turn[what] for turn in self.found[engine]))


def main() -> None:
    """Make the data, measure, print the table, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the cases' names")
    parser.add_argument("--turns", type=int, default=3, help="how often ours and hand-written SQL (%(default)s)")
    parser.add_argument("--skip", nargs="*", default=[], help="engines to leave out, as feast-duckdb")
    asked = parser.parse_args()
    if not (ROOT / "data/features").exists():
        sys.exit("data/features is missing. Make it:  dvc repro featurize")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the first turn", flush=True)
    print("| case | label rows | feature rows | engine | s | MB | time / SQL | memory / SQL |")
    print("|---|---:|---:|---|---:|---:|---:|---:|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        cases = [case for case in all_cases(Path(scratch)) if any(part in case.name for part in asked.only)]
        for case in cases:
            prepare(case)
            measure(case, asked.turns, asked.skip)
            print("\n".join(lines(case)), flush=True)
            shutil.rmtree(case.folder)
    draw(cases)


def all_cases(scratch: Path) -> list[Case]:
    """From the flights to histories of 100,000 rows a key."""
    return [
        Case("flights", scratch / "flights", ("feast-duckdb", "dovetail-spark")),
        Case("flights, 20,000 label rows", scratch / "flights-20000", ("feast-duckdb", "feast-spark")),
        Case("flights, 500 label rows", scratch / "flights-500", ("feast-dask",)),
        Case("flights, 10 times", scratch / "flights-10x"),
        Case("made up, 100 rows a key", scratch / "large"),
        *(Case(f"histories of {length:,}", scratch / f"histories-{length}") for length in LENGTHS),
    ]


def prepare(case: Case) -> None:
    """Write the files of a case."""
    case.folder.mkdir()
    kind, _, size = case.folder.name.partition("-")
    if kind == "flights":
        flights(case.folder, n_copies=10 if size == "10x" else 1, n_labels=int(size) if size.isdigit() else None)
    elif kind == "histories":
        made_up(case.folder, n_rows=2_000_000, n_labels=1_000_000, length=int(size))
    else:
        made_up(case.folder, n_rows=20_000_000, n_labels=30_000_000, length=100)


def flights(folder: Path, *, n_copies: int, n_labels: int | None) -> None:
    """The pipeline's own tables; a copy has keys of its own. Fewer label rows are drawn from all of them."""
    path = ROOT / "feature_repo/flights.py"
    spec: Any = importlib.util.spec_from_file_location("flights", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    views = []
    for name in module.FEATURE_TABLES:
        view = getattr(module, f"{name}_view")
        keys = {column.name: "string" for column in view.entity_columns}
        features = {column.name: {"Int64": "int64"}.get(str(column.dtype), "double") for column in view.features}
        views.append({"name": name, "keys": keys, "features": features, "ttl": int(view.ttl.total_seconds())})
        copied(f"{ROOT}/data/features/{name}.parquet", list(keys), n_copies, f"{folder}/{name}.parquet", list(keys))
    named = sorted({key for view in views for key in view["keys"]})
    sample = f"USING SAMPLE reservoir({n_labels} ROWS) REPEATABLE (7)" if n_labels else ""
    source = f"(SELECT {', '.join(named)}, event_timestamp FROM '{ROOT}/data/label_rows.parquet' {sample})"  # noqa: S608
    copied(source, named, n_copies, f"{folder}/unplaced.parquet", [])
    numbered = f"SELECT *, row_number() OVER (ORDER BY event_timestamp, {', '.join(named)}) - 1 AS place"
    duckdb.execute(f"COPY ({numbered} FROM '{folder}/unplaced.parquet' ORDER BY place) TO '{folder}/labels.parquet'")
    Path(folder / "unplaced.parquet").unlink()
    (folder / "views.json").write_text(json.dumps(views))


def copied(source: str, keys: list[str], n_copies: int, to: str, order: list[str]) -> None:
    """Rows as often as asked, their keys numbered by copy."""
    source = source if source.startswith("(") else f"'{source}'"
    renamed = ", ".join(f"{key} || '-' || copy AS {key}" for key in keys)
    columns = f"* EXCLUDE copy REPLACE ({renamed})" if n_copies > 1 else "* EXCLUDE copy"
    by = ", ".join([*order, "event_timestamp"])
    duckdb.execute(f"COPY (SELECT {columns} FROM {source}, range({n_copies}) t(copy) ORDER BY {by}) TO '{to}'")  # noqa: S608


def made_up(folder: Path, *, n_rows: int, n_labels: int, length: int) -> None:
    """One view of an integer key and four features; the rows of a key lie evenly in a month, labels anywhere in it."""
    span = DAYS * 24 * 3600 * 1_000_000
    moment = "make_timestamptz(1704067200000000 + ({})::BIGINT)"
    at, label_at = moment.format(f"(i % {length}) * {span // length}"), moment.format(f"hash(i + 7) % {span}")
    values = ", ".join(f"hash(i + {number}) / 18446744073709551616.0 AS f{number}" for number in range(4))
    rows = f"SELECT (i // {length})::BIGINT AS key, {at} AS event_timestamp, {values} FROM range({n_rows}) t(i)"  # noqa: S608
    asked = f"SELECT (hash(i) % {n_rows // length})::BIGINT AS key, {label_at} AS event_timestamp, i AS place"
    duckdb.execute(f"COPY ({rows}) TO '{folder}/made_up.parquet'")
    duckdb.execute(f"COPY ({asked} FROM range({n_labels}) t(i)) TO '{folder}/labels.parquet'")
    features = {f"f{number}": "double" for number in range(4)}
    view = {"name": "made_up", "keys": {"key": "int64"}, "features": features, "ttl": 24 * 3600}
    (folder / "views.json").write_text(json.dumps([view]))


def measure(case: Case, turns: int, skipped: list[str]) -> None:
    """All measurements of a case; ours must give what the hand-written query gives."""
    for _ in range(turns):
        for engine in (BY_HAND, OURS):
            case.found.setdefault(engine, []).append(one(case.folder, engine))
    for engine in case.others:
        if engine not in skipped:
            case.found[engine] = [one(case.folder, engine)]
    digests = {engine: case.found[engine][0]["digest"] for engine in (BY_HAND, OURS)}
    if len(set(digests.values())) > 1:
        sys.exit(f"{case.name}: the results differ: {digests}")


def one(folder: Path, engine: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, str(ENGINES), str(folder), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{engine} on {folder.name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def lines(case: Case) -> list[str]:
    """A case's lines of the table."""
    n_labels = pq.read_metadata(case.folder / "labels.parquet").num_rows
    files = [path for path in case.folder.glob("*.parquet") if path.stem != "labels"]
    n_rows = sum(pq.read_metadata(path).num_rows for path in files)
    found = []
    for engine in case.found:
        seconds, mb = case.median(engine, "seconds"), case.median(engine, "mb")
        times = seconds / case.median(BY_HAND, "seconds")
        memory = mb / case.median(BY_HAND, "mb")
        is_spark = engine.endswith("spark")
        cells = [case.name, f"{n_labels:,}", f"{n_rows:,}", engine, f"{seconds:.2f}"]
        cells += ["", f"{times:.1f}", ""] if is_spark else [f"{mb:,.0f}", f"{times:.2f}", f"{memory:.2f}"]
        found.append(f"| {' | '.join(cells)} |")
    return found


def draw(cases: list[Case]) -> None:
    """Seconds of each engine by case, and by the length of histories."""
    plain = [case for case in cases if not case.name.startswith("histories")]
    histories = [case for case in cases if case.name.startswith("histories")]
    if not plain or not histories:
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=[3, 2], layout="constrained")
    colours = dict(
        zip(
            (BY_HAND, OURS, "dovetail-spark", "feast-duckdb", "feast-spark", "feast-dask"),
            ("#888888", "#1f77b4", "#17becf", "#d62728", "#ff7f0e", "#9467bd"),
            strict=True,
        )
    )
    at, ticks = 0.0, []
    for case in reversed(plain):
        start = at
        for engine in reversed(case.found):
            seconds = case.median(engine, "seconds")
            left.barh(at, seconds, color=colours[engine], label=engine)
            left.text(seconds * 1.08, at, f"{seconds:.1f} s", va="center", fontsize=8)
            at += 1
        ticks.append(((start + at - 1) / 2, case.name.replace(", ", "\n")))
        at += 0.6
    left.set_yticks(*zip(*ticks, strict=True))
    left.set_xscale("log")
    left.set_xlim(right=left.get_xlim()[1] * 2)
    left.set_xlabel("seconds (logarithmic)")
    named = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    left.legend(
        [named[engine] for engine in colours if engine in named], [e for e in colours if e in named], fontsize=8
    )
    for engine in (BY_HAND, OURS):
        right.plot(
            LENGTHS, [case.median(engine, "seconds") for case in histories], "o-", color=colours[engine], label=engine
        )
    right.set(
        xscale="log",
        ylim=(0, None),
        xlabel="feature rows a key (2 million in all)",
        ylabel="seconds, 1 million label rows",
    )
    right.legend()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
