"""Measures a cold `dvc repro` beside the plain script that does the same work: seconds and peak memory, by stage.

Both run in turn in fresh copies of this checkout, and must arrive at the same rows and the same AUC. Linux only.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATABASE = "data/operational.sqlite"
SAMPLE_SECONDS = 0.05
BEFORE = "start"


@dataclass(frozen=True)
class Measured:
    """One run: seconds and peak memory in MB of each of its steps, in their order, and what it arrived at."""

    seconds: dict[str, float]
    megabytes: dict[str, float]
    numbers: dict[str, Any]

    @property
    def total(self) -> float:
        """Wall-clock seconds of the whole run."""
        return sum(self.seconds.values())

    @property
    def peak(self) -> float:
        """Peak memory of the whole run, in MB."""
        return max(self.megabytes.values())


def main() -> None:
    """Print the table; exit with 1 when the two disagree or one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2, help="how often each of the two runs (%(default)s)")
    n_runs = parser.parse_args().runs
    if not (ROOT / DATABASE).exists():
        sys.exit(f"{DATABASE} is missing. Make it:  make sources")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the first run", flush=True)
    turns = [(told("dvc repro", pipeline()), told("plain script", plain_script())) for _ in range(n_runs)]
    if any(ours.numbers != plain.numbers for ours, plain in turns):
        sys.exit(f"They disagree: {[(ours.numbers, plain.numbers) for ours, plain in turns]}")
    ours, plain = (min(runs, key=lambda run: run.total) for runs in zip(*turns, strict=True))
    print(table(ours, plain))
    ratios = ", ".join(f"{ours.total / plain.total:.2f}" for ours, plain in turns)
    print(f"dvc repro / plain script: {ours.total / plain.total:.2f} (turn by turn: {ratios})")
    print(f"Both arrive at {ours.numbers}")


def told(name: str, run: Measured) -> Measured:
    """The run itself, after a line about it."""
    print(f"{name:<12} {run.total:6.1f} s  {run.peak:5.0f} MB", flush=True)
    return run


def table(ours: Measured, plain: Measured) -> str:
    """Markdown: one line a stage, in the pipeline's order; what the plain script does not do is a dash."""
    lines = ["| stage | dovetail s | MB | plain script s | MB |", "|---|---:|---:|---:|---:|"]
    for stage, seconds in ours.seconds.items():
        theirs = f"{plain.seconds[stage]:.1f}" if stage in plain.seconds else "-"
        # The plain script is one process, whose peak only rises: it has one for all of its steps.
        lines.append(f"| {stage} | {seconds:.1f} | {ours.megabytes[stage]:.0f} | {theirs} | |")
    total = f"| **total** | {ours.total:.1f} | {ours.peak:.0f} | {plain.total:.1f} | {plain.peak:.0f} |"
    return "\n".join([*lines, total])


def pipeline() -> Measured:
    """A cold `dvc repro`: no outputs, no cache, no MLflow database."""
    with checkout() as folder:
        seconds, megabytes = watched(["dvc", "repro"], folder, r"Running stage '(\w+)'")
        certificate = json.loads((folder / "reports/split_certificate.json").read_text())
        auc = json.loads((folder / "metrics/holdout.json").read_text())["holdout/roc_auc"]
    return Measured(seconds, megabytes, numbers(certificate["rows"], auc))


def plain_script() -> Measured:
    """The plain script, into an empty folder."""
    with checkout() as folder:
        command = ["python", "benchmarks/plain_script.py", "plain"]
        seconds, megabytes = watched(command, folder, r"step (\w+)")
        results = json.loads((folder / "plain/results.json").read_text())
    return Measured(seconds, megabytes, numbers(results["rows"], results["roc_auc"]))


def numbers(rows: dict[str, int], auc: float) -> dict[str, Any]:
    """What the two must agree on: rows of each part, AUC on the holdout to four digits."""
    return {**rows, "AUC": round(auc, 4)}


@contextmanager
def checkout() -> Iterator[Path]:
    """A copy of this checkout as it is, uncommitted changes included, in a git repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    with tempfile.TemporaryDirectory(prefix="dovetail-bench-") as name:
        folder = Path(name)
        for path in [*filter(None, listed.stdout.decode().split("\0")), DATABASE]:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / path)
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        for command in (["init"], ["add", "--all"], [*identity, "commit", "-m", "bench"]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
        yield folder


def watched(command: list[str], folder: Path, step: str) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and peak MB of each step of a command, which announces a step by a line that matches `step`.

    Memory is the sum of the peaks of all processes that are alive at a time: never less than what they held together.
    """
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(folder / ".git/site-cache"),
        # Other programs on the machine slow OpenMP's busy waiting down tenfold: it must not decide the comparison.
        "OMP_WAIT_POLICY": "passive",
    }
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    starts, megabytes, lines = {BEFORE: time.perf_counter()}, {BEFORE: 0.0}, []
    sampler = threading.Thread(target=sample, args=(process, megabytes), daemon=True)
    sampler.start()
    for line in process.stdout or ():
        lines.append(line)
        if found := re.match(step, line):
            megabytes[found[1]] = 0.0
            starts[found[1]] = time.perf_counter()
    if process.wait():
        sys.exit(f"{' '.join(command)} failed:\n{''.join(lines[-30:])}")
    sampler.join()
    ends = [*list(starts.values())[1:], time.perf_counter()]
    return {name: end - start for (name, start), end in zip(starts.items(), ends, strict=True)}, megabytes


def sample(process: "subprocess.Popen[str]", megabytes: dict[str, float]) -> None:
    """Keep the last step's peak up to date until the process ends."""
    while process.poll() is None:
        name = next(reversed(megabytes))
        megabytes[name] = max(megabytes[name], peak_memory(process.pid))
        time.sleep(SAMPLE_SECONDS)


def peak_memory(session: int) -> float:
    """The sum of the peaks of a session's processes, in MB; a process that ends meanwhile counts nothing."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # The fields after the name: state, parent, group, session.
            if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                total += int(re.search(r"VmHWM:\s+(\d+)", (folder / "status").read_text())[1])  # type: ignore[index]
        except (FileNotFoundError, ProcessLookupError, TypeError):
            continue
    return total / 1024


if __name__ == "__main__":
    main()
