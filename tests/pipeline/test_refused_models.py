"""`score` before a champion whose folder in the artifact store somebody wrote to."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import skops.io
from sklearn.tree import DecisionTreeClassifier
from tests.pipeline.test_operations import predictions

pytestmark = pytest.mark.slow

RESEAL = """
import json, sys
from pathlib import Path
from dovetail.contracts.model_folders import digests
(mlmodel,) = Path('mlartifacts/models').rglob('MLmodel')
client.set_model_version_tag('flights', '1', 'sealed.model_files', json.dumps(digests(mlmodel.parent)))
"""


def flip(folder: Path) -> None:
    """One bit of the model."""
    content = bytearray((folder / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.skops").write_bytes(content)


def hostile(folder: Path) -> None:
    """A loader in `code/` that leaves a file when it is imported."""
    (folder / "code").mkdir()
    (folder / "code/hostile.py").write_text("open('canary', 'w')\n")
    text = (folder / "MLmodel").read_text().replace("loader_module: mlflow.sklearn", "loader_module: hostile")
    (folder / "MLmodel").write_text(text.replace("model_path: model.skops", "code: code"))


def forbidden(folder: Path) -> None:
    """A model that holds a type which is not on our list."""
    skops.io.dump(DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1]), folder / "model.skops")


# What is done to the folder, whether the manifest is made to fit, and what `score` names.
TAMPERED: list[tuple[Callable[[Path], object], bool, list[str]]] = [
    (flip, False, ["model.skops was changed"]),
    (lambda folder: (folder / "extra.py").write_text("open('canary', 'w')"), False, ["extra.py was added"]),
    (lambda folder: (folder / "conda.yaml").unlink(), False, ["conda.yaml is missing"]),
    (hostile, False, ["MLmodel was changed", "code was added", "code/hostile.py was added"]),
    (hostile, True, ["code is a folder", "code/hostile.py is not a file that a model consists of"]),
    (forbidden, True, ["holds types that are not trusted: sklearn.tree._tree.Tree"]),
]


def test_score_refuses_a_tampered_champion(in_production) -> None:
    """Each way to change its folder is named; nothing is predicted, no code of the folder runs; untouched, it scores.

    One test for all: each needs the same champion, and none changes more than the folder.
    """
    project = in_production
    (mlmodel,) = (project.folder / "mlartifacts/models").rglob("MLmodel")
    folder, copy = mlmodel.parent, project.folder / ".runs/copy"
    shutil.copytree(folder, copy)
    sealed = project.read("models/run.json")["files"]
    for tamper, is_resealed, named in TAMPERED:
        tamper(folder)
        if is_resealed:
            project.with_mlflow(RESEAL)
        # A manifest that was made to fit is another model to the journal, which refuses it first.
        said = project.step(f"score usecase.scoring.ungated={'warn' if is_resealed else 'refuse'}", 1)
        assert [text for text in ("ModelUnavailableError", *named) if text not in said] == []
        assert "Traceback" not in said
        assert not (project.folder / "canary").exists()
        shutil.rmtree(folder)
        shutil.copytree(copy, folder)
    assert predictions(project) == []
    tag = f"client.set_model_version_tag('flights', '1', 'sealed.model_files', {json.dumps(sealed)!r})"
    project.with_mlflow(tag)
    project.step("score")
    assert len(predictions(project)) == 1
