"""The record that ties git commit, data version, feature definitions, settings and environment to a run.

It travels as tags, the same on the MLflow run and on the model version, so that both can be searched by it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# One constant a tag, prefixed by the tool that owns the fact.
GIT_COMMIT = "git.commit"
GIT_DIRTY = "git.dirty"
DATA_VERSION = "dvc.data_version"
INPUT_PREFIX = "dvc.md5."
EVALUATED_PREFIX = "dvc.evaluated_on."  # likewise, of the rows that a version was measured on
EXPERIMENT = "dvc.experiment"  # of a run: what `dvc exp show` calls it
FEATURE_SERVICE = "feast.feature_service"
DEFINITION_HASH = "feast.definition_hash"
SETTINGS_HASH = "dovetail.settings_hash"
ENVIRONMENT_HASH = "dovetail.environment_hash"
TRAINED_UNTIL = "dovetail.trained_until"
MODEL_SHA256 = "dovetail.model_sha256"
# Manifests, path -> SHA-256 as JSON: the files of the model, and the documents of the run that decide about it. They
# are for programs: their prefix puts them last among the tags that MLflow's UI shows, which it sorts by name.
MODEL_FILES = "sealed.model_files"
EVIDENCE = "sealed.evidence"
THRESHOLD = "dovetail.threshold"
COMPLETE = "dovetail.complete"
LEASE = "dovetail.lease"  # of a run that is open: until when, and whose
ABANDONED = "dovetail.abandoned"  # of a run that its process did not end: who said so, and when
RUN_ID = "mlflow.run_id"
GATE_DECISION = "dovetail.gate"  # passed, refused, or off: promoted without being judged
GATE_MODE = "dovetail.gate_mode"
GATE_NUMBERS = "sealed.gate_numbers"
GATE_RECORD = "sealed.gate_record"  # manifest of the file that says all about the decision
RECALLED = "dovetail.recalled"  # of a version that is out of use for good: when, by whom, why
REVIEW = "dovetail.review"  # of a version: the last word of a person; for reading, the journal decides
# Files of the run: the settings, the document behind the definition hash, the keys of the rows it has learned from, how
# much each input matters, and what the gate found.
SETTINGS_FILE = "settings.yaml"
MEANING_FILE = "feature_definitions.json"
PARAMS_FILE = "params.yaml"  # the pipeline's settings, those that training did not see too
IMPORTANCES_FILE = "importances.json"
KEYS_FILE = "training_keys.parquet"
PROMOTION_FILE = "promotion.json"


@dataclass(frozen=True)
class Lineage:
    """Where a model came from."""

    git_commit: str
    git_dirty: bool  # the commit alone does not give this model
    input_hashes: Mapping[str, str]  # path -> DVC's MD5 of what training read, and of the raw data behind it
    feature_service: str
    definition_hash: str
    settings_hash: str
    environment_hash: str  # SHA-256 of the lock file
    trained_until: str  # ISO 8601, UTC: no row that was trained or tuned on is at or after this moment

    @property
    def data_version(self) -> str:
        """One short name for all inputs together: twelve hexadecimal digits."""
        return fingerprint(dict(self.input_hashes))[:12]

    def tags(self) -> dict[str, str]:
        """The record as tags: one for each fact, and one for each input."""
        return {
            GIT_COMMIT: self.git_commit,
            GIT_DIRTY: str(self.git_dirty).lower(),
            DATA_VERSION: self.data_version,
            **{INPUT_PREFIX + path: md5 for path, md5 in sorted(self.input_hashes.items())},
            FEATURE_SERVICE: self.feature_service,
            DEFINITION_HASH: self.definition_hash,
            SETTINGS_HASH: self.settings_hash,
            ENVIRONMENT_HASH: self.environment_hash,
            TRAINED_UNTIL: self.trained_until,
        }


@dataclass(frozen=True)
class ModelReference:
    """A model version as people name it: by an alias, or by its number."""

    name: str
    alias: str = ""
    version: int | None = None

    @classmethod
    def parse(cls, text: str, name: str) -> "ModelReference":
        """What `NAME@ALIAS`, `NAME/VERSION`, an alias or a version names, also with MLflow's `models:/` before it.

        Args:
            text: What somebody typed.
            name: The registered model that is meant when none is named.
        """
        said = text.strip().removeprefix("models:/")
        model, at, alias = said.partition("@")
        if at:
            return cls(model or name, alias=alias)
        model, slash, number = said.rpartition("/")
        if number.isdigit():
            return cls(model or name, version=int(number))
        return cls(model, alias=number) if slash else cls(name, alias=said)

    def __str__(self) -> str:
        return f"{self.name}@{self.alias}" if self.version is None else f"{self.name}/{self.version}"


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: the order of keys changes nothing."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def without_texts(value: Any) -> Any:
    """What a document of feature definitions says: the texts of computations are for people, and do not count."""
    if isinstance(value, Mapping):
        return {name: without_texts(item) for name, item in value.items() if name != "text" or "hash" not in value}
    return value
