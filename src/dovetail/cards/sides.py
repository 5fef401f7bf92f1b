"""The two that a card compares, the version and the champion, each with the documents of its run."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dovetail.errors import DovetailError
from dovetail.files import read_json
from dovetail.lineage import IMPORTANCES_FILE, MEANING_FILE, SETTINGS_FILE
from dovetail.pages.records import Unknown
from dovetail.tools import model_registry
from dovetail.tools.model_registry import ModelVersion

EVALUATION_FILE, CERTIFICATE_FILE = "evaluation.json", "split_certificate.json"


@dataclass(frozen=True)
class Side:
    """A version and the documents of its run that were sealed with it, by name."""

    version: ModelVersion
    documents: Mapping[str, Mapping[str, Any] | Unknown]

    @classmethod
    def of(cls, version: ModelVersion) -> "Side":
        """The version with what MLflow has of it; what is lost or was changed is `Unknown`."""
        names = (SETTINGS_FILE, MEANING_FILE, IMPORTANCES_FILE, EVALUATION_FILE, CERTIFICATE_FILE)
        return cls(version, {name: _document(version, name) for name in names})

    def tag(self, key: str) -> str | None:
        """The version's tag; None when it has none."""
        return self.version.tags.get(key)


def _document(version: ModelVersion, name: str) -> Mapping[str, Any] | Unknown:
    with tempfile.TemporaryDirectory(prefix="dovetail-card-") as folder:
        try:
            path = model_registry.fetch_evidence(version, name, Path(folder))
        except DovetailError as error:
            return Unknown(error.what)
        if path is None:
            return Unknown(f"the run of {version} has no {name}", "python -m dovetail mend")
        found = read_json(path) if path.suffix == ".json" else yaml.safe_load(path.read_text(encoding="utf-8"))
        return dict(found)
