"""conf/, params.yaml and dvc.yaml agree: the real DVC, Hydra and conf/, on a pipeline of small stages.

Each test starts from its own copy of a project whose pipeline has run once and is committed.
The settings package, `__main__` and conf/ are the repository's own; only the stages and dvc.yaml are written here.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
STAGES = ["config", "ingest", "assemble", "train", "evaluate"]
SERVER = {
    "PROFILE": "server",
    "MLFLOW_TRACKING_URI": "http://mlflow.test",
    "OPERATIONAL_DATABASE_URL": "postgresql://database.test/flights",
    "PREDICTIONS_FOLDER": "s3://bucket.test/predictions",
}

DVC_YAML = """
vars:
  - run: PYTHONPATH=src python -m dovetail
stages:
  config:
    cmd: ${run} config
    deps: [conf, src/dovetail/settings]
    outs:
      - params.yaml: {cache: false, persist: true}
  ingest:
    cmd: ${run} ingest
    deps:
      - src/dovetail/stages/ingest.py
    params: [usecase.name, usecase.until]
    outs: [data/raw.txt]
  assemble:
    cmd: ${run} assemble
    deps: [src/dovetail/stages/assemble.py, data/raw.txt]
    params: [seed, usecase.split]
    outs: [data/training_set.txt]
  train:
    cmd: ${run} train
    deps: [src/dovetail/stages/train.py, data/training_set.txt]
    params: [model, usecase.name]
    outs: [models/model.txt]
    metrics:
      - metrics/validation.json: {cache: false}
  evaluate:
    cmd: ${run} evaluate
    deps: [src/dovetail/stages/evaluate.py, models/model.txt]
    params: [usecase.evaluation]
    metrics:
      - metrics/holdout.json: {cache: false}
"""

# Each writes what it saw: the settings shown to it, and the file of the stage before.
STEP = """
import json, logging

log = logging.getLogger(__name__)

def {name}(settings, workspace):
    seen = settings.model_dump(mode="json")
    log.info("{name} %s at %s", json.dumps(seen), workspace.profile.mlflow.tracking_uri)
    text = json.dumps(seen) + "".join(workspace.read(path).read_text() for path in {inputs})
    for path in {outputs}:
        workspace.write(path).write_text(json.dumps({{"size": len(text)}}) if path.endswith(".json") else text)
"""
STEPS = {
    "stages/ingest.py": ([], ["data/raw.txt"]),
    "stages/assemble.py": (["data/raw.txt"], ["data/training_set.txt"]),
    "stages/train.py": (["data/training_set.txt"], ["models/model.txt", "metrics/validation.json"]),
    "stages/evaluate.py": (["models/model.txt"], ["metrics/holdout.json"]),
    "operations/summary.py": ([], []),
}


@dataclass(frozen=True)
class Project:
    """A checkout, and the commands one types in it."""

    folder: Path

    def sh(self, command: str, code: int = 0, **variables: str) -> str:
        """What the command prints; `code` 0 or 1 says whether it must work."""
        bin_folder = Path(sys.executable).parent
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        identity = {
            f"GIT_{who}_{what}": "test@dovetail.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        site_cache = str(self.folder.parent / "site-cache")
        own = {"PATH": path, "PYTHONPATH": "src", "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": site_cache}
        inherited = {
            key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "PROFILE", "HYDRA_"))
        }
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            capture_output=True,
            text=True,
            env=inherited | identity | own | variables,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) == bool(code), f"{command}\n{said}"
        return said

    def repro(self, arguments: str = "", **variables: str) -> list[str]:
        """The stages that `dvc repro` ran."""
        return ran(self.sh(f"dvc repro {arguments}", **variables))

    def step(self, arguments: str, code: int = 0, **variables: str) -> str:
        """What `python -m dovetail ...` prints."""
        return self.sh(f"python -m dovetail {arguments}", code, **variables)

    def put(self, file: str, key: str, value: str) -> None:
        """Changes the value of a key where a file of conf/ has it."""
        path = self.folder / file
        text, n_found = re.subn(rf"^(\s*(?:- )?{key}:) \S+", rf"\1 {value}", path.read_text(), flags=re.MULTILINE)
        assert n_found == 1, f"{key} is {n_found} times in {file}"
        path.write_text(text)

    def replace(self, file: str, old: str, new: str) -> None:
        """Changes a text that a file has."""
        path = self.folder / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def commit(self) -> None:
        """Commits all."""
        self.sh("git add -A && git commit -qm more")

    @property
    def changes(self) -> str:
        """What differs from the last commit; empty when nothing does."""
        return self.sh("git status --short")


def ran(said: str) -> list[str]:
    """The stages that DVC says it ran."""
    return re.findall(r"Running stage '([\w@]+)'", said)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project: made, run once, committed."""
    folder = tmp_path_factory.mktemp("origin") / "project"
    own = ["conf", "src/dovetail/settings", "src/dovetail/__init__.py", "src/dovetail/__main__.py"]
    for name in [
        *own,
        "src/dovetail/errors.py",
        "src/dovetail/files.py",
        ".dvc/config",
        ".dvc/.gitignore",
        ".dvcignore",
    ]:
        source, target = REPOSITORY / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, target)
    for name, (inputs, outputs) in STEPS.items():
        path = folder / "src/dovetail" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(STEP.format(name=path.stem, inputs=inputs, outputs=outputs))
    bikes = (folder / "conf/usecase/flights.yaml").read_text().replace("name: flights", "name: bikes")
    (folder / "conf/usecase/bikes.yaml").write_text(bikes)
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / ".gitignore").write_text("__pycache__/\n/.runs/\n")
    project = Project(folder)
    project.sh("git init -q")
    project.step("params")
    assert project.repro() == STAGES, "the first run runs all"
    project.commit()
    return project


@pytest.fixture
def project(origin: Project, tmp_path: Path) -> Iterator[Project]:
    """A copy of the project, for one test."""
    shutil.copytree(origin.folder, tmp_path / "project", symlinks=True)
    yield Project(tmp_path / "project")
    shutil.rmtree(tmp_path / "project")


def test_an_edit_in_conf_reruns_exactly_its_users(project: Project) -> None:
    """After an edit in conf/, plain `dvc repro` runs the stages that use the value, and nothing when there was none."""
    said = project.sh("dvc repro")
    assert ran(said) == []
    assert "up to date" in said
    project.put("conf/model/hist_gradient_boosting.yaml", "max_iter", "7")
    assert project.repro() == ["config", "train", "evaluate"]
    project.put("conf/pipeline.yaml", "seed", "7")
    assert project.repro() == ["config", "assemble", "train", "evaluate"], "the model's seed interpolates this one"
    project.put("conf/model/logistic.yaml", "C", "2.0")
    assert project.repro() == ["config"], "the option is not selected"


def test_a_profile_reruns_nothing(project: Project) -> None:
    """A profile that is edited or switched reruns nothing, and a step uses it."""
    (project.folder / "conf/profile/local.yaml").open("a").write("# a comment\n")
    assert project.repro() == []
    assert "up to date" in project.sh("dvc status")
    assert project.repro(**SERVER) == []
    assert "http://mlflow.test" in project.step("train", **SERVER)
    assert "http://mlflow.test" in project.step("train profile=server", **(SERVER | {"PROFILE": "local"}))


def test_a_variable_that_is_missing_is_named_with_its_key(project: Project) -> None:
    """A profile whose variables are not set stops the step, and all of them are named."""
    said = project.step("train profile=server", 1)
    assert said == textwrap.dedent("""\
        SettingsError: 3 settings are wrong
          - profile.connections.operational: Environment variable 'OPERATIONAL_DATABASE_URL' not found  [conf/profile/server.yaml]
          - profile.mlflow.tracking_uri: Environment variable 'MLFLOW_TRACKING_URI' not found  [conf/profile/server.yaml]
          - profile.predictions: Environment variable 'PREDICTIONS_FOLDER' not found  [conf/profile/server.yaml]
          in conf/, or in an override of it.
          Set what is missing (export NAME=...), or choose:  profile=local
        """)  # noqa: E501 - the message is matched whole


def test_another_use_case_and_back_comes_from_the_cache(project: Project) -> None:
    """Another use case runs all; going back restores every output, and leaves no trace in git."""
    project.put("conf/pipeline.yaml", "usecase", "bikes")
    assert project.repro() == STAGES
    project.put("conf/pipeline.yaml", "usecase", "flights")
    assert project.repro() == ["config"]
    assert "up to date" in project.sh("dvc status")
    assert project.changes == ""


def test_an_experiment_with_a_value(project: Project) -> None:
    """`dvc exp run -S` with a value runs its users; `dvc repro` keeps it and a direct run sees it."""
    said = project.sh("dvc exp run -S model.max_iter=8")
    assert ran(said) == ["config", "train", "evaluate"]
    assert "params.yaml = conf/ model.max_iter=8\n" in said
    assert project.repro() == []
    assert '"max_iter": 8' in project.step("train")
    assert "max_iter: 8" in project.step("train --cfg job")


def test_an_experiment_with_another_option(project: Project) -> None:
    """An experiment's option, value and interpolated value reach every command, a direct run's overrides on top."""
    said = project.sh("dvc exp run -S model=logistic -S model.C=0.3 -S seed=1")
    assert "params.yaml = conf/ model=logistic seed=1 model.C=0.3\n" in said
    said = project.step("summary")
    assert '"C": 0.3' in said
    assert '"seed": 1' in said
    said = project.step("train model.C=9")
    assert '"C": 9.0' in said
    assert '"seed": 1' in said
    assert "hist_gradient_boosting" in project.step("train model=hist_gradient_boosting")
    said = project.step("train -m model=baseline,logistic seed=1,2")
    assert said.count("train {") == 4
    assert project.repro() == [], "direct runs leave DVC's outputs alone"
    assert not [name for name in ("outputs", "multirun") if (project.folder / name).exists()]
    project.sh("dvc exp run")
    assert project.changes == "", "without -S, it returns to conf/"


def test_an_edit_in_conf_ends_an_experiment_and_says_so(project: Project) -> None:
    """The experiment's values that an edit in conf/ drops are printed."""
    project.put("conf/model/hist_gradient_boosting.yaml", "max_iter", "6")
    project.repro()
    project.sh("dvc exp run -S model.max_iter=11")
    project.put("conf/model/hist_gradient_boosting.yaml", "max_leaf_nodes", "51")
    said = project.sh("dvc repro")
    assert "model.max_iter: 11 -> 6" in said
    assert re.search(r"model\.max_leaf_nodes: \d+ -> 51", said)


def test_an_experiment_in_a_temporary_copy(project: Project) -> None:
    """`dvc exp run --temp` composes and runs in DVC's copy, with the copy's code, and leaves the workspace alone."""
    said = project.sh("dvc exp run --temp -S model=logistic -S usecase=bikes")
    assert "params.yaml = conf/ usecase=bikes model=logistic\n" in said
    assert '"name": "bikes"' in said
    assert f"sqlite:///{project.folder}/mlflow.db" in said, "the database is the original checkout's"
    assert project.changes == ""


def test_a_queued_grid(project: Project) -> None:
    """A grid of queued experiments runs, every one of them."""
    said = project.sh("dvc exp run --queue -S model=baseline,logistic -S usecase.evaluation.n_bootstrap=10,20")
    assert said.count("Queued") == 4
    project.sh("dvc exp run --run-all")
    assert project.sh("dvc queue status").count("Success") == 4


def test_an_experiment_is_adopted(project: Project) -> None:
    """`adopt` writes the experiment where its values live in conf/, changes no other line, and nothing reruns."""
    project.sh("dvc exp run -S model=logistic -S model.C=0.5 -S usecase.evaluation.n_bootstrap=25")
    project.step("adopt")
    assert project.repro() == ["config"]
    added = re.findall(r"^\+(?!\+\+)(.*)$", project.sh("git diff -U0 conf"), flags=re.MULTILINE)
    assert added == ["C: 0.5", "  - model: logistic", "  n_bootstrap: 25"]


def test_adopting_never_undoes_an_edit(project: Project) -> None:
    """After an edit in conf/, `adopt` refuses: the experiment's values would undo it."""
    project.sh("dvc exp run -S model.max_iter=8")
    project.put("conf/pipeline.yaml", "seed", "7")
    assert "SettingsError: conf/ was edited after the experiment ran" in project.step("adopt", 1)
    assert "seed: 7" in (project.folder / "conf/pipeline.yaml").read_text()


def test_a_hand_edit_of_params_is_refused(project: Project) -> None:
    """An edit of params.yaml stops `dvc repro`, also of one stage, and `params` restores the file."""
    project.put("params.yaml", "  max_iter", "5000")
    said = project.sh("dvc repro", 1)
    assert re.search(r"SettingsError: params\.yaml was edited, .*\n  model\.max_iter: \d+ -> 5000\n", said)
    assert "params.yaml is not up to date with conf/" in project.sh("dvc repro -s train", 1)
    project.step("params")
    project.repro()
    assert project.changes == ""


def test_a_stage_alone_refuses_an_old_params(project: Project) -> None:
    """With conf/ edited, `dvc repro -s` of a later stage is refused, while a direct run sees the edit already."""
    project.put("conf/model/hist_gradient_boosting.yaml", "max_iter", "60")
    assert "params.yaml is not up to date with conf/" in project.sh("dvc repro -s -f train", 1)
    assert '"max_iter": 60' in project.step("train")


def test_a_wrong_setting_stops_at_the_door(project: Project) -> None:
    """A typo in a file and a wrong type in an override stop DVC with the key, the file and the right name."""
    project.replace("conf/model/hist_gradient_boosting.yaml", "max_iter:", "max_itr:")
    said = project.sh("dvc repro", 1)
    assert "model.max_itr: unknown key; did you mean 'max_iter'?  [conf/model/hist_gradient_boosting.yaml]" in said
    assert "model.max_iter: missing  [conf/model/hist_gradient_boosting.yaml]" in said
    project.sh("git checkout -q .")
    said = project.sh("dvc exp run -S model=logistic -S model.C=high", 1)
    assert "model.C: Input should be a valid number (got 'high')  [conf/model/logistic.yaml]" in said


def test_a_wrong_override_is_refused(project: Project) -> None:
    """A typo in an override stops `dvc exp run` and every step, and Hydra's own advice is kept."""
    assert "Could not override 'model.CC'" in project.sh("dvc exp run -S model.CC=1", 1)
    assert "Available options in 'model'" in project.sh("dvc exp run -S model=logstic", 1)
    said = project.step("train model.CC=1", 1)
    assert said.startswith("SettingsError: Could not override 'model.CC'.\n")
    assert "Key 'CC' is not in struct" in said
    said = project.step("train model=logstic", 1)
    assert "Available options in 'model':\n  baseline\n  hist_gradient_boosting\n  logistic\n" in said


def test_a_stage_cannot_read_what_it_does_not_declare(project: Project) -> None:
    """A stage that reads a key which dvc.yaml does not list for it fails, and says where to list it."""
    project.replace("src/dovetail/stages/train.py", "settings.model_dump", "settings.seed and settings.model_dump")
    said = project.sh("dvc repro", 1)
    assert (
        "SettingsError: the settings key 'seed' is hidden from this stage\n  because dvc.yaml does not list it" in said
    )
    assert "Traceback" not in said


def test_a_path_made_of_a_setting_stops_once(project: Project) -> None:
    """When dvc.yaml interpolates a value that has just changed, the run stops, and the next one is right."""
    own = "      - src/dovetail/stages/ingest.py"
    project.replace("dvc.yaml", own, own + "\n      - conf/usecase/${usecase.name}.yaml")
    project.repro()
    project.put("conf/pipeline.yaml", "usecase", "bikes")
    said = project.sh("dvc repro", 1)
    assert "usecase.name: flights -> bikes" in said
    assert "run it once more:  dvc repro" in said
    assert project.repro()[:1] == ["config"]


def test_the_code_of_another_checkout_is_refused(project: Project, origin: Project) -> None:
    """A command that imports dovetail from another checkout than it stands in stops."""
    said = project.step("train", 1, PYTHONPATH=str(origin.folder / "src"))
    assert said.startswith("SettingsError: dovetail was imported from another checkout\n")
    assert "PYTHONPATH=src" in said


def test_a_steps_own_errors_come_as_they_are(project: Project) -> None:
    """What a step raises itself keeps its traceback, also when it looks like an error in the settings."""
    project.replace("src/dovetail/operations/summary.py", "import json", "import json, yaml")
    project.replace("src/dovetail/operations/summary.py", "    seen =", "    yaml.safe_load('a: [')\n    seen =")
    said = project.step("summary", 1)
    assert said.startswith("Traceback")
    assert "yaml.parser.ParserError" in said
    assert "SettingsError" not in said


def test_an_interrupted_step_says_nothing(project: Project) -> None:
    """Ctrl-C ends a step with exit code 130, without a traceback."""
    # A shell starts what runs in its background with Ctrl-C ignored, tests too.
    heard = "    import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    interrupt = heard + "    signal.raise_signal(signal.SIGINT)\n    seen ="
    project.replace("src/dovetail/operations/summary.py", "    seen =", interrupt)
    assert project.sh("python -m dovetail summary; echo exit code $?") == "exit code 130\n"


def test_a_step_below_the_root_leaves_nothing_there(project: Project) -> None:
    """Started in a folder of the checkout, a step works in its root: its records are no input of a stage."""
    assert '"max_iter"' in project.sh(
        "cd conf/model && python -m dovetail train", PYTHONPATH=str(project.folder / "src")
    )
    assert (project.folder / ".runs/train").is_dir()
    assert project.changes == ""
