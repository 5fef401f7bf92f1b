"""A workspace with a training set of made-up flights: stages and `promote` run in it in this process, on a real MLflow.

The settings are the project's own, made small; a whole challenger (train, evaluate, register) takes seconds.
"""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from mlflow import MlflowClient

from dovetail.contracts.journal import PASSED, PROMOTE, REGISTER
from dovetail.files import read_json, read_parquet, write_json, write_parquet
from dovetail.operations.promote import promote
from dovetail.settings.arguments import Promote
from dovetail.settings.composition import compose
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import MLflow, Pipeline, Profile
from dovetail.settings.validation import validate_pipeline
from dovetail.settings.workspace import Workspace
from dovetail.stages.evaluate import evaluate
from dovetail.stages.register import register
from dovetail.stages.train import train
from dovetail.tools import experiments, journal, model_registry
from dovetail.tools.model_registry import CHALLENGER, CHAMPION, ModelVersion

REPOSITORY = Path(__file__).parents[2]
SMALL = ["usecase.evaluation.n_bootstrap=100", "usecase.evaluation.min_slice_rows=300"]
SMALL += ["model.max_iter=40", "model.min_samples_leaf=40"]
PARTS = {"train": ("2013-01-01", 6000), "validation": ("2013-07-03", 1500), "holdout": ("2013-08-03", 4000)}
Edit = Callable[[dict[str, pd.DataFrame]], None]


def made_up(start: str, n: int, seed: int) -> pd.DataFrame:
    """Flights that are late when the origin, the aircraft or the evening is; every fifth delay is missing."""
    random = np.random.default_rng(seed)
    hours = random.integers(5, 24, n).astype(float)
    origin, aircraft = random.normal(0, 25, n), random.normal(0, 30, n)
    aircraft[::5] = np.nan
    odds = -1.8 + origin / 20 + np.nan_to_num(aircraft) / 30 + (hours - 14) / 8
    moments = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(np.sort(random.integers(0, 28 * 24 * 60, n)), "min")
    return pd.DataFrame(
        {
            "flight_id": [f"{start}-{number}" for number in range(n)],
            "event_timestamp": moments.astype("datetime64[us, UTC]"),
            "carrier": random.choice(["AA", "B6", "UA"], n),
            "origin": random.choice(["EWR", "JFK", "LGA"], n),
            "dest": random.choice(["BOS", "LAX", "MIA"], n),
            "hour": hours,
            "weekday": random.integers(1, 8, n).astype(float),
            "distance": random.choice([200.0, 1000.0, 2500.0], n),
            "origin_mean_arr_delay_3h": origin,
            "origin_share_late_3h": 1 / (1 + np.exp(-origin / 20)),
            "aircraft_last_arr_delay": aircraft,
            "aircraft_last_dep_delay": aircraft + random.normal(5, 10, n),
            "wind": random.normal(10, 5, n),
            "is_late": (random.random(n) < 1 / (1 + np.exp(-odds))).astype("int8"),
        }
    )


@dataclass(frozen=True)
class Airline:
    """The workspace, its registry, and the challengers that were made in it."""

    workspace: Workspace
    client: MlflowClient

    def settings(self, *overrides: str) -> Pipeline:
        """The project's settings, small."""
        return validate_pipeline(compose(REPOSITORY / "conf", *SMALL, *overrides), REPOSITORY / "conf")

    def make(self, name: str, edit: Edit, *overrides: str) -> ModelVersion:
        """A challenger from an edited training set; `stand` calls it by its name later."""
        frames = {part: made_up(start, n, seed) for seed, (part, (start, n)) in enumerate(PARTS.items())}
        edit(frames)
        for part in ("train", "validation"):
            self.write(part, frames[part])
        self.lock()
        settings = self.settings(*overrides)
        for stage in (train, evaluate, register):
            stage(settings, self.workspace)
            self.lock()
        shutil.copytree(self.workspace.read("models"), self.workspace.read(f"made/{name}"))
        return self.version(CHALLENGER)

    def write(self, part: str, frame: pd.DataFrame) -> None:
        """A part of the training set, as `assemble` writes it."""
        write_parquet(pa.Table.from_pandas(frame, preserve_index=False), self.workspace.write(_path(part)))

    def lock(self) -> None:
        """dvc.lock, as DVC leaves it after stages that did what they say."""
        stages = yaml.safe_load((self.workspace.root / "dvc.yaml").read_text())["stages"]
        made = {stage: stages[stage]["outs"] for stage in ("assemble", "train")}
        found = {stage: {"outs": [self._out(path) for path in paths]} for stage, paths in made.items()}
        (self.workspace.root / "dvc.lock").write_text(yaml.safe_dump({"stages": found}))

    def _out(self, path: str) -> dict[str, str | None]:
        return {"path": path, "md5": dvc_hash(self.workspace.root / path)}

    def stand(self, name: str) -> ModelVersion:
        """A challenger of before, as `dvc checkout` and `mend` bring it back."""
        shutil.rmtree(self.workspace.read("models"))
        shutil.copytree(self.workspace.read(f"made/{name}"), self.workspace.read("models"))
        self.lock()
        number = read_json(self.workspace.read("models/version.json"))["version"]
        self._move(CHALLENGER, number, act=REGISTER)
        return self.version(CHALLENGER)

    def crown(self, name: str) -> ModelVersion:
        """A version of before as the champion, as if the gate had let it pass."""
        number = read_json(self.workspace.read(f"made/{name}/version.json"))["version"]
        self._move(CHAMPION, number, act=PROMOTE, evidence={"gate": PASSED})
        return self.version(CHAMPION)

    def _move(self, alias: str, number: int, **said: Any) -> None:
        with journal.turn(self.client, self.workspace.profile.mlflow, "flights") as turn:
            turn.move(alias, number, who="test", why="a test wants it so", **said)

    def version(self, alias: str) -> ModelVersion:
        """Who has the alias."""
        return model_registry.with_alias(self.client, "flights", alias)

    def promote(self, *overrides: str) -> None:
        """Ask the gate, as the command does."""
        promote(self.settings(*overrides), self.workspace, Promote())

    def record(self) -> Any:
        """What the gate left."""
        return read_json(self.workspace.root / "reports/promotion.json")

    def holdout(self) -> pd.DataFrame:
        """The rows that decide."""
        return read_parquet(self.workspace.read(_path("holdout"))).to_pandas()


def found_in(folder: Path, tracking: MLflow) -> Airline:
    """The workspace, new, in a git repository of its own."""
    folder.mkdir()
    shutil.copy(REPOSITORY / "dvc.yaml", folder / "dvc.yaml")
    (folder / "requirements.lock").write_text("")
    shutil.copy(REPOSITORY / "params.yaml", folder / "params.yaml")
    person = (["config", "user.name", "test"], ["config", "user.email", "test@dovetail.test"])
    for command in (["init", "-q"], *person, ["add", "-A"], ["commit", "-qm", "small"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    profile = Profile.model_construct(mlflow=tracking, approval="none")
    workspace = Workspace(root=folder, home=folder, out=folder, profile=profile, is_stage=True)
    airline = Airline(workspace, experiments.connect(tracking))
    definition = {"feature_service": "flights", "definition_hash": "c0ffee", "meaning": {"views": {}}}
    write_json(definition, workspace.write("data/training_set/definition.json"))
    write_json({"holds": True, "checks": []}, workspace.write("reports/split_certificate.json"))
    start, n = PARTS["holdout"]
    for part in ("holdout", "live"):
        airline.write(part, made_up(start, n, seed=2))
    return airline


def _path(part: str) -> str:
    return f"data/training_set/{part}.parquet"
