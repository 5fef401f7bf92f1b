"""The training set: what was known at each label row's moment, split into parts, with a certificate."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dovetail.files import read_parquet, write_json, write_parquet
from dovetail.science.splits import GAP, LEARNED, PARTS, Certificate, FeatureTable, certify, split
from dovetail.settings.schema import Label, Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools.feature_store.definitions import Definitions, load_definitions
from dovetail.tools.feature_store.meaning import meaning, meaning_hash
from dovetail.tools.feature_store.retrieval import historical_features

log = logging.getLogger(__name__)
REPORT = "reports/split_certificate.json"


def assemble(settings: Pipeline, workspace: Workspace) -> None:
    """Write data/training_set/{train,validation,holdout,live}.parquet and the certificate.

    Rows are in the order of (event_timestamp, label key). Rows without a label are left out of all parts but `live`.

    Raises:
        SplitError: the certificate does not hold; it is written all the same, the parts are not.
    """
    usecase = settings.usecase
    label_rows = read_parquet(workspace.read("data/label_rows.parquet"))
    log.info("assemble: joining features to %d label rows", label_rows.num_rows)
    feature_repo = workspace.root / "feature_repo"
    definitions = load_definitions(feature_repo, usecase.name)
    joined = historical_features(definitions, label_rows, feature_repo, workspace.profile.feature_store)
    features = [name for name in joined.column_names if name not in label_rows.column_names]
    inputs = [*usecase.request, *features]
    whole = split(in_order(joined, inputs, usecase.label), usecase.split)
    parts = {name: labelled(whole[name], usecase.label) if name in LEARNED else whole[name] for name in PARTS}
    tables = feature_tables(definitions, workspace)
    frames = {name: part.to_pandas() for name, part in parts.items()}
    certificate = certify(frames, tables, inputs, usecase.label, usecase.split)
    write_json(report(certificate, whole, parts, inputs), workspace.write(REPORT))
    certificate.demand(REPORT)
    columns = [usecase.label.key, "event_timestamp", "label_known_at", "outcome", *inputs, usecase.label.column]
    for name, part in parts.items():
        write_parquet(part.select(columns), workspace.write(f"data/training_set/{name}.parquet"))
    means = meaning(definitions, usecase)
    definition = {"feature_service": usecase.feature_service, "definition_hash": meaning_hash(means), "meaning": means}
    write_json(definition, workspace.write("data/training_set/definition.json"))
    counts = ", ".join(f"{name} {part.num_rows}" for name, part in parts.items())
    log.info("assemble: %s rows; certificate holds (%d checks)", counts, len(certificate.checks))


def in_order(joined: pa.Table, inputs: list[str], label: Label) -> pa.Table:
    """The rows by (event_timestamp, label key), each input float64 or string."""
    rows = joined.sort_by([("event_timestamp", "ascending"), (label.key, "ascending")])
    for name in inputs:
        # An integer that is missing in serving is NaN: numbers are floats from here on.
        wanted = pa.string() if _is_text(rows.schema.field(name).type) else pa.float64()
        rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(wanted))
    return rows


def labelled(part: pa.Table, label: Label) -> pa.Table:
    """The rows whose label is known."""
    return part.filter(pc.is_valid(part[label.column]))


def feature_tables(definitions: Definitions, workspace: Workspace) -> list[FeatureTable]:
    """The service's views with the rows that `featurize` wrote, for the certificate."""
    tables = []
    for projection in definitions.service.feature_view_projections:
        view = definitions.views.get(projection.name)
        if view is None:  # an on-demand view, which has no rows of its own
            continue
        names = [field.name for field in projection.features]
        columns = [*view.join_keys, "event_timestamp", *names]
        tables.append(
            FeatureTable(
                name=view.name,
                rows=read_parquet(workspace.read(f"data/features/{view.name}.parquet"), columns).to_pandas(),
                keys={key: projection.join_key_map.get(key, key) for key in view.join_keys},
                features=dict(zip(names, names, strict=True)),
                # Feast writes "for ever" as zero.
                ttl=view.ttl if view.ttl and view.ttl > timedelta(0) else None,
            )
        )
    return tables


def report(
    certificate: Certificate, whole: Mapping[str, pa.Table], parts: Mapping[str, pa.Table], inputs: list[str]
) -> dict[str, Any]:
    """The certificate, with the rows kept and left out by part, and the missing share of each input by part."""
    return {
        **certificate.as_dict(),
        "rows": {name: part.num_rows for name, part in parts.items()},
        "rows_in_gaps": whole[GAP].num_rows,
        "left_out_by_outcome": {name: _left_out(whole[name], parts[name]) for name in LEARNED},
        "missing_share": {name: {part: _missing_share(rows[name]) for part, rows in parts.items()} for name in inputs},
    }


def _left_out(whole: pa.Table, kept: pa.Table) -> dict[str, int]:
    before, after = (
        dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
        for counts in (whole["outcome"].value_counts(), kept["outcome"].value_counts())
    )
    missing = {outcome: n - after.get(outcome, 0) for outcome, n in before.items()}
    return {outcome: n for outcome, n in sorted(missing.items()) if n}


def _missing_share(column: pa.ChunkedArray) -> float | None:
    return round(column.null_count / len(column), 6) if len(column) else None


def _is_text(type_: pa.DataType) -> bool:
    return bool(pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_dictionary(type_))
