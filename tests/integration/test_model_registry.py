"""Versions and aliases in a real MLflow registry."""

from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from tests.integration.test_experiments import record

from dovetail.errors import ModelUnavailableError, NoChampionError
from dovetail.files import sha256
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, model_files, model_registry

TAGS = {"git.commit": "c0ffee"}


def registered(tracking: MLflow, tmp_path: Path) -> tuple[experiments.MlflowClient, model_registry.ModelVersion]:
    client, logged = record(tracking)
    digest = sha256(model_registry.fetch(logged.model_uri, tmp_path / "read_back"))
    tags = {**TAGS, "dovetail.model_sha256": digest}
    place = {"run_id": logged.run_id, "model_id": logged.model_id, "model_uri": logged.model_uri}
    version = model_registry.register(client, "flights", **place, tags=tags)
    again = model_registry.register(client, "flights", **place, tags=tags)
    assert (again.version, again.run_id) == (version.version, version.run_id)
    return client, version


def test_the_same_run_gives_the_same_version(tracking: MLflow, tmp_path: Path) -> None:
    """Registering twice makes one version, the challenger, with the tags that say where it came from."""
    client, version = registered(tracking, tmp_path)
    found = model_registry.with_alias(client, "flights", "challenger")
    assert (found.version, found.run_id) == (1, version.run_id)
    assert found.tags["git.commit"] == "c0ffee"


def test_no_champion_lists_the_aliases_there_are(tracking: MLflow, tmp_path: Path) -> None:
    """The message says what to type, for an empty registry too."""
    client, _ = registered(tracking, tmp_path)
    with pytest.raises(NoChampionError) as caught:
        model_registry.with_alias(client, "flights", "champion")
    assert str(caught.value) == (
        "no version of model 'flights' has the alias 'champion'\n"
        "  in the model registry (1 versions; aliases: challenger -> 1).\n"
        "  Promote one first:  python -m dovetail promote"
    )
    with pytest.raises(NoChampionError, match=r"0 versions; aliases: none"):
        model_registry.with_alias(client, "hotels", "champion")


def test_a_model_is_loaded_only_if_it_is_the_one_registered(tracking: MLflow, tmp_path: Path) -> None:
    """A file that was changed in the artifact store is refused before it is opened."""
    _, version = registered(tracking, tmp_path)
    with model_registry.model_file(version) as path:
        assert model_files.load_model(path).predict_proba([[5.0, 0.0]]).shape == (1, 2)
    (stored,) = (tmp_path / "mlartifacts").rglob("model.skops")
    model_files.save_model(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), stored)
    with (
        pytest.raises(ModelUnavailableError, match="is not the one that was registered"),
        model_registry.model_file(version),
    ):
        pass
    stored.unlink()
    with (
        pytest.raises(ModelUnavailableError, match=r"(?s)model\.skops is gone.*python -m dovetail mend$"),
        model_registry.model_file(version),
    ):
        pass


def test_a_note_is_read_where_the_version_is(tracking: MLflow, tmp_path: Path) -> None:
    """The description and tags are MLflow's own, so its UI shows them."""
    client, version = registered(tracking, tmp_path)
    model_registry.annotate(client, version, description="**Promoted**", tags={"dovetail.gate": "passed"})
    shown = client.get_model_version("flights", "1")
    assert (shown.description, shown.tags["dovetail.gate"]) == ("**Promoted**", "passed")
    assert model_registry.find_version(client, "flights", 1) is not None
    assert model_registry.find_version(client, "flights", 2) is None
