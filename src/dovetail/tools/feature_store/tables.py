"""The table of each feature view and the label rows, out of the expressions beside the views."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
from feast import FeatureView
from feast.types import from_feast_to_pyarrow_type
from ibis import _
from ibis.common.exceptions import OperationNotDefinedError, UnsupportedArgumentError, UnsupportedOperationError

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
from dovetail.settings.schema import Label
from dovetail.tools.feature_store.definitions import Definitions, refuse
from dovetail.tools.feature_store.engines import Engine


def compute(
    definitions: Definitions, engine: Engine, folder: Path, label: Label, until: datetime
) -> tuple[dict[str, pa.Table], pa.Table]:
    """The table of each feature view by (keys, event_timestamp), and the label rows by (event_timestamp, key).

    Whatever the engine, the tables are the same: schema, order and every value. `folder` holds a Parquet file a source.
    What is known only at `until` or later does not exist yet: a feature row is left out, so is a label row to be
    predicted then, and a label that becomes known then is null, 'pending'.

    Raises:
        FeatureError: a table is not what its view says, or the label rows are not; all problems of all are said.
    """
    sources = _Sources({path.stem: engine.read(path) for path in sorted(folder.glob("*.parquet"))})
    problems: list[str] = []
    tables = {
        name: _checked(engine, view_rule(view), definitions.feature_tables[name](sources), until, problems)
        for name, view in definitions.views.items()
    }
    asked = _known_labels(definitions.label_rows(sources, **label.arguments), label, until)
    label_rows = _checked(engine, _label_rule(definitions, label), asked, until, problems)
    if label_rows is not None:
        features = {field.name for view in definitions.views.values() for field in view.features}
        problems += label_problems(label_rows, label.column, features)
    refuse("the feature tables have {} problems", problems, definitions.file)
    return tables, label_rows


def view_rule(view: FeatureView) -> TableRule:
    """What a view's table must be: its keys and event_timestamp, then its features, sorted by the first two."""
    types = {field.name: from_feast_to_pyarrow_type(field.dtype) for field in [*view.entity_columns, *view.features]}
    keys = {key: types.pop(key) for key in view.join_keys}
    order = [*keys, TIME]
    return TableRule(view.name, {**keys, TIME: MOMENT, **types}, is_open=False, unique=order, order=order)


class _Sources(dict[str, ibis.Table]):
    """The sources by name; asking for another says which there are."""

    def __missing__(self, name: str) -> ibis.Table:
        raise FeatureError(
            f"there is no source '{name}'",
            where="in the validated data",
            expected=f"Sources: {', '.join(self) or 'none'}.",
            todo="List it under usecase.sources, or correct its name in the feature definitions.",
        )


def _label_rule(definitions: Definitions, label: Label) -> TableRule:
    asked: Mapping[str, Any] = dict.fromkeys([*definitions.join_keys, *definitions.request_columns])
    columns = {label.key: None, **asked, TIME: MOMENT, KNOWN: MOMENT, "outcome": pa.string(), label.column: None}
    return TableRule("label_rows", columns, is_open=True, unique=[label.key], order=[TIME, label.key])


def _known_labels(rows: ibis.Table, label: Label, until: datetime) -> ibis.Table:
    """The label rows as they look at `until`: a label that becomes known then or later is pending."""
    if not {label.column, KNOWN, "outcome"} <= set(rows.columns):
        return rows
    pending = _[KNOWN] >= until
    nothing = {name: pending.ifelse(ibis.null(rows[name].type()), _[name]) for name in (label.column, KNOWN)}
    return rows.mutate(**nothing, outcome=pending.ifelse("pending", _.outcome))


def _checked(engine: Engine, rule: TableRule, rows: ibis.Table, until: datetime, problems: list[str]) -> Any:
    """The rows known before `until`, in order; None when there are none to check. What is wrong joins `problems`."""
    wrong = list(schema_problems(rule, rows.schema().to_pyarrow()))
    if wrong:
        problems += wrong
        return None
    others = [name for name in rows.columns if name not in rule.columns]
    # A row without a moment is kept, to be found.
    known = rows.select([*rule.columns, *others]).filter(_[TIME].isnull() | (_[TIME] < until))
    try:
        table = engine.rows(known.order_by(rule.order))
    except (OperationNotDefinedError, UnsupportedOperationError, UnsupportedArgumentError) as error:
        problems.append(f"{rule.name}: {engine.name} cannot compute it: {error}")
        return None
    problems += row_problems(rule, table)
    return table
