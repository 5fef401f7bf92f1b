"""Measures `apply` and `materialize` beside Feast's own commands on the flights: seconds of whole commands.

Each turn starts from a fresh copy of this checkout's definitions and feature tables, with an empty registry and an
empty online store; the turns alternate. Feast runs with its stock registry and its stock SQLite store.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STOCK = """
project: dovetail
provider: local
registry: stock.db
online_store: {type: sqlite, path: stock_online.db}
offline_store: {type: dovetail.offline_store.DuckDBAsofOfflineStore}
entity_key_serialization_version: 3
"""
COPIED = ("conf", "feature_repo", "src", "dvc.yaml", "params.yaml", "dvc.lock", ".dvc")
SPAN = ("1970-01-01T00:00:00", "2013-12-01T00:00:00")
FEAST = ["feast", "-c", "feature_repo", "-f", "feature_repo/stock.yaml"]
# Feast's command, and ours.
COMMANDS = {
    "apply": ([*FEAST, "apply", "--skip-source-validation"], "apply"),
    "materialize": ([*FEAST, "materialize", *SPAN], "materialize"),
}
LEFT_OUT = shutil.ignore_patterns("*.db*", "cache", "tmp")


def main() -> None:
    """Print the table of medians, and the ratios turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5, help="how often each command (%(default)s)")
    n_turns = parser.parse_args().turns
    if not (ROOT / "data/features").exists():
        sys.exit("data/features is missing. Make it:  dvc repro featurize")
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the first turn", flush=True)
    turns = [turn() for _ in range(n_turns)]
    print("| command | Feast, s | Dovetail, s | ratio of medians | by turn |\n|---|---|---|---|---|")
    for name in COMMANDS:
        theirs, ours = ([times[name][which] for times in turns] for which in (0, 1))
        ratio = statistics.median(ours) / statistics.median(theirs)
        each = ", ".join(f"{our / their:.2f}" for their, our in zip(theirs, ours, strict=True))
        print(f"| {name} | {statistics.median(theirs):.2f} | {statistics.median(ours):.2f} | {ratio:.2f} | {each} |")


def turn() -> dict[str, tuple[float, float]]:
    """Seconds of Feast's command and of ours, by operation."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=LEFT_OUT)
            else:
                shutil.copy(ROOT / name, copy)
        (copy / "data").symlink_to(ROOT / "data")
        (copy / "feature_repo/stock.yaml").write_text(STOCK)
        subprocess.run(["git", "init", "-q"], cwd=copy, check=True)
        return {
            name: (seconds(feast, copy), seconds([sys.executable, "-m", "dovetail", ours], copy))
            for name, (feast, ours) in COMMANDS.items()
        }


def seconds(command: list[str], folder: Path) -> float:
    """Wall-clock seconds of a command."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PYTHONPATH": "src", "PATH": path}
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
