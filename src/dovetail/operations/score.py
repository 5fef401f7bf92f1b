"""The newest rows, predicted by the champion with what was known at each row's moment."""

import fcntl
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from dovetail import prediction, production
from dovetail.contracts import prediction_log
from dovetail.errors import WorkspaceError
from dovetail.files import read_parquet, write_parquet
from dovetail.lineage import THRESHOLD, fingerprint
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import Pipeline, UseCase
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.model_registry import ModelVersion

log = logging.getLogger(__name__)


def score(settings: Pipeline, workspace: Workspace) -> None:
    """Append the champion's predictions for the newest rows to the prediction log; none is ever written over.

    The newest rows are those of the last `usecase.scoring.window_hours` before `usecase.until` that this version has
    not predicted, and any others since the log began that no version has: a row may become known after its moment,
    and scoring may have been skipped for a month. Run twice, the second finds nothing to do; two at once take turns.

    Raises:
        NoChampionError: no version is in production.
        FeatureError: the inputs do not mean what they meant when the champion was trained.
        ModelUnavailableError: the champion was recalled or never passed the gate, its files are gone, were changed, or
            are not safe to load, or what it says is no probability.
        WorkspaceError: the data was not made for `usecase.until`.
    """
    usecase = settings.usecase
    client = experiments.connect(workspace.profile.mlflow)
    champion = production.champion(client, settings, workspace)
    definitions = load_definitions(workspace.root / "feature_repo", usecase.name)
    prediction.require_same_meaning(champion, definitions, settings)
    rows = read_parquet(workspace.read("data/label_rows.parquet"))
    folder = Path(workspace.profile.predictions) / usecase.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new = _newest(rows, _log(folder), champion, usecase)
        if new.num_rows == 0:
            log.info("%s: every row until %s is predicted: nothing to score", champion, usecase.until)
            return
        log.info("score %d rows with %s", new.num_rows, champion)
        model = prediction.load(champion)  # before the features: when it is refused, nobody waits for them
        probability = pa.array(prediction.predict(model, settings, workspace, definitions, new))
        scored_at = datetime.now(UTC)
        path = folder / f"{usecase.until:%Y%m%dT%H%M}_v{champion.version}_{scored_at:%Y%m%dT%H%M%S%f}.parquet"
        write_parquet(_stamped(settings, workspace, champion, new, probability, scored_at), path)
        log.info("scored %d rows: %s", new.num_rows, path)


def _log(folder: Path) -> pa.Table:
    """The key, moment, version and run of every prediction there is."""
    moment = pa.timestamp("us", "UTC")
    columns = pa.schema(
        {"key": pa.string(), "event_timestamp": moment, "model_version": pa.int64(), "run_id": pa.string()}
    )
    files = sorted(folder.glob("*.parquet"))
    tables = [read_parquet(file, columns.names).cast(columns) for file in files]
    return pa.concat_tables([columns.empty_table(), *tables])


def _newest(rows: pa.Table, predicted: pa.Table, champion: ModelVersion, usecase: UseCase) -> pa.Table:
    """The rows to predict: recent ones that this version has not predicted, older ones that none has."""
    moments = rows["event_timestamp"]
    since = pa.scalar(usecase.until - timedelta(hours=usecase.scoring.window_hours), moments.type)
    is_recent = pc.greater_equal(moments, since)
    if not pc.any(is_recent).as_py():
        raise WorkspaceError(
            f"there is no row in the {usecase.scoring.window_hours:g} hours before {usecase.until}",
            where="in data/label_rows.parquet, which was made for another usecase.until.",
            todo="Make it for this one:  dvc repro",
        )
    # A version's number comes back when MLflow's database was lost; its run does not.
    is_own = pc.and_(
        pc.equal(predicted["model_version"], champion.version), pc.equal(predicted["run_id"], champion.run_id)
    )
    own = predicted.filter(is_own)
    keys = rows[usecase.label.key]
    by_none = pc.invert(pc.is_in(keys, value_set=predicted["key"]))
    by_this = pc.is_in(keys, value_set=own["key"])
    first = pc.min(predicted["event_timestamp"]) if predicted.num_rows else since
    is_missed = pc.and_(pc.greater_equal(moments, first.cast(moments.type)), by_none)
    return rows.filter(pc.or_(pc.and_(is_recent, pc.invert(by_this)), is_missed))


def _stamped(
    settings: Pipeline,
    workspace: Workspace,
    champion: ModelVersion,
    rows: pa.Table,
    probability: pa.Array,
    scored_at: datetime,
) -> pa.Table:
    """One row a prediction, with its id, and the model version, data version and time that it came from."""
    threshold = float(champion.tags[THRESHOLD])
    data = {path: dvc_hash(workspace.read(path)) for path in ("data/features", "data/label_rows.parquet")}
    stamps = {
        "model": champion.name,
        "model_version": champion.version,
        "run_id": champion.run_id,
        "data_version": fingerprint(data)[:12],
        "scored_at": scored_at,
    }
    n_rows = rows.num_rows
    stamped = pa.table(
        {
            "key": rows[settings.usecase.label.key],
            "event_timestamp": rows["event_timestamp"],
            "probability": probability,
            "is_positive": pc.greater_equal(probability, threshold),
            **{name: pa.array([value] * n_rows) for name, value in stamps.items()},
        }
    )
    return prediction_log.with_ids(stamped)
