"""Versions and aliases in a real MLflow registry."""

from pathlib import Path

import pytest
from tests.integration.test_experiments import record

from dovetail.contracts.model_folders import to_tag
from dovetail.errors import ModelUnavailableError
from dovetail.lineage import EVIDENCE, MODEL_FILES
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, model_files, model_registry

TAGS = {"git.commit": "c0ffee"}


def registered(tracking: MLflow) -> tuple[experiments.MlflowClient, model_registry.ModelVersion]:
    """A version of a real run's model, registered twice."""
    client, logged = record(tracking)
    evidence = model_registry.seal_evidence(logged.run_id, ["settings.yaml"])
    tags = {**TAGS, MODEL_FILES: to_tag(logged.files), EVIDENCE: to_tag(evidence)}
    place = {"run_id": logged.run_id, "model_id": logged.model_id, "model_uri": logged.model_uri}
    version = model_registry.register(client, "flights", **place, tags=tags)
    again = model_registry.register(client, "flights", **place, tags=tags)
    assert (again.version, again.run_id) == (version.version, version.run_id)
    return client, version


def test_the_same_run_gives_the_same_version(tracking: MLflow) -> None:
    """Registering twice makes one version, with the tags that say where it came from; its alias is the journal's."""
    client, version = registered(tracking)
    found = model_registry.get_version(client, "flights", 1)
    assert (found.version, found.run_id) == (1, version.run_id)
    assert model_registry.find_alias(client, "flights", "challenger") is None
    assert found.tags["git.commit"] == "c0ffee"


def test_no_champion_lists_the_aliases_there_are(tracking: MLflow) -> None:
    """The message says what to type, for an empty registry too."""
    client, _ = registered(tracking)
    client.set_registered_model_alias("flights", "challenger", "1")
    assert str(model_registry.without_alias(client, "flights", "champion")) == (
        "no version of model 'flights' has the alias 'champion'\n"
        "  in the model registry (1 versions; aliases: challenger -> 1).\n"
        "  Promote one first:  python -m dovetail promote"
    )
    assert str(model_registry.without_alias(client, "hotels", "champion")) == (
        "no version of model 'hotels' has the alias 'champion'\n"
        "  in the model registry (0 versions; aliases: none).\n"
        "  Make one first:  make run"
    )


def test_an_unknown_version_lists_those_there_are(tracking: MLflow) -> None:
    """Also where nothing is registered."""
    client, _ = registered(tracking)
    with pytest.raises(ModelUnavailableError) as caught:
        model_registry.get_version(client, "flights", 7)
    assert str(caught.value) == (
        "there is no version 7 of model 'flights'\n"
        "  in the model registry (1 versions: 1).\n"
        "  See what happened to which:  python -m dovetail history"
    )
    with pytest.raises(ModelUnavailableError, match=r"\(0 versions\)\.\n  Make one first:  make run"):
        model_registry.get_version(client, "hotels", 1)


def test_the_model_that_was_registered_is_loaded(tracking: MLflow) -> None:
    """It predicts, from a private folder that goes."""
    _, version = registered(tracking)
    with model_registry.model_file(version) as path:
        assert model_files.load_model(path).predict_proba([[5.0, 0.0]]).shape == (1, 2)
    assert not path.parent.exists()


def test_a_newer_evaluation_gives_the_version_newer_tags(tracking: MLflow) -> None:
    """The same run registered again keeps its version, which says what is true now."""
    client, version = registered(tracking)
    run = client.get_run(version.run_id)
    place = {"run_id": run.info.run_id, "model_id": run.outputs.model_outputs[0].model_id, "model_uri": version.source}
    model_registry.register(client, "flights", **place, tags={**version.tags, "git.commit": "badcafe"})
    assert client.get_model_version("flights", "1").tags["git.commit"] == "badcafe"
    assert model_registry.find_version(client, "flights", 2) is None


def test_evidence_is_what_was_sealed_or_refused(tracking: MLflow, tmp_path: Path) -> None:
    """A document of the run that was changed since is refused; one that was not sealed, or is lost, is none."""
    _, version = registered(tracking)
    (tmp_path / "fetched").mkdir()
    path = model_registry.fetch_evidence(version, "settings.yaml", tmp_path / "fetched")
    assert path is not None
    assert path.read_text() == "seed: 42\n"
    assert model_registry.fetch_evidence(version, "pictures/validation_confusion.png", tmp_path / "fetched") is None
    (stored,) = (tmp_path / "mlartifacts").rglob("settings.yaml")
    stored.write_text("seed: 43\n")
    with pytest.raises(ModelUnavailableError, match=r"settings\.yaml of flights version 1 is not what was registered"):
        model_registry.fetch_evidence(version, "settings.yaml", tmp_path / "fetched")
    stored.unlink()
    assert model_registry.fetch_evidence(version, "settings.yaml", tmp_path / "fetched") is None
    with pytest.raises(ModelUnavailableError, match=r"is not complete: it has no settings\.yaml"):
        model_registry.seal_evidence(version.run_id, ["settings.yaml"])


def test_a_note_is_read_where_the_version_is(tracking: MLflow) -> None:
    """The description and tags are MLflow's own, so its UI shows them."""
    client, version = registered(tracking)
    model_registry.annotate(client, version, description="**Promoted**", tags={"dovetail.gate": "passed"})
    shown = client.get_model_version("flights", "1")
    assert (shown.description, shown.tags["dovetail.gate"]) == ("**Promoted**", "passed")
    assert model_registry.find_version(client, "flights", 1) is not None
    assert model_registry.find_version(client, "flights", 2) is None
