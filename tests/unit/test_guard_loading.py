"""Nothing loads a model, or anything else that runs code when it is loaded, but the one module that may."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path for name in ("src", "scripts", "feature_repo", "benchmarks") for path in (ROOT / name).rglob("*.py")
)
# Dotted names that load what may run code, wherever they come from.
LOADERS = re.compile(
    r"(pickle|_pickle|cPickle|cloudpickle|dill|joblib|marshal|shelve)(\..*)?"
    r"|mlflow(\..*)?\.(load_model|load_checkpoint|_load_pyfunc|_load_model_from_local_file|load_context)"
    r"|skops(\..*)?\.(load|loads|get_tree)"
    r"|(pandas|pd)\.read_pickle|torch\.load|yaml\.(unsafe|full)_load(_all)?"
)
# What brings a file of the artifact store here.
DOWNLOADS = re.compile(r"mlflow(\..*)?\.(download_artifacts|load_dict|load_text|load_table|load_image)")
ALLOWED = {
    LOADERS: {
        "src/dovetail/tools/model_files.py": {"skops.io.load"},
        # What a team writes first: its own model, and no registry.
        "benchmarks/plain_script.py": {"joblib", "joblib.dump", "joblib.load"},
    },
    DOWNLOADS: {
        # Reads back what it has just logged, for its digests.
        "src/dovetail/tools/experiments.py": {"mlflow.artifacts.download_artifacts"},
        # For digests and documents; it hands out no model.
        "src/dovetail/tools/mlflow_records.py": {"mlflow.artifacts.download_artifacts"},
        "src/dovetail/tools/model_registry.py": {"mlflow.artifacts.download_artifacts"},
    },
}


def names_in(source: str) -> Iterator[str]:
    """Every dotted name that a module imports or uses, by its full name: aliases are followed, clients too."""
    tree = ast.parse(source)
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                known[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            # A method of MLflow's client is MLflow's, whatever the variable is called.
            is_client = node.attr == "download_artifacts" and first not in known
            yield f"mlflow.MlflowClient.{node.attr}" if is_client else f"{known.get(first, first)}.{rest}"


def found(pattern: re.Pattern[str], source: str) -> set[str]:
    """The names of a module that match."""
    return {name for name in names_in(source) if pattern.fullmatch(name)}


@pytest.mark.parametrize("pattern", ALLOWED, ids=["loaders", "downloads"])
def test_only_one_module_loads(pattern: re.Pattern[str]) -> None:
    """What loads a model is called in `model_files`, what fetches one where its digests are made or checked."""
    calls = {str(path.relative_to(ROOT)): found(pattern, path.read_text()) for path in SOURCES}
    assert {path: names for path, names in calls.items() if names} == ALLOWED[pattern]


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import joblib as store\nstore.load(path)",
        "import mlflow\nmlflow.pyfunc.load_model(uri)",
        "import mlflow.sklearn as models\nmodels.load_model(uri)",
        "from mlflow import sklearn\nsklearn.load_model(uri)",
        "from mlflow.pyfunc import load_model",
        "from skops import io\nio.load(path)",
        "import pandas as pd\npd.read_pickle(path)",
        "import yaml\nyaml.unsafe_load(text)",
    ],
)
def test_the_guard_sees_what_is_planted(planted: str) -> None:
    """Each way to call a loader is found, under whatever name it was imported."""
    assert found(LOADERS, planted)


def test_the_guard_sees_a_client_that_downloads() -> None:
    """Also through a variable."""
    assert found(DOWNLOADS, "def f(client):\n    return client.download_artifacts('run', 'model')")
    assert not found(LOADERS, "from dovetail.tools import model_files\nmodel_files.load_model(path)")
