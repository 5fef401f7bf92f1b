"""A real MLflow in a temporary folder, and its global state undone afterwards."""

import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from dovetail.settings.schema import MLflow


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[MLflow]:
    """Settings of a database that does not exist yet."""
    yield MLflow(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", artifact_location=str(tmp_path / "mlartifacts"))
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    # MLflow also sets it for its child processes, and leaves it there.
    os.environ.pop("MLFLOW_TRACKING_URI", None)
