"""Where a step stands, reads and writes, and what dvc.yaml and dvc.lock say of it."""

from pathlib import Path

import pytest

from dovetail.errors import WorkspaceError
from dovetail.settings import dvc_files
from dovetail.settings.schema import Profile
from dovetail.settings.workspace import Workspace, find_home, find_root


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with git, DVC and a folder in it, where the user stands."""
    for folder in (".git", ".dvc", "conf/profile", "conf/model", "deep/down"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path / "deep/down")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return tmp_path


def test_the_root_is_found_from_a_folder_below(checkout: Path) -> None:
    """A step may be started anywhere in the checkout."""
    assert find_root() == checkout


@pytest.mark.parametrize(
    ("missing", "what", "todo"),
    [
        ("dvc.yaml", "no dvc.yaml here or in any folder above", "git init && dvc init"),
        (".git", "no git repository", "git init && dvc init"),
        (".dvc", "DVC is not set up", "dvc init"),
    ],
)
def test_what_is_missing_around_a_step_is_said(checkout: Path, missing: str, what: str, todo: str) -> None:
    """Without dvc.yaml, git or DVC the error says what to type."""
    path = checkout / missing
    path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(WorkspaceError) as caught:
        find_root()
    assert caught.value.what == what
    assert caught.value.todo.endswith(todo)


def test_home_is_the_original_of_a_temporary_copy(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Databases stay in the original checkout while DVC runs an experiment in a copy of it."""
    assert find_home(checkout) == checkout
    monkeypatch.setenv("DVC_ROOT", "/original")
    assert find_home(checkout) == Path("/original")


def test_a_step_by_hand_reads_dvcs_files_and_writes_beside_its_records(tmp_path: Path) -> None:
    """By hand, an output goes to the run's own folder, which is made, and never over DVC's."""
    profile = Profile.model_construct(name="local")
    workspace = Workspace(tmp_path, tmp_path, tmp_path / ".runs/train/1", profile, is_stage=False)
    assert workspace.read("data/raw/x.parquet") == tmp_path / "data/raw/x.parquet"
    assert workspace.write("data/raw/x.parquet") == tmp_path / ".runs/train/1/data/raw/x.parquet"
    assert (tmp_path / ".runs/train/1/data/raw").is_dir()
    assert not (tmp_path / "data").exists()


def test_a_folders_hash_is_dvcs(checkout: Path) -> None:
    """The hash is the one that `dvc add` gave the same folder, and what is skipped does not count."""
    (checkout / "conf/pipeline.yaml").write_text("seed: 1\n")
    (checkout / "conf/model/a.yaml").write_text("name: a\n")
    (checkout / "conf/config.yaml").write_text("anything\n")
    (checkout / "conf/profile/local.yaml").write_text("anything\n")
    assert dvc_files.dvc_hash(checkout / "conf", dvc_files.INFRA) == "09c4fa5c08d65b35ad12ec22f725acb6.dir"
    assert dvc_files.dvc_hash(checkout / "nothing") is None


def test_the_keys_of_a_stage_are_read_from_dvc_yaml(checkout: Path) -> None:
    """A stage sees the keys it lists, one without params sees none, and what is no stage sees all."""
    (checkout / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: x\n    params: [model, usecase.name, other.yaml: [a]]\n  plain:\n    cmd: x\n"
    )
    assert dvc_files.declared_keys(checkout, "train") == ["model", "usecase.name"]
    assert dvc_files.declared_keys(checkout, "plain") == []
    assert dvc_files.declared_keys(checkout, "promote") is None


def test_interpolated_values_are_those_that_dvc_yaml_uses(checkout: Path) -> None:
    """Values come as they are, mappings as the names of the stages they make, all else as None."""
    (checkout / "dvc.yaml").write_text("a: ${run} ${usecase.name}\nb: ${models}\n")
    params = {"usecase": {"name": "flights", "until": "x"}, "models": {"tree": 1, "line": 2}}
    found = dvc_files.interpolated_values(checkout, params)
    assert found == {"run": None, "usecase.name": "flights", "models": ["tree", "line"]}


@pytest.mark.parametrize("lock", ["", "schema: '2.0'\n", "stages: {}\n"])
def test_an_empty_lock_records_nothing(checkout: Path, lock: str) -> None:
    """With nothing recorded, params.yaml is not what was recorded."""
    (checkout / "dvc.lock").write_text(lock)
    (checkout / "params.yaml").write_text("seed: 1\n")
    assert not dvc_files.is_params_as_recorded(checkout)
    assert not dvc_files.is_conf_as_recorded(checkout)
