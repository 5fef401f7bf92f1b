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
FEATURE_SERVICE = "feast.feature_service"
DEFINITION_HASH = "feast.definition_hash"
SETTINGS_HASH = "dovetail.settings_hash"
ENVIRONMENT_HASH = "dovetail.environment_hash"
TRAINED_UNTIL = "dovetail.trained_until"
MODEL_SHA256 = "dovetail.model_sha256"
# Manifests, path -> SHA-256 as JSON: the files of the model, and the documents of the run that decide about it.
MODEL_FILES = "dovetail.model_files"
EVIDENCE = "dovetail.evidence"
THRESHOLD = "dovetail.threshold"
COMPLETE = "dovetail.complete"
LEASE = "dovetail.lease"  # of a run that is open: until when, and whose
ABANDONED = "dovetail.abandoned"  # of a run that its process did not end: who said so, and when
RUN_ID = "mlflow.run_id"
GATE_DECISION = "dovetail.gate"
GATE_NUMBERS = "dovetail.gate_numbers"
# Files of the run: the settings, and the document behind the definition hash.
SETTINGS_FILE = "settings.yaml"
MEANING_FILE = "feature_definitions.json"


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


def fingerprint(value: Any) -> str:
    """SHA-256 of a value's canonical JSON: the order of keys changes nothing."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
