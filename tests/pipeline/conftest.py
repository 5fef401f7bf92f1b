"""The real project, made small by its settings, run once, and put back to that state before every test.

It always lies at the same path: MLflow's database names its artifacts by absolute paths.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
# Three months of every fifth flight, a few trees and few replicates: what is left is the tools' own time.
SMALL = {
    "conf/usecase/flights.yaml": {
        r"FROM flights$": "FROM flights WHERE flight % 5 = 0",
        r'until: "[\d-]+"': 'until: "2013-04-10"',
        r"train: \{.*\}": 'train: {start: "2013-01-01", end: "2013-02-01"}',
        r"validation: \{.*\}": 'validation: {start: "2013-02-03", end: "2013-02-14"}',
        r"holdout: \{.*\}": 'holdout: {start: "2013-02-16", end: "2013-03-01"}',
        r"n_bootstrap: \d+": "n_bootstrap: 50",
        r"floor: [\d.]+": "floor: 0.55",
    },
    "conf/model/hist_gradient_boosting.yaml": {r"max_iter: \d+": "max_iter: 20"},
}
PERSON = {f"GIT_{who}_{what}": "test@dovetail.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Checkout:
    """A checkout of the project, and the commands one types in it."""

    folder: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """The variables of a command: those of this process, but none that would lead it elsewhere."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "PROFILE", "HYDRA_"))
        }
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "src",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.folder.parent / "site-cache"),
            # Trees of some hundred rows: a second thread only waits for the first.
            "OMP_NUM_THREADS": "1",
        }
        return inherited | PERSON | own | variables

    def sh(self, command: str, code: int = 0, **variables: str) -> str:
        """What the command prints; it must end with the exit code."""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.environment(**variables), capture_output=True, text=True
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, f"{command}: exit code {done.returncode}\n{said}"
        return said

    def repro(self, arguments: str = "", **variables: str) -> list[str]:
        """The stages that `dvc repro` runs."""
        return re.findall(r"Running stage '(\w+)'", self.sh(f"dvc repro {arguments}", **variables))

    def step(self, arguments: str, code: int = 0, **variables: str) -> str:
        """What `python -m dovetail ...` prints."""
        return self.sh(f"python -m dovetail {arguments}", code, **variables)

    def changed_stages(self) -> set[str]:
        """The stages whose own inputs or settings are not those of their last run, as `dvc status` says."""
        return set(json.loads(self.sh("dvc status --json 2>/dev/null")))

    def edit(self, file: str, pattern: str, replacement: str) -> None:
        """Change the one place of a file that the regular expression finds."""
        path = self.folder / file
        text, n_found = re.subn(pattern, replacement, path.read_text(), flags=re.MULTILINE)
        assert n_found == 1, f"{pattern} is {n_found} times in {file}"
        path.write_text(text)

    def read(self, file: str) -> Any:
        """What a JSON or YAML file of the checkout holds."""
        return yaml.safe_load((self.folder / file).read_text())

    def hashes(self, *stages: str) -> dict[str, str]:
        """Path -> DVC's hash of the outputs of the stages, as dvc.lock has it."""
        lock = self.read("dvc.lock")["stages"]
        return {out["path"]: out["md5"] for stage in stages for out in lock[stage]["outs"]}

    def mlflow(self, query: str) -> list[tuple[Any, ...]]:
        """What MLflow's database answers to an SQL query; asking MLflow itself takes seconds."""
        with closing(sqlite3.connect(self.folder / "mlflow.db")) as connection:
            return connection.execute(query).fetchall()

    def complete_runs(self) -> set[str]:
        """The runs that are finished, tagged as complete, not deleted, and whose model is in the checkout's store."""
        rows = self.mlflow(
            "SELECT runs.run_uuid, logged_models.artifact_location FROM runs"
            " JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = 'dovetail.complete' AND tags.value = 'true'"
            " JOIN logged_models ON logged_models.source_run_id = runs.run_uuid"
            " WHERE runs.status = 'FINISHED' AND runs.lifecycle_stage = 'active'"
        )
        store = (self.folder / "mlartifacts").as_uri()
        return {
            run
            for run, location in rows
            if location.startswith(store) and Path(location.removeprefix("file://"), "model.skops").is_file()
        }

    def n_trained(self) -> int:
        """How many runs there are that trained a model, whatever became of them; the journal's lines are runs too."""
        in_flights = "experiment_id = (SELECT experiment_id FROM experiments WHERE name = 'flights')"
        ((n,),) = self.mlflow(f"SELECT count(*) FROM runs WHERE {in_flights}")
        return int(n)

    def aliases(self) -> dict[str, int]:
        """Alias -> model version."""
        return {
            alias: int(version) for alias, version in self.mlflow("SELECT alias, version FROM registered_model_aliases")
        }

    def with_mlflow(self, code: str) -> str:
        """What Python code prints that finds `mlflow` and `client` connected, as a user of MLflow alone has them."""
        connected = "import mlflow; mlflow.set_tracking_uri('sqlite:///mlflow.db'); client = mlflow.MlflowClient()\n"
        (self.folder / ".runs").mkdir(exist_ok=True)
        (self.folder / ".runs/by_hand.py").write_text(connected + code)
        return self.sh("python -W ignore .runs/by_hand.py 2>/dev/null", MLFLOW_DISABLE_TELEMETRY="true")


def make(folder: Path) -> Checkout:
    """A checkout with all files that git knows or would take, small settings, a commit and the operational database."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    checkout = Checkout(folder)
    for file, edits in SMALL.items():
        for pattern, replacement in edits.items():
            checkout.edit(file, pattern, replacement)
    (folder / ".venv").symlink_to(sys.prefix)  # the environment that `make setup` would make
    checkout.sh("git init -q && echo /.venv >> .git/info/exclude && git add -A && git commit -qm small")
    checkout.sh("python scripts/operational_system.py")
    return checkout


@dataclass(frozen=True)
class FirstRun:
    """The checkout after its first `dvc repro`, what that said, and the copy from which it is put back."""

    checkout: Checkout
    said: str
    copy: Path


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    """The project, made, run once from nothing, and committed."""
    folder = tmp_path_factory.mktemp("pipeline")
    checkout = make(folder / "project")
    said = checkout.sh("dvc repro")
    checkout.sh("git add -A && git commit -qm 'first run'")
    shutil.copytree(checkout.folder, folder / "copy", symlinks=True)
    return FirstRun(checkout, said, folder / "copy")


def put_back(checkout: Checkout, copy: Path) -> Checkout:
    """The checkout as the copy has it; what tests did to it is gone."""
    shutil.rmtree(checkout.folder)
    shutil.copytree(copy, checkout.folder, symlinks=True)
    return checkout


@pytest.fixture
def project(first_run: FirstRun) -> Checkout:
    """The project as the first run left it."""
    return put_back(first_run.checkout, first_run.copy)


@pytest.fixture
def in_production(project: Checkout) -> Checkout:
    """The project whose first model is the champion."""
    project.step("promote")
    return project


@pytest.fixture(scope="session")
def new_checkout() -> Any:
    """Makes another checkout in a folder: its own DVC cache, its own MLflow, nothing run yet."""
    return make
