"""What a run in MLflow holds, and how it is found again by its receipt."""

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
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

from dovetail.contracts import mlflow_database
from dovetail.contracts.model_folders import digests
from dovetail.errors import TrackingError
from dovetail.lineage import COMPLETE
from dovetail.locks import alone
from dovetail.settings.schema import MLflow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MODEL_REQUIREMENTS = ("mlflow", "numpy", "pandas", "scikit-learn", "scipy", "skops")
# MLflow's own digests have eight digits; more is cut off in its tables. The tags have the whole hash.
_DIGITS = 12


@dataclass(frozen=True)
class Input:
    """A data set that a run read: its role, its path in the repository, DVC's MD5 of it, its rows and columns.

    `columns` are the types by name, empty when nobody says.
    """

    role: str
    path: str
    md5: str
    n_rows: int
    columns: Mapping[str, str]

    @classmethod
    def of(cls, role: str, path: str, md5: str, frame: pd.DataFrame) -> "Input":
        """The data set that is in the frame."""
        return cls(role, path, md5, len(frame), {str(name): str(dtype) for name, dtype in frame.dtypes.items()})

    @property
    def digest(self) -> str:
        """The name of the data in MLflow: the first digits of DVC's hash."""
        return self.md5[:_DIGITS]

    def to_mlflow(self) -> DatasetInput:
        """As MLflow stores it, with DVC's hash as digest; MLflow's own way hashes the frame again, for seconds."""
        columns = [{"type": kind, "name": name} for name, kind in self.columns.items()]
        return DatasetInput(
            Dataset(
                name=self.role,
                digest=self.digest,
                source_type="local",
                source=json.dumps({"uri": self.path}),
                schema=json.dumps({"mlflow_colspec": columns}),
                profile=json.dumps({"num_rows": self.n_rows, "num_elements": self.n_rows * len(columns)}),
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
        with alone(settings, "first-use"):  # a tracking server sees to that itself, when it starts
            _demand_own_tables(settings)
            client = MlflowClient(settings.tracking_uri)
            client.search_experiments(max_results=1)
    except TrackingError:
        raise
    except Exception as error:  # SQLAlchemy's, Alembic's and the network's come through as they are
        raise TrackingError(
            f"MLflow does not answer: {str(error).splitlines()[0][:120]}",
            where=f"at {public_uri(settings.tracking_uri)}  (profile.mlflow.tracking_uri)",
            todo="See that it answers, or name another in conf/profile/.",
        ) from error
    return client


def _demand_own_tables(settings: MLflow) -> None:
    """Nothing, when the tables are this MLflow's or not made yet; a tracking server sees to its own."""
    if settings.database is not None:
        mlflow_database.demand_own(settings.database)
    elif settings.tracking_uri.startswith("postgresql"):
        from sqlalchemy import NullPool, create_engine, inspect, text

        with create_engine(settings.tracking_uri, poolclass=NullPool).connect() as connection:
            if inspect(connection).has_table("alembic_version"):
                found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
                place = public_uri(settings.tracking_uri)
                mlflow_database.demand_revision(found, place, f"mlflow db upgrade {place}")


def public_uri(uri: str) -> str:
    """The URI without user and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", uri)


def describe_experiment(client: MlflowClient, run_id: str, note: str) -> None:
    """Write on the run's experiment, as MLflow's UI shows it, what its runs are; idempotent."""
    client.set_experiment_tag(client.get_run(run_id).info.experiment_id, "mlflow.note.content", note)


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


def log_file(path: Path) -> None:
    """A file of the active run, under its own name."""
    mlflow.log_artifact(str(path))


def log_model(
    model: Any, name: str, example: pd.DataFrame, *, run_id: str, trusted_types: Sequence[str]
) -> LoggedModel:
    """Store the model in the active run with skops, signature and example, and read back what was stored.

    `name` is how MLflow's tables call it. pyfunc predicts probabilities.
    """
    info = mlflow.sklearn.log_model(
        model,
        name=name,
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


def add_results(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Mapping[str, float],
    documents: Sequence[Path],
    pictures: Path | None = None,
    model_id: str | None = None,
    data: Input | None = None,
) -> None:
    """Add metrics, files and a folder of pictures to a finished run; idempotent.

    With `model_id` and `data` the metrics are also the model's, measured on that data set, which joins the run.
    """
    of_data = {"dataset_name": data.role, "dataset_digest": data.digest} if data else {}
    if data:
        log_inputs(client, run_id, [data])
    for name, value in metrics.items():
        client.log_metric(run_id, name, value, model_id=model_id, **of_data)
    if pictures:
        client.log_artifacts(run_id, str(pictures), "pictures")
    for document in documents:
        client.log_artifact(run_id, str(document))


def attach(client: MlflowClient, run_id: str, text: str, name: str) -> None:
    """Put a file that holds the text into a run, finished or not; one that is there is replaced."""
    client.log_text(run_id, text, name)


def artifact_page(client: MlflowClient, run_id: str, name: str) -> str:
    """Where MLflow's UI shows a file of the run: the part of the address after its # (3.17)."""
    return f"/experiments/{client.get_run(run_id).info.experiment_id}/runs/{run_id}/artifacts/{name}"


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
