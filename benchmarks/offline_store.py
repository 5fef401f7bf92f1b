"""Measures point-in-time features beside hand-written SQL and beside Feast's own stores: seconds and peak memory.

Each measurement is a process of its own; those of one case take turns. Prints a table and what became of each limit,
and draws a picture.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from offline_store_data import prepare

ROOT = Path(__file__).resolve().parents[1]
ENGINES = Path(__file__).with_name("offline_store_engines.py")
PICTURE = ROOT / "docs/offline-store.png"
OURS, BY_HAND, ON_SPARK = "dovetail", "sql", "dovetail-spark"
COLOURS = {
    BY_HAND: "#888888",
    OURS: "#1f77b4",
    ON_SPARK: "#17becf",
    "feast-duckdb": "#d62728",
    "feast-spark": "#ff7f0e",
    "feast-dask": "#9467bd",
}
LENGTHS = (10, 100, 1_000, 10_000, 100_000)


@dataclass
class Case:
    """Label rows and feature rows, and who is asked for them.

    Args:
        name: What it is, for people.
        folder: Its files are there, by `prepare`.
        turns: How often each engine is asked.
        rows: Label rows and feature rows.
        found: Seconds, MB, rows and digest of each measurement, by engine; one that was not measured but extrapolated
            has seconds alone.
    """

    name: str
    folder: str
    turns: dict[str, int]
    rows: tuple[int, int] = (0, 0)
    found: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def median(self, engine: str, what: str = "seconds") -> float:
        """The middle of an engine's measurements."""
        return float(statistics.median(turn[what] for turn in self.found[engine]))

    def is_measured(self, engine: str) -> bool:
        """Whether an engine was asked, and its figures are not extrapolated."""
        return "mb" in self.found[engine][0]


def main() -> None:
    """Make the data, measure, print the table and the limits, draw the picture; exit code 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the cases' names")
    parser.add_argument("--kept", type=Path, help="a JSON file of results: cases in it are not measured again")
    asked = parser.parse_args()
    if not (ROOT / "data/features").exists():
        sys.exit("data/features is missing. Make it:  dvc repro featurize")
    kept = json.loads(asked.kept.read_text()) if asked.kept and asked.kept.exists() else {}
    cases = {case.name: Case(**kept.get(case.name, vars(case))) for case in all_cases()}
    chosen = [case for case in cases.values() if any(part in case.name for part in asked.only)]
    for case in chosen:
        if not case.found:
            print(f"{case.name}: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", file=sys.stderr)
            measure(case)
            kept[case.name] = vars(case)
            if asked.kept:
                asked.kept.write_text(json.dumps(kept, indent=1))
    extrapolate(cases)
    print("| case | label rows | feature rows | engine | s | MB | time / SQL | memory / SQL | same answer |")
    print("|---|---:|---:|---|---:|---:|---:|---:|---|", *(line for case in chosen for line in lines(case)), sep="\n")
    missed = False
    for limit, said, holds in limits(cases):
        print(f"- {limit}: {said}{'' if holds else ' MISSED'}")
        missed = missed or not holds
    draw([case for case in cases.values() if case.found])
    sys.exit(1 if missed else 0)


def all_cases() -> list[Case]:
    """From the flights to histories of 100,000 rows a key; Feast's own stores at sizes that they survive."""
    pair = {BY_HAND: 5, OURS: 5}
    return [
        Case("flights", "flights", pair),
        Case("flights, 20,000 label rows", "flights-20000", {OURS: 3, "feast-duckdb": 3}),
        Case("flights, 10,000 label rows", "flights-10000", {OURS: 3, "feast-duckdb": 3}),
        Case("flights, 500 label rows", "flights-500", {OURS: 3, "feast-dask": 1}),
        Case("flights, four views", "four", {OURS: 3, ON_SPARK: 3}),
        Case("flights, four views, 5,000 label rows", "four-5000", {ON_SPARK: 3, "feast-spark": 3}),
        Case("flights, four views, 2,500 label rows", "four-2500", {ON_SPARK: 3, "feast-spark": 3}),
        Case("flights, 10 times", "flights-10x", {BY_HAND: 3, OURS: 3}),
        Case("made up, 100 rows a key", "large", {BY_HAND: 3, OURS: 3}),
        *(Case(f"histories of {length:,}", f"histories-{length}", pair) for length in LENGTHS),
    ]


def measure(case: Case) -> None:
    """All measurements of a case, in turns. What all of it takes is gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / case.folder
        case.rows = prepare(folder)
        for turn in range(max(case.turns.values())):
            for engine, n_turns in case.turns.items():
                if turn < n_turns:
                    case.found.setdefault(engine, []).append(one(folder, engine))


def one(folder: Path, engine: str) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, str(ENGINES), str(folder), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        sys.exit(f"{engine} on {folder.name} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def extrapolate(cases: dict[str, Case]) -> None:
    """Feast's own stores on all flights, by the line through two sizes that they survive."""
    for engine, whole, names in (
        ("feast-duckdb", "flights", ("flights, 10,000 label rows", "flights, 20,000 label rows")),
        (
            "feast-spark",
            "flights, four views",
            ("flights, four views, 2,500 label rows", "flights, four views, 5,000 label rows"),
        ),
    ):
        small, large, to = (cases[name] for name in (*names, whole))
        if small.found and large.found and to.found:
            of_row = (large.median(engine) - small.median(engine)) / (large.rows[0] - small.rows[0])
            to.found[engine] = [{"seconds": large.median(engine) + of_row * (to.rows[0] - large.rows[0])}]


def lines(case: Case) -> Iterator[str]:
    """A case's lines of the table."""
    ours = case.found[OURS if OURS in case.found else ON_SPARK][0]
    for engine, turns in case.found.items():
        seconds = f"{case.median(engine):,.2f}"
        cells = [case.name, f"{case.rows[0]:,}", f"{case.rows[1]:,}", engine]
        if not case.is_measured(engine):
            yield f"| {' | '.join([*cells, f'{seconds} (extrapolated)', '', '', '', ''])} |"
            continue
        ratios = [
            f"{case.median(engine, what) / case.median(BY_HAND, what):.2f}" if BY_HAND in case.found else ""
            for what in ("seconds", "mb")
        ]
        n_lost = case.rows[0] - turns[0]["rows"]
        same = "yes" if turns[0]["digest"] == ours["digest"] else f"{n_lost:,} rows are lost" if n_lost else "no"
        # Spark's own process is not in it.
        mb = "" if engine.endswith("spark") else f"{case.median(engine, 'mb'):,.0f}"
        yield f"| {' | '.join([*cells, seconds, mb, *ratios, same])} |"


def limits(cases: dict[str, Case]) -> Iterator[tuple[str, str, bool]]:
    """What must hold of what was measured: the limit, what was found, and whether it holds."""
    whole, some, four = cases["flights"], cases["flights, 20,000 label rows"], cases["flights, four views"]
    ten, made_up = cases["flights, 10 times"], cases["made up, 100 rows a key"]
    at_most = [
        ("flights, seconds / SQL's", (whole, OURS), (whole, BY_HAND), "seconds", 1.3),
        ("flights, memory / SQL's", (whole, OURS), (whole, BY_HAND), "mb", 1.5),
        ("10 times the flights, seconds / those of the flights", (ten, OURS), (whole, OURS), "seconds", 12),
        ("30 by 20 million rows, seconds / SQL's", (made_up, OURS), (made_up, BY_HAND), "seconds", 1.5),
        ("30 by 20 million rows, memory / SQL's", (made_up, OURS), (made_up, BY_HAND), "mb", 1.5),
    ]
    at_least = [
        ("20,000 label rows, seconds of feast-duckdb / ours", (some, "feast-duckdb"), (some, OURS), "seconds", 10),
        ("flights, seconds of feast-duckdb / ours", (whole, "feast-duckdb"), (whole, OURS), "seconds", 50),
        ("flights, seconds of feast-spark / ours on Spark", (four, "feast-spark"), (four, ON_SPARK), "seconds", 20),
    ]
    for checks, sign in ((at_most, 1), (at_least, -1)):
        for said, (case, engine), (other, its), what, limit in checks:
            if engine in case.found and its in other.found:
                ratio = case.median(engine, what) / other.median(its, what)
                word = "at most" if sign > 0 else "at least"
                yield f"{said}, {word} {limit}", f"{ratio:.2f}", sign * ratio <= sign * limit
    if made_up.found:
        mb = made_up.median(OURS, "mb")
        yield "30 by 20 million rows, MB, at most 8,000", f"{mb:,.0f}", mb <= 8_000
    for case in cases.values():
        if BY_HAND in case.found:
            same = case.found[BY_HAND][0]["digest"] == case.found[OURS][0]["digest"]
            yield f"{case.name}: the answer is SQL's", "yes" if same else "no", same


def draw(cases: list[Case]) -> None:
    """Seconds of each engine by case, and by the length of histories."""
    plain = [case for case in cases if not case.name.startswith("histories")]
    histories = [case for case in cases if case.name.startswith("histories")]
    if not plain or len(histories) < len(LENGTHS):
        return
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), width_ratios=[3, 2], layout="constrained")
    at, ticks = 0.0, []
    for case in reversed(plain):
        start = at
        for engine in reversed(case.found):
            seconds, measured = case.median(engine), case.is_measured(engine)
            left.barh(at, seconds, color=COLOURS[engine], label=engine, alpha=1 if measured else 0.4)
            left.text(
                seconds * 1.08, at, f"{seconds:,.1f} s{'' if measured else ', extrapolated'}", va="center", fontsize=8
            )
            at += 1
        ticks.append(((start + at - 1) / 2, case.name.replace(", ", "\n", 1)))
        at += 0.6
    left.set_yticks(*zip(*ticks, strict=True), fontsize=8)
    left.set(xscale="log", xlabel="seconds (logarithmic)")
    left.set_xlim(right=left.get_xlim()[1] * 8)
    named = dict(zip(*reversed(left.get_legend_handles_labels()), strict=True))
    here = [engine for engine in COLOURS if engine in named]
    left.legend([named[engine] for engine in here], here, fontsize=8)
    for engine in (BY_HAND, OURS):
        right.plot(LENGTHS, [case.median(engine) for case in histories], "o-", color=COLOURS[engine], label=engine)
    right.set(xscale="log", ylim=(0, None), xlabel="feature rows a key (2 million in all)")
    right.set_ylabel("seconds for 1 million label rows")
    right.legend()
    figure.savefig(PICTURE, dpi=100)


if __name__ == "__main__":
    main()
