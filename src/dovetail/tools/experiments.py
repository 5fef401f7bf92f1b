"""What a run in MLflow holds, and how it is found again by its receipt."""

import fcntl
import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import mlflow.artifacts
import mlflow.sklearn
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from dovetail.contracts.model_folders import digests
from dovetail.errors import TrackingError
from dovetail.lineage import COMPLETE
from dovetail.settings.schema import MLflow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MODEL_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")


@dataclass(frozen=True)
class Input:
    """A data set that a run read: its role, its path in the repository, DVC's MD5 of it, and its columns."""

    role: str
    path: str
    md5: str
    frame: pd.DataFrame

    def to_mlflow(self) -> DatasetInput:
        """As MLflow stores it, with DVC's hash as digest; MLflow's own way hashes the frame again, for seconds."""
        n_rows, n_columns = self.frame.shape
        columns = [{"type": str(dtype), "name": name} for name, dtype in self.frame.dtypes.items()]
        return DatasetInput(
            Dataset(
                name=self.role,
                digest=self.md5,
                source_type="local",
                source=json.dumps({"uri": self.path}),
                schema=json.dumps({"mlflow_colspec": columns}),
                profile=json.dumps({"num_rows": n_rows, "num_elements": n_rows * n_columns}),
            ),
            [InputTag("mlflow.data.context", self.role)],
        )


@dataclass(frozen=True)
class LoggedModel:
    """Where MLflow keeps a model, which run it belongs to, and the SHA-256 of each of its files."""

    run_id: str
    model_id: str
    model_uri: str
    files: Mapping[str, str]


def connect(settings: MLflow) -> MlflowClient:
    """A client of the tracking server or database; a new database is made, by one process at a time.

    MLflow's own first use does not survive company (https://github.com/mlflow/mlflow/issues/4123, seen with 3.17).

    Raises:
        TrackingError: nothing answers at the URI, or the database is another MLflow's.
    """
    mlflow.set_tracking_uri(settings.tracking_uri)
    try:
        with _alone_with(settings):
            client = MlflowClient(settings.tracking_uri)
            client.search_experiments(max_results=1)
    except Exception as error:  # SQLAlchemy's, Alembic's and the network's come through as they are
        raise TrackingError(
            f"MLflow does not answer: {str(error).splitlines()[0][:120]}",
            where=f"at {public_uri(settings.tracking_uri)}  (profile.mlflow.tracking_uri)",
            todo="See that it answers, or name another in conf/profile/.",
        ) from error
    return client


@contextmanager
def _alone_with(settings: MLflow) -> Iterator[None]:
    """Nobody else makes or migrates the database meanwhile; a tracking server sees to that itself, when it starts."""
    if settings.database is not None:
        path = settings.database.with_name(f"{settings.database.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    elif settings.tracking_uri.startswith("postgresql"):
        from sqlalchemy import NullPool, create_engine, text

        engine = create_engine(settings.tracking_uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:  # closing it gives the lock back
            connection.execute(text("SELECT pg_advisory_lock(hashtext('dovetail: mlflow'))"))
            yield
    else:
        yield


def public_uri(uri: str) -> str:
    """The URI without user and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def log_inputs(client: MlflowClient, run_id: str, inputs: Sequence[Input]) -> None:
    """Tie the data sets to the run, as MLflow's inputs."""
    client.log_inputs(run_id, [data.to_mlflow() for data in inputs])


def log_results(params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Parameters and metrics of the active run."""
    mlflow.log_params(dict(params))
    mlflow.log_metrics(dict(metrics))


def log_pictures(pictures: Mapping[str, "Figure"]) -> None:
    """Pictures of the active run: pictures/<name>.png."""
    for name, figure in pictures.items():
        mlflow.log_figure(figure, f"pictures/{name}.png", save_kwargs={"dpi": 110})


def log_document(value: Mapping[str, Any], name: str) -> None:
    """A record of the active run that people can read: <name>, JSON or YAML by its ending."""
    mlflow.log_dict(dict(value), name)


def log_model(model: Any, example: pd.DataFrame, *, run_id: str, trusted_types: Sequence[str]) -> LoggedModel:
    """Store the model in the active run with skops, signature and example, and read back what was stored.

    pyfunc predicts probabilities.
    """
    info = mlflow.sklearn.log_model(
        model,
        name="model",
        signature=_signature(example),
        input_example=example,
        serialization_format="skops",
        skops_trusted_types=list(trusted_types),
        pip_requirements=[f"{package}=={version(package)}" for package in _MODEL_REQUIREMENTS],
        pyfunc_predict_fn="predict_proba",
    )
    with tempfile.TemporaryDirectory(prefix="dovetail-logged-") as folder:
        stored = model_location(MlflowClient(), info.model_id)
        files = digests(Path(mlflow.artifacts.download_artifacts(stored, dst_path=folder)))
    return LoggedModel(run_id, info.model_id, info.model_uri, files)


def _signature(example: pd.DataFrame) -> ModelSignature:
    """Numbers are doubles, categories strings, and both may be missing."""
    kinds = {name: "double" if pd.api.types.is_numeric_dtype(example[name]) else "string" for name in example}
    return ModelSignature(
        inputs=Schema([ColSpec(kind, str(name), required=False) for name, kind in kinds.items()]),
        outputs=Schema([TensorSpec(pd.Series(dtype=float).to_numpy().dtype, (-1, 2))]),
    )


def add_evaluation(
    client: MlflowClient, run_id: str, *, metrics: Mapping[str, float], pictures: Path, documents: Sequence[Path]
) -> None:
    """Add the holdout's metrics, pictures and reports to a finished run; idempotent."""
    for name, value in metrics.items():
        client.log_metric(run_id, name, value)
    client.log_artifacts(run_id, str(pictures), "pictures")
    for document in documents:
        client.log_artifact(run_id, str(document))


def model_location(client: MlflowClient, model_id: str) -> str:
    """URI of the folder in the artifact store that holds the model's files.

    Raises:
        TrackingError: MLflow has not got the model.
    """
    try:
        return str(client.get_logged_model(model_id).artifact_location)
    except MlflowException as error:
        raise TrackingError(
            f"model {model_id} is not there",
            where="in MLflow, though models/run.json names it.",
            todo="Make it again:  python -m dovetail mend",
        ) from error


def require_run(
    client: MlflowClient, run_id: str, *, tracking_uri: str, receipt: str, tags: Mapping[str, str] | None = None
) -> None:
    """Nothing, if the run exists, is finished and complete, and has the tags.

    Raises:
        TrackingError: the run that the receipt names is unknown, deleted, not complete, or has not got a tag.
    """
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise _lost(run_id, tracking_uri, receipt, "is not there") from error
    if run.info.lifecycle_stage == "deleted":
        raise _lost(run_id, tracking_uri, receipt, "was deleted")
    if run.info.status != "FINISHED" or run.data.tags.get(COMPLETE) != "true":
        raise _lost(run_id, tracking_uri, receipt, f"did not end well ({run.info.status})")
    differ = [key for key, value in (tags or {}).items() if run.data.tags.get(key) != value]
    if differ:
        raise _lost(run_id, tracking_uri, receipt, f"has not got the receipt's {', '.join(differ)}")


def _lost(run_id: str, tracking_uri: str, receipt: str, what: str) -> TrackingError:
    return TrackingError(
        f"run {run_id} {what}",
        where=f"in MLflow at {public_uri(tracking_uri)}, though {receipt} names it.",
        todo="Make it again:  python -m dovetail mend",
    )
