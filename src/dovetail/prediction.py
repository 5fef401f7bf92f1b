"""How a registered model predicts: the features that it was trained on, what was known at each row's moment."""

from typing import Any

import numpy as np
import pyarrow as pa

from dovetail.errors import FeatureError, ModelUnavailableError
from dovetail.lineage import DEFINITION_HASH, GIT_COMMIT
from dovetail.science import estimators
from dovetail.science.metrics import Numbers
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import model_files, model_registry
from dovetail.tools.feature_store.definitions import Definitions
from dovetail.tools.feature_store.meaning import differences, listed, meaning, meaning_hash
from dovetail.tools.feature_store.retrieval import historical_features
from dovetail.tools.model_registry import ModelVersion


def require_same_meaning(version: ModelVersion, definitions: Definitions, settings: Pipeline) -> None:
    """Nothing, when the inputs mean what they meant when the version was trained.

    Raises:
        FeatureError: they do not; each difference is said with its view.
    """
    current = meaning(definitions, settings.usecase)
    if version.tags.get(DEFINITION_HASH) == meaning_hash(current):
        return
    trained_on = model_registry.meaning_of(version)
    said = listed(differences(trained_on, current)) if trained_on else ["its run has lost what they meant"]
    raise FeatureError(
        f"the inputs are not those that {version} was trained on" + "".join(f"\n  - {line}" for line in said),
        where=f"in {definitions.file}, with usecase.label and usecase.request.",
        expected=f"It was trained at commit {version.tags.get(GIT_COMMIT, '?')[:10]}.",
        todo="Go back to its definitions, or train and promote a model with these:  make run",
    )


def load(version: ModelVersion) -> Any:
    """The version's model, through the one door.

    Raises:
        ModelUnavailableError: its files are gone, were changed, or are not safe to load.
    """
    with model_registry.model_file(version) as path:
        return model_files.load_model(path)


def predict(model: Any, settings: Pipeline, workspace: Workspace, definitions: Definitions, rows: pa.Table) -> Numbers:
    """The model's probability for each label row, by the features that were known at its moment.

    Raises:
        ModelUnavailableError: what it says is no probability.
    """
    config_file = workspace.profile.feature_store
    joined = historical_features(definitions, rows, workspace.root / "feature_repo", config_file)
    features = [name for name in joined.column_names if name not in rows.column_names]
    frame = joined.select([*settings.usecase.request, *features]).to_pandas()
    _, numeric = estimators.columns_by_kind(frame)
    said = estimators.probabilities(model, frame.astype(dict.fromkeys(numeric, "float64")))
    n_wrong = int(np.count_nonzero(~((said >= 0) & (said <= 1))))
    if n_wrong:
        raise ModelUnavailableError(
            f"{n_wrong} of {len(said)} predictions are no probability",
            where="from a model whose files are whole.",
            todo="Look at the features of these rows, or go back:  python -m dovetail rollback reason='…'",
        )
    return said
