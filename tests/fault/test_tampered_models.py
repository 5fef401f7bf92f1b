"""A registered model whose folder in the artifact store somebody wrote to: refused, named, and nothing of it run."""

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow.artifacts
import pytest
import skops.io
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from tests.integration.conftest import mlflow_in
from tests.integration.test_experiments import FRAME
from tests.integration.test_model_registry import registered

from dovetail.contracts.model_folders import FILES, digests, to_tag
from dovetail.errors import ModelUnavailableError
from dovetail.lineage import MODEL_FILES
from dovetail.tools import model_files, model_registry


@dataclass(frozen=True)
class Stored:
    """A registered version and its folder in the artifact store."""

    version: model_registry.ModelVersion
    folder: Path
    canary: Path

    def resealed(self) -> model_registry.ModelVersion:
        """The version as somebody registers it who can write MLflow's database too: the manifest fits the folder."""
        return replace(self.version, tags={**self.version.tags, MODEL_FILES: to_tag(digests(self.folder))})

    def describe(self, flavor: str, **keys: object) -> None:
        """Write keys of a flavor into MLmodel."""
        path = self.folder / "MLmodel"
        described = yaml.safe_load(path.read_text())
        described["flavors"].setdefault(flavor, {}).update(keys)
        path.write_text(yaml.safe_dump(described))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stored]:
    """A real run's model, registered in a real MLflow."""
    folder = tmp_path_factory.mktemp("tampered")
    with mlflow_in(folder) as tracking:
        _, version = registered(tracking)
        (mlmodel,) = (folder / "mlartifacts").rglob("MLmodel")
        shutil.copytree(mlmodel.parent, folder / "copy")
        yield Stored(version, mlmodel.parent, folder / "canary")


@pytest.fixture
def stored(whole: Stored) -> Stored:
    """The version with its folder as it was registered; what another test did to it is gone."""
    shutil.rmtree(whole.folder, ignore_errors=True)
    shutil.copytree(whole.folder.parents[3] / "copy", whole.folder)
    whole.canary.unlink(missing_ok=True)
    return whole


def load(version: model_registry.ModelVersion) -> object:
    """The model, through the one door."""
    with model_registry.model_file(version) as path:
        return model_files.load_model(path)


def refusal(version: model_registry.ModelVersion) -> str:
    """What the door says when it stays shut."""
    with pytest.raises(ModelUnavailableError) as caught:
        load(version)
    return str(caught.value)


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def linked(path: Path) -> None:
    """The same content, behind a link."""
    shutil.move(path, path.parents[1] / path.name)
    path.symlink_to(path.parents[1] / path.name)


def test_a_whole_folder_is_loaded(stored: Stored) -> None:
    """What the tests below refuse is loaded when nobody touched it, also as registered by the same means."""
    assert isinstance(load(stored.version)[-1], LogisticRegression)
    assert isinstance(load(stored.resealed())[-1], LogisticRegression)
    assert set(digests(stored.folder)) == FILES


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flipped_bit_is_named(stored: Stored, name: str) -> None:
    """In whatever file, with both hashes, and a command to go on."""
    flip(stored.folder / name)
    said = refusal(stored.version)
    assert f"flights version 1 is refused, nothing of it was loaded\n  - {name} was changed: SHA-256 " in said
    assert "registered was " in said
    assert said.count("\n  - ") == 1
    assert said.endswith("python -m dovetail rollback reason='…'")


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (lambda folder: (folder / "notes.txt").write_text("hello"), "notes.txt was added"),
        (lambda folder: (folder / "conda.yaml").unlink(), "conda.yaml is missing"),
        (lambda folder: (folder / "model.skops").unlink(), "model.skops is missing"),
        (lambda folder: (folder / "MLmodel").unlink(), "MLmodel is missing"),
        (lambda folder: os.truncate(folder / "model.skops", 100), "model.skops was changed"),
        (lambda folder: (folder / "code").mkdir(), "code was added"),
        (lambda folder: linked(folder / "model.skops"), "model.skops is a symlink"),
        (lambda folder: (folder / "code").symlink_to("/etc"), "code is a symlink"),
        (lambda folder: os.mkfifo(folder / "pipe"), "pipe is a device, socket or pipe"),
    ],
)
def test_what_was_done_to_the_folder_is_named(stored: Stored, tamper: Callable[[Path], None], named: str) -> None:
    """Files that were added, removed, cut short or replaced by a link to the same content."""
    tamper(stored.folder)
    assert f"\n  - {named}" in refusal(stored.version)


def test_all_that_was_done_is_said_at_once(stored: Stored) -> None:
    """One message for everything, so that nobody mends a folder file by file."""
    flip(stored.folder / "MLmodel")
    (stored.folder / "conda.yaml").rename(stored.folder / "conda.yml")
    said = [line for line in refusal(stored.version).splitlines() if line.startswith("  - ")]
    assert [line.split(":")[0] for line in said] == [
        "  - MLmodel was changed",
        "  - conda.yaml is missing",
        "  - conda.yml was added",
    ]


def test_a_folder_that_is_gone_says_where_it_was(stored: Stored) -> None:
    """With the commands that go on."""
    shutil.rmtree(stored.folder)
    said = refusal(stored.version)
    assert "the files of flights version 1 are gone" in said
    assert str(stored.folder) in said
    assert "python -m dovetail mend" in said


def test_a_version_without_a_manifest_is_refused(stored: Stored) -> None:
    """Registered by hand, with MLflow alone: nobody knows whose files they are."""
    for value in ({}, {MODEL_FILES: "no manifest"}, {MODEL_FILES: "[]"}):
        said = refusal(replace(stored.version, tags=value))
        assert "flights version 1 is refused: it has no manifest of its files" in said


def hostile_code(stored: Stored) -> None:
    """A module in `code/` that MLflow would import as the loader."""
    (stored.folder / "code").mkdir()
    (stored.folder / "code/hostile.py").write_text(
        f"from pathlib import Path\nPath({str(stored.canary)!r}).touch()\ndef _load_pyfunc(path): return None\n"
    )
    stored.describe("python_function", loader_module="hostile", code="code")


def model_from_code(stored: Stored) -> None:
    """A script that MLflow would run to make the model."""
    stored.describe("python_function", loader_module="mlflow.pyfunc.model", model_code_path="model.skops")


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def pickled(stored: Stored) -> None:
    """A payload that runs when it is unpickled, and an MLmodel that says so."""
    (stored.folder / "model.skops").write_bytes(pickle.dumps(Canary(stored.canary)))
    stored.describe("sklearn", serialization_format="cloudpickle")


def own_list(stored: Stored) -> None:
    """A list of trusted types that the folder brings along."""
    stored.describe("sklearn", skops_trusted_types=["functools.partial", "os.system"])


def other_flavor(stored: Stored) -> None:
    """A flavor beside ours, which MLflow's other loaders would follow."""
    stored.describe("pytorch", model_data="data")


HOSTILE = [
    (hostile_code, ["code is a folder", "code/hostile.py is not a file that a model consists of"]),
    (
        model_from_code,
        [
            "MLmodel: python_function.model_code_path is 'model.skops', and is not a key that a model needs",
            "MLmodel: python_function.loader_module is 'mlflow.pyfunc.model', only 'mlflow.sklearn' is loaded",
        ],
    ),
    (pickled, ["MLmodel: sklearn.serialization_format is 'cloudpickle', only 'skops' is loaded"]),
    (own_list, ["MLmodel: sklearn.skops_trusted_types has 'os.system', which is not on our list"]),
    (other_flavor, ["MLmodel has the flavor 'pytorch'"]),
]


@pytest.mark.parametrize(("tamper", "reasons"), HOSTILE)
def test_a_hostile_folder_is_refused_though_its_manifest_fits(
    stored: Stored, tamper: Callable[[Stored], None], reasons: list[str]
) -> None:
    """Whoever can write the manifest too meets lists that are ours; no code of his runs."""
    tamper(stored)
    said = [line[4:] for line in refusal(stored.resealed()).splitlines() if line.startswith("  - ")]
    assert said == reasons
    assert not stored.canary.exists()


def test_the_canary_sings_for_mlflow_alone(stored: Stored, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hostile folder is one indeed: MLflow's own loader runs its code."""
    hostile_code(stored)
    with pytest.raises(Exception, match=r".*"):
        mlflow.pyfunc.load_model(str(stored.folder)).predict(FRAME)
    assert stored.canary.exists()


@pytest.mark.parametrize("described", ["", "flavors: [sklearn]", "flavors: {sklearn: {}}", "{", "!!python/object:os.x"])
def test_a_description_that_says_nothing_is_refused(stored: Stored, described: str) -> None:
    """An MLmodel that is empty, no mapping, or no YAML gives a reason and no traceback."""
    (stored.folder / "MLmodel").write_text(described)
    assert "\n  - MLmodel" in refusal(stored.resealed())


def test_a_type_that_is_not_ours_is_refused_though_all_else_fits(stored: Stored) -> None:
    """A skops file with another type, the manifest remade and the folder's own list silent: our list decides."""
    forest = RandomForestClassifier(n_estimators=2).fit(FRAME, [0, 0, 1, 1])
    skops.io.dump(forest, stored.folder / "model.skops")
    said = refusal(stored.resealed())
    assert "model.skops holds types that are not trusted: sklearn.tree._tree.Tree" in said
    assert "src/dovetail/contracts/model_folders.py" in said


def test_a_pickle_in_place_of_the_model_is_not_read(stored: Stored) -> None:
    """Manifest and description fit, the content is a pickle: its code does not run."""
    (stored.folder / "model.skops").write_bytes(pickle.dumps(Canary(stored.canary)))
    assert "model.skops cannot be read" in refusal(stored.resealed())
    assert not stored.canary.exists()
