"""A real MLflow in a temporary folder, and its global state undone afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest

from dovetail.settings.schema import MLflow


@contextmanager
def mlflow_in(folder: Path) -> Iterator[MLflow]:
    """Settings of a database in the folder that does not exist yet."""
    yield MLflow(tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_location=str(folder / "mlartifacts"))
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    # MLflow also sets it for its child processes, and leaves it there.
    os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture
def tracking(tmp_path: Path) -> Iterator[MLflow]:
    """A database of the test's own."""
    with mlflow_in(tmp_path) as settings:
        yield settings
