"""The lineage record."""

from dataclasses import replace

import pytest

from dovetail.lineage import Lineage, ModelReference, fingerprint, without_texts

LINEAGE = Lineage(
    git_commit="c0ffee",
    git_dirty=True,
    input_hashes={"data/training_set/train.parquet": "aa", "data/raw": "bb.dir"},
    feature_service="flights",
    definition_hash="dd",
    settings_hash="ee",
    environment_hash="ff",
    trained_until="2013-08-01T00:00:00+00:00",
)


def test_the_order_of_keys_changes_no_fingerprint() -> None:
    """A fingerprint names content, not the way it was written down."""
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_another_input_is_another_data_version() -> None:
    """The data version changes with any input's hash, and with nothing else."""
    assert replace(LINEAGE, git_commit="other").data_version == LINEAGE.data_version
    assert replace(LINEAGE, input_hashes={"data/raw": "bb.dir"}).data_version != LINEAGE.data_version


def test_every_fact_is_a_tag() -> None:
    """Tags are prefixed by the tool that owns the fact; each input has its own."""
    assert LINEAGE.tags() == {
        "git.commit": "c0ffee",
        "git.dirty": "true",
        "dvc.data_version": LINEAGE.data_version,
        "dvc.md5.data/raw": "bb.dir",
        "dvc.md5.data/training_set/train.parquet": "aa",
        "feast.feature_service": "flights",
        "feast.definition_hash": "dd",
        "dovetail.settings_hash": "ee",
        "dovetail.environment_hash": "ff",
        "dovetail.trained_until": "2013-08-01T00:00:00+00:00",
    }


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("champion", ModelReference("flights", alias="champion")),
        ("3", ModelReference("flights", version=3)),
        ("planes@challenger", ModelReference("planes", alias="challenger")),
        ("planes/3", ModelReference("planes", version=3)),
        ("models:/planes@champion", ModelReference("planes", alias="champion")),
        ("models:/planes/3", ModelReference("planes", version=3)),
        ("@champion", ModelReference("flights", alias="champion")),
        (" champion ", ModelReference("flights", alias="champion")),
    ],
)
def test_a_model_is_named_as_people_and_mlflow_do(text: str, meant: ModelReference) -> None:
    """By alias or number, of the use case's model or of another."""
    assert ModelReference.parse(text, "flights") == meant
    assert ModelReference.parse(str(meant), "other") == meant


def test_the_texts_of_computations_do_not_count() -> None:
    """What a computation means is its hash; a field that happens to be called text stays."""
    document = {"views": {"v": {"computation": {"hash": "aa", "text": "f(x)"}}}, "text": "kept"}
    assert without_texts(document) == {"views": {"v": {"computation": {"hash": "aa"}}}, "text": "kept"}
