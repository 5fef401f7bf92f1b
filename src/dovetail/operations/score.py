"""The newest rows, predicted by the champion with what was known at each row's moment."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from dovetail.errors import FeatureError
from dovetail.files import read_parquet, write_parquet
from dovetail.lineage import DEFINITION_HASH, THRESHOLD, fingerprint
from dovetail.science import estimators
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import experiments, feature_store, model_files, model_registry
from dovetail.tools.model_registry import CHAMPION, ModelVersion

log = logging.getLogger(__name__)


def score(settings: Pipeline, workspace: Workspace) -> None:
    """Append the champion's predictions for the newest rows to the prediction log; none is ever written over.

    The newest rows are those of the last `usecase.scoring.window_hours` before `usecase.until`, without those that
    this version has predicted before: run twice, the second finds nothing to do.

    Raises:
        NoChampionError: no version is in production.
        FeatureError: the feature definitions are not those that the champion was trained on.
    """
    usecase = settings.usecase
    client = experiments.connect(workspace.profile.mlflow)
    champion = model_registry.with_alias(client, usecase.name, CHAMPION)
    folder = Path(workspace.profile.predictions) / usecase.name

    rows = read_parquet(workspace.read("data/label_rows.parquet"))
    since = usecase.until - timedelta(hours=usecase.scoring.window_hours)
    newest = rows.filter(pc.greater_equal(rows["event_timestamp"], pa.scalar(since, rows["event_timestamp"].type)))
    done = _predicted(folder, champion)
    new = newest.filter(pc.invert(pc.is_in(newest[usecase.label.key], value_set=done)))
    if new.num_rows == 0:
        log.info("%s has predicted all %d rows since %s: nothing to score", champion, newest.num_rows, since)
        return
    log.info("score %d rows since %s with %s", new.num_rows, since, champion)

    predictions = _predict(settings, workspace, champion, new)
    scored_at = datetime.now(UTC)
    path = folder / f"{usecase.until:%Y%m%dT%H%M}_v{champion.version}_{scored_at:%Y%m%dT%H%M%S%f}.parquet"
    write_parquet(_stamped(settings, workspace, champion, new, predictions, scored_at), path)
    log.info("scored %d rows: %s", new.num_rows, path)


def _predicted(folder: Path, version: ModelVersion) -> pa.Array:
    """The keys that this version has predicted, from the files of the log that it wrote."""
    files = sorted(folder.glob(f"*_v{version.version}_*.parquet"))
    tables = [ds.dataset([str(file)]).to_table(["key", "run_id"]) for file in files]
    # A version's number comes back when MLflow's database was lost; its run does not.
    keys = [table.filter(pc.equal(table["run_id"], version.run_id))["key"] for table in tables]
    return pa.concat_arrays([chunk for key in keys for chunk in key.chunks] or [pa.array([], pa.string())])


def _predict(settings: Pipeline, workspace: Workspace, champion: ModelVersion, rows: pa.Table) -> pa.Array:
    feature_repo = workspace.root / "feature_repo"
    definitions = feature_store.load_definitions(feature_repo, settings.usecase.name)
    current = feature_store.definition_hash(definitions)
    if champion.tags.get(DEFINITION_HASH) != current:
        raise FeatureError(
            f"the features are not those that {champion} was trained on",
            where=f"feature_repo/{settings.usecase.name}.py has the definition hash {current[:12]},",
            expected=f"the champion's is {champion.tags.get(DEFINITION_HASH, 'unknown')[:12]}.",
            todo="Train and promote a model with these features:  make run",
        )
    joined = feature_store.historical_features(definitions, rows, feature_repo, workspace.profile.feature_store)
    features = [name for name in joined.column_names if name not in rows.column_names]
    frame = joined.select([*settings.usecase.request, *features]).to_pandas()
    _, numeric = estimators.columns_by_kind(frame)
    with model_registry.model_file(champion) as path:
        model = model_files.load_model(path)
    return pa.array(estimators.probabilities(model, frame.astype(dict.fromkeys(numeric, "float64"))))


def _stamped(
    settings: Pipeline,
    workspace: Workspace,
    champion: ModelVersion,
    rows: pa.Table,
    probability: pa.Array,
    scored_at: datetime,
) -> pa.Table:
    """One row a prediction, with the model version, data version and time that it came from."""
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
    return pa.table(
        {
            "key": rows[settings.usecase.label.key],
            "event_timestamp": rows["event_timestamp"],
            "probability": probability,
            "is_positive": pc.greater_equal(probability, threshold),
            **{name: pa.array([value] * n_rows) for name, value in stamps.items()},
        }
    )
