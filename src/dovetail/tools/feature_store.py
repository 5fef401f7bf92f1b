"""Feast, and the Ibis expressions beside its views: what a use case defines, its tables and its training rows."""

import ast
import hashlib
import json
import logging
import os
import runpy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView
from feast.base_feature_view import BaseFeatureView
from feast.errors import FeastError
from feast.repo_config import RepoConfig
from feast.types import from_feast_to_pyarrow_type
from ibis import _
from pydantic import ValidationError

from dovetail.contracts.feature_tables import (
    KNOWN,
    MOMENT,
    TIME,
    TableRule,
    label_problems,
    row_problems,
    schema_problems,
)
from dovetail.errors import FeatureError
from dovetail.lineage import fingerprint
from dovetail.offline_store import OfflineStoreError
from dovetail.settings.schema import Label, UseCase

MAX_FINDINGS = 10


@dataclass(frozen=True)
class Definitions:
    """What feature_repo/NAME.py defines.

    Attributes:
        file: The module.
        source: Its text, as it was run.
        service: Its feature service.
        views: Its feature views by name.
        feature_tables: The computation of each view's table, from the sources by name.
        label_rows: The computation of the label rows, from the sources and the settings' arguments.
        objects: All that `feast apply` would register.
    """

    file: Path
    source: str
    service: FeatureService
    views: Mapping[str, FeatureView]
    feature_tables: Mapping[str, Callable[[Mapping[str, ibis.Table]], ibis.Table]]
    label_rows: Callable[..., ibis.Table]
    objects: tuple[Any, ...]


def load_definitions(feature_repo: Path, usecase: str) -> Definitions:
    """What feature_repo/NAME.py defines. The module is run anew, and leaves no compiled file in the folder.

    Raises:
        FeatureError: the module is missing, or it lacks something; all it lacks is said.
    """
    file = feature_repo / f"{usecase}.py"
    if not file.exists():
        others = ", ".join(sorted(path.stem for path in feature_repo.glob("*.py")))
        raise FeatureError(
            f"the use case '{usecase}' has no feature definitions",
            where=f"at {file}",
            expected=f"Use cases there: {others or 'none'}.",
            todo="Write the module, or set usecase.name to one of them.",
        )
    namespace = runpy.run_path(str(file), run_name=usecase)
    _refuse(f"{file.name} breaks {{}} of the rules for feature definitions", list(_lacks(namespace)), file)
    views = _instances(namespace, FeatureView)
    return Definitions(
        file=file,
        source=file.read_text(encoding="utf-8"),
        service=_instances(namespace, FeatureService)[0],
        views={view.name: view for view in views},
        feature_tables=namespace["FEATURE_TABLES"],
        label_rows=namespace["label_rows"],
        objects=tuple(_instances(namespace, (Entity, BaseFeatureView, FeatureService))),
    )


def compute(
    definitions: Definitions, folder: Path, label: Label, until: datetime
) -> tuple[dict[str, pa.Table], pa.Table]:
    """The table of each feature view by (keys, event_timestamp), and the label rows by (event_timestamp, key).

    `folder` holds a Parquet file a source. What is known only at `until` or later does not exist yet: a feature row
    is left out, so is a label row to be predicted then, and a label that becomes known then is null, 'pending'.

    Raises:
        FeatureError: a table is not what its view says, or the label rows are not; all problems of all are said.
    """
    connection = ibis.duckdb.connect()
    paths = sorted(folder.glob("*.parquet"))
    sources = _Sources({path.stem: connection.read_parquet(path, table_name=path.stem) for path in paths})
    problems: list[str] = []
    tables = {
        name: _checked(_view_rule(view), definitions.feature_tables[name](sources), until, problems)
        for name, view in definitions.views.items()
    }
    asked = _known_labels(definitions.label_rows(sources, **label.arguments), label, until)
    label_rows = _checked(_label_rule(definitions, label), asked, until, problems)
    if label_rows is not None:
        features = {field.name for view in definitions.views.values() for field in view.features}
        problems += label_problems(label_rows, label.column, features)
    _refuse("the feature tables have {} problems", problems, definitions.file)
    return tables, label_rows


def definition_hash(definitions: Definitions) -> str:
    """A SHA-256 of what the module says: views, fields, time-to-live and computations.

    Comments, docstrings and formatting do not change it. It is the same on every Python.
    """
    said = json.dumps(_meaning(ast.parse(definitions.source)), sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def meaning_hash(definitions: Definitions, usecase: UseCase) -> str:
    """What a model's inputs mean: the definitions, how label rows are asked for, and what the request holds."""
    asked = {"label": usecase.label.arguments, "request": usecase.request}
    return fingerprint({"definitions": definition_hash(definitions), **asked})


def historical_features(
    definitions: Definitions, label_rows: pa.Table, feature_repo: Path, config_file: str
) -> pa.Table:
    """The label rows as they are, followed by each feature of the service as it was known at `event_timestamp`.

    Feast does it, with the offline store of `feature_repo/config_file`, on the files beside `feature_repo`. The
    definitions are registered in a temporary folder, so neither the user's feature registry nor a server is touched.

    Raises:
        FeatureError: the configuration cannot be used, or rows were lost or merged.
    """
    row = "dovetail_row"
    asked = label_rows.select([*_label_keys(definitions), TIME])
    asked = asked.append_column(row, pa.array(np.arange(label_rows.num_rows)))
    # It tells of each look into the registry.
    logging.getLogger("feast.infra.registry.registry").setLevel(logging.WARNING)
    with TemporaryDirectory() as folder:
        store = FeatureStore(config=_private_config(feature_repo.resolve(), config_file, Path(folder)))
        store.apply(list(definitions.objects))
        try:
            job = store.get_historical_features(entity_df=asked.to_pandas(), features=definitions.service)
            joined = job.to_arrow().sort_by(row)
        except OfflineStoreError as error:
            raise FeatureError(error.what, where=error.where, expected=error.expected, todo=error.todo) from error
    if not joined[row].combine_chunks().equals(asked[row].combine_chunks()):
        raise FeatureError(
            f"{joined.num_rows} rows came back for {label_rows.num_rows} label rows",
            where=f"from the offline store of {feature_repo / config_file}",
            expected="each label row once",
            todo="Use the offline store that keeps them:  type: dovetail.offline_store.DuckDBAsofOfflineStore",
        )
    for projection in definitions.service.feature_view_projections:
        for field in projection.features:
            label_rows = label_rows.append_column(field.name, joined[field.name])
    return label_rows


class _Sources(dict[str, ibis.Table]):
    """The sources by name; asking for another says which there are."""

    def __missing__(self, name: str) -> ibis.Table:
        raise FeatureError(
            f"there is no source '{name}'",
            where="in the validated data",
            expected=f"Sources: {', '.join(self) or 'none'}.",
            todo="List it under usecase.sources, or correct its name in the feature definitions.",
        )


def _view_rule(view: FeatureView) -> TableRule:
    types = {field.name: from_feast_to_pyarrow_type(field.dtype) for field in [*view.entity_columns, *view.features]}
    keys = {key: types.pop(key) for key in view.join_keys}
    order = [*keys, TIME]
    return TableRule(view.name, {**keys, TIME: MOMENT, **types}, is_open=False, unique=order, order=order)


def _label_rule(definitions: Definitions, label: Label) -> TableRule:
    keys = dict.fromkeys(_label_keys(definitions))
    columns = {label.key: None, **keys, TIME: MOMENT, KNOWN: MOMENT, "outcome": pa.string(), label.column: None}
    return TableRule("label_rows", columns, is_open=True, unique=[label.key], order=[TIME, label.key])


def _label_keys(definitions: Definitions) -> list[str]:
    """The columns by which the service's views are joined to a label row."""
    projections = definitions.service.feature_view_projections
    return sorted({p.join_key_map.get(key, key) for p in projections for key in definitions.views[p.name].join_keys})


def _known_labels(rows: ibis.Table, label: Label, until: datetime) -> ibis.Table:
    """The label rows as they look at `until`: a label that becomes known then or later is pending."""
    if not {label.column, KNOWN, "outcome"} <= set(rows.columns):
        return rows
    pending = _[KNOWN] >= until
    nothing = {name: pending.ifelse(ibis.null(rows[name].type()), _[name]) for name in (label.column, KNOWN)}
    return rows.mutate(**nothing, outcome=pending.ifelse("pending", _.outcome))


def _checked(rule: TableRule, rows: ibis.Table, until: datetime, problems: list[str]) -> Any:
    """The rows known before `until`, in order; None when columns are wrong. What is wrong joins `problems`."""
    wrong = list(schema_problems(rule, rows.schema().to_pyarrow()))
    if wrong:
        problems += wrong
        return None
    others = [name for name in rows.columns if name not in rule.columns]
    # A row without a moment is kept, to be found.
    known = rows.select([*rule.columns, *others]).filter(_[TIME].isnull() | (_[TIME] < until))
    table = known.order_by(rule.order).to_pyarrow()
    problems += row_problems(rule, table)
    return table


def _lacks(namespace: Mapping[str, Any]) -> Iterator[str]:
    if (n_services := len(_instances(namespace, FeatureService))) != 1:
        yield f"it has {n_services} feature services, not one"
    yield from (f"'{name}' is missing" for name in ("FEATURE_TABLES", "label_rows") if name not in namespace)
    views = {view.name: view for view in _instances(namespace, FeatureView)}
    tables = namespace.get("FEATURE_TABLES", {})
    yield from (
        f"feature view '{name}' has no computation in FEATURE_TABLES" for name in sorted(set(views) - set(tables))
    )
    yield from (f"FEATURE_TABLES['{name}'] has no feature view" for name in sorted(set(tables) - set(views)))
    for name, view in views.items():
        if not view.entity_columns:
            yield f"feature view '{name}' has no key in its schema"
        written = f"../data/features/{name}.parquet"
        if view.batch_source is None or view.batch_source.path != written:
            yield f"feature view '{name}' does not read {written}, where its table is written"
        elif view.batch_source.timestamp_field != TIME:
            yield f"feature view '{name}' has the timestamp_field '{view.batch_source.timestamp_field}', not '{TIME}'"
    features = Counter(field.name for view in views.values() for field in view.features)
    yield from (f"the feature '{name}' is in {n} views" for name, n in features.items() if n > 1)


def _instances(namespace: Mapping[str, Any], kind: Any) -> list[Any]:
    return list({id(value): value for value in namespace.values() if isinstance(value, kind)}.values())


def _refuse(what: str, problems: list[str], file: Path) -> None:
    if not problems:
        return
    shown = [f"\n  - {problem}" for problem in problems[:MAX_FINDINGS]]
    shown += [f"\n  and {len(problems) - MAX_FINDINGS} more"] * (len(problems) > MAX_FINDINGS)
    raise FeatureError(
        what.format(len(problems)) + "".join(shown),
        where=f"in {file}; nothing was written.",
        todo="Correct it and run again:  dvc repro featurize",
    )


def _meaning(node: Any) -> Any:
    """A syntax tree without what says nothing: positions, docstrings, empty fields (which differ between Pythons)."""
    if isinstance(node, list):
        said = [item for item in node if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))]
        return [_meaning(item) for item in said]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    return [type(node).__name__, {name: _meaning(value) for name, value in fields.items()}]


def _private_config(feature_repo: Path, config_file: str, folder: Path) -> RepoConfig:
    """Feast's configuration with a registry of its own and no online store, whose client need not be installed."""
    path = feature_repo / config_file
    try:
        said = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
        private = {"registry": str(folder / "registry.db"), "online_store": None, "repo_path": feature_repo}
        return RepoConfig(**{**said, **private})
    except (OSError, TypeError, yaml.YAMLError, ValidationError, FeastError) as error:
        raise FeatureError(
            f"Feast's configuration cannot be used: {str(error).splitlines()[0]}",
            where=f"at {path}",
            todo="Correct it, or name another file in conf/profile: feature_store.",
        ) from error
