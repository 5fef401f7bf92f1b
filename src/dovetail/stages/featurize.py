"""Each feature view's table and the label rows, from the expressions in feature_repo/, and what is in them."""

import logging
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dovetail.contracts.feature_tables import TIME
from dovetail.errors import FeatureError
from dovetail.files import write_json, write_parquet
from dovetail.settings.schema import Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools.feature_store.definitions import load_definitions
from dovetail.tools.feature_store.engines import open_engine
from dovetail.tools.feature_store.tables import compute

log = logging.getLogger(__name__)


def featurize(settings: Pipeline, workspace: Workspace) -> None:
    """Write data/features/VIEW.parquet by (keys, event_timestamp), data/label_rows.parquet and reports/features.json.

    Label rows are in the order of (event_timestamp, label key). What is known at `until` or later is not there.

    Raises:
        FeatureError: the definitions lack something, or a table is not what its view says; nothing is written.
    """
    usecase = settings.usecase
    definitions = load_definitions(workspace.read("feature_repo"), usecase.name)
    if definitions.service.name != usecase.feature_service:
        raise FeatureError(
            f"there is no feature service '{usecase.feature_service}'",
            where=f"in {definitions.file}",
            expected=f"It defines '{definitions.service.name}'.",
            todo=f"Set usecase.feature_service: {definitions.service.name}",
        )
    profile = workspace.profile
    engine = open_engine(profile.feature_engine, workspace.read("feature_repo"), profile.feature_store)
    n_views = len(definitions.views)
    log.info("featurize: %d feature views of %s, until %s, on %s", n_views, usecase.name, usecase.until, engine.name)
    tables, label_rows = compute(definitions, engine, workspace.read("data/valid"), usecase.label, usecase.until)
    for name, table in tables.items():
        write_parquet(table, workspace.write(f"data/features/{name}.parquet"))
    write_parquet(label_rows, workspace.write("data/label_rows.parquet"))
    keys = {name: view.join_keys for name, view in definitions.views.items()}
    write_json(report(tables, keys, label_rows), workspace.write("reports/features.json"))
    n_rows = sum(table.num_rows for table in tables.values())
    log.info("featurize: %d feature rows, %d label rows", n_rows, label_rows.num_rows)


def report(tables: Mapping[str, pa.Table], keys: Mapping[str, list[str]], label_rows: pa.Table) -> dict[str, Any]:
    """Rows, keys, first and last moment and missing shares of each table; the label rows by outcome."""
    counts = label_rows["outcome"].value_counts().to_pylist()
    return {
        "views": {name: _describe(table, keys[name]) for name, table in tables.items()},
        "label_rows": {
            "rows": label_rows.num_rows,
            **_known(label_rows),
            "by_outcome": {count["values"]: count["counts"] for count in sorted(counts, key=lambda row: row["values"])},
        },
    }


def _describe(table: pa.Table, keys: list[str]) -> dict[str, Any]:
    features = [name for name in table.column_names if name not in (*keys, TIME)]
    return {
        "rows": table.num_rows,
        "keys": table.group_by(keys).aggregate([]).num_rows,
        **_known(table),
        "missing_share": {
            name: round(table[name].null_count / table.num_rows, 6) if table.num_rows else None for name in features
        },
    }


def _known(table: pa.Table) -> dict[str, Any]:
    ends = pc.min_max(table[TIME]).as_py()
    return {"first": ends["min"], "last": ends["max"]}
