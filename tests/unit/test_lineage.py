"""The lineage record."""

from dataclasses import replace

from dovetail.lineage import Lineage, fingerprint

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
