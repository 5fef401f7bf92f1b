"""Models as files, with the real skops."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from dovetail.errors import ModelUnavailableError
from dovetail.tools.model_files import load_model, save_model

X, Y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 0, 1, 1])


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    """It predicts the same, and the file holds no pickle."""
    model = LogisticRegression().fit(X, Y)
    save_model(model, tmp_path / "model.skops")
    assert (load_model(tmp_path / "model.skops").predict_proba(X) == model.predict_proba(X)).all()
    names = zipfile.ZipFile(tmp_path / "model.skops").namelist()
    assert not [name for name in names if name.endswith((".pkl", ".pickle"))]


def test_a_type_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    """Neither written nor, where somebody else wrote it, left behind."""
    with pytest.raises(ModelUnavailableError, match=r"types that are not trusted: sklearn\.tree\._tree\.Tree"):
        save_model(RandomForestClassifier(n_estimators=2).fit(X, Y), tmp_path / "model.skops")
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    """A file that would run code when unpickled runs none."""

    class Canary:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "canary",))

    (tmp_path / "model.skops").write_bytes(pickle.dumps(Canary()))
    with pytest.raises(ModelUnavailableError, match=r"model\.skops cannot be read"):
        load_model(tmp_path / "model.skops")
    assert not (tmp_path / "canary").exists()


def test_a_truncated_file_says_how_to_restore_it(tmp_path: Path) -> None:
    """The message ends with the commands."""
    path = tmp_path / "model.skops"
    save_model(LogisticRegression().fit(X, Y), path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ModelUnavailableError) as caught:
        load_model(path)
    assert str(caught.value).endswith("Restore it:  dvc checkout --force  or make it again:  dvc repro --force train")
