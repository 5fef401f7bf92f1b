"""What a stage reads is what another stage made, by the hashes in dvc.lock."""

from pathlib import Path

import pytest
import yaml

from dovetail.errors import WorkspaceError
from dovetail.settings.dvc_files import dvc_hash, made_inputs, require_as_made

PIPELINE = {
    "ingest": {"deps": ["conf"], "outs": ["raw"]},
    "train": {
        "deps": ["code.py", "raw", "scores.json"],
        "outs": [{"model": {"persist": True}}],
        "metrics": [{"metrics.json": {"cache": False}}],
    },
    "score": {"deps": ["model", "metrics.json"], "outs": ["scores.json"]},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout whose pipeline has run: a folder of two files, a model, scores that were never recorded."""
    (tmp_path / "raw").mkdir()
    for name in ("raw/a.parquet", "raw/b.parquet", "model", "scores.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": PIPELINE}))
    made = {"ingest": "raw", "train": "model"}
    outs = {stage: [{"path": path, "md5": dvc_hash(tmp_path / path)}] for stage, path in made.items()}
    lock = {"stages": {stage: {"cmd": "x", "deps": [], "outs": out} for stage, out in outs.items()}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    return tmp_path


def refusal(root: Path, *paths: str) -> str:
    """What is said about the paths."""
    with pytest.raises(WorkspaceError) as caught:
        require_as_made(root, paths)
    return str(caught.value)


@pytest.mark.parametrize(
    ("stage", "inputs"),
    [("ingest", []), ("train", ["raw", "scores.json"]), ("score", ["model", "metrics.json"]), ("promote", [])],
)
def test_the_inputs_that_others_made_are_those_of_dvc_yaml(root: Path, stage: str, inputs: list[str]) -> None:
    """Folders, outputs with options and metrics count; code and what no stage makes do not."""
    assert made_inputs(root, stage) == inputs


def test_what_was_made_is_accepted(root: Path) -> None:
    """Files and folders, byte for byte."""
    require_as_made(root, ["raw", "model"])


def test_all_that_differs_is_named_with_both_hashes(root: Path) -> None:
    """A byte more in a file of a folder, and in a file."""
    before = {path: dvc_hash(root / path) for path in ("raw", "model")}
    for name in ("raw/b.parquet", "model"):
        (root / name).write_text("altered")
    assert refusal(root, "raw", "model") == (
        "data is not what the pipeline made\n"
        f"  - raw is {dvc_hash(root / 'raw')}, ingest made {before['raw']}\n"
        f"  - model is {dvc_hash(root / 'model')}, train made {before['model']}\n"
        f"  in {root}, by the hashes in dvc.lock; nothing was computed from it.\n"
        '  Let DVC check its cache and mend what is damaged:  chmod -R u+w "$(dvc cache dir)" && dvc repro'
    )


def test_what_is_missing_or_was_never_recorded_is_to_be_made(root: Path) -> None:
    """Unknown is not fine."""
    (root / "model").unlink()
    said = refusal(root, "model", "scores.json", "metrics.json")
    assert "  - model is not there, train made " in said
    assert f"  - scores.json is {dvc_hash(root / 'scores.json')}, score made nothing yet\n" in said
    assert "  - metrics.json is not there, train made nothing yet\n" in said
    assert said.endswith("Make it:  dvc repro")
