"""Evidently's distances between two columns, and its report as one HTML file, under a table of our verdicts."""

import html
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

# Evidently sends usage data unless this is set before it is imported: https://docs.evidentlyai.com/faq/telemetry
os.environ["DO_NOT_TRACK"] = "1"

import pandas as pd
from evidently import DataDefinition, Dataset, Report

# The methods alone: `ValueDrift` also draws each column, and takes six times as long (0.7.23).
from evidently.legacy.calculations.stattests import StatTest, jensenshannon_stat_test, wasserstein_stat_test
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift

NUMBERS, CATEGORIES = wasserstein_stat_test, jensenshannon_stat_test

_STYLE = """
.dovetail {font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #fff; max-width: 1280px;
  margin: 0 auto; padding: 32px 24px}
.dovetail h1 {font-size: 26px; font-weight: 600; margin: 0 0 4px}
.dovetail h2 {font-size: 19px; font-weight: 600; margin: 36px 0 0}
.dovetail p {margin: 0 0 16px; color: #51606f}
.dovetail table {border-collapse: collapse; width: 100%}
.dovetail th, .dovetail td {text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid #e4e9ee}
.dovetail th {font-weight: 600; color: #51606f; font-size: 13px}
.dovetail td.number, .dovetail th.number {text-align: right; font-variant-numeric: tabular-nums}
.dovetail .verdict {display: inline-block; min-width: 132px; border-radius: 4px; padding: 0 8px; font-size: 13px;
  text-align: center}
.dovetail .ok {background: #e3f3e8; color: #17643a}
.dovetail .drift {background: #fbe3e0; color: #9c2414}
.dovetail .could_not_evaluate {background: #fff0cc; color: #7a5200}
"""


class VerdictRow(NamedTuple):
    """One column's line in the table; None is shown as a dash."""

    column: str
    outcome: str
    distance: float | None
    missing_reference: float | None
    missing_current: float | None
    reason: str
    new_categories: str


def distance(reference: "pd.Series[Any]", current: "pd.Series[Any]", is_number: bool) -> float | str:
    """How far the current values are from the reference, 0 is the same; a text when Evidently cannot say.

    Numbers: Wasserstein distance in standard deviations of the reference. Categories: Jensen-Shannon distance, 0 to 1.
    Both columns are without missing and infinite values.
    """
    method: StatTest = NUMBERS if is_number else CATEGORIES
    kind = ColumnType.Numerical if is_number else ColumnType.Categorical
    try:
        return float(method(reference, current, kind, method.default_threshold).drift_score)
    except (TypeError, ValueError, ZeroDivisionError) as error:
        return f"Evidently: {str(error)[:200]}"


def evidently_html(
    reference: Mapping[str, "pd.Series[Any]"],
    current: Mapping[str, "pd.Series[Any]"],
    numbers: Sequence[str],
    threshold: float,
) -> str:
    """Evidently's own report on the columns, in their order, as a self-contained page: each one's distributions.

    The methods and values are those of `distance`. `numbers` names the columns that are not categories. Columns may
    differ in length. Nothing is written or sent.
    """
    categories = [name for name in reference if name not in numbers]
    definition = DataDefinition(numerical_columns=list(numbers), categorical_columns=categories)
    datasets = [
        Dataset.from_pandas(pd.DataFrame(dict(columns)), data_definition=definition) for columns in (current, reference)
    ]
    metrics = [
        ValueDrift(column=name, method=NUMBERS.name if name in numbers else CATEGORIES.name, threshold=threshold)
        for name in reference
    ]
    return str(Report(metrics).run(*datasets).get_html_str(as_iframe=False))


def page(title: str, subtitle: str, rows: Sequence[VerdictRow], evidently: str | None) -> str:
    """One HTML page: our verdicts, the worst first, above Evidently's page (None: there was nothing to compare)."""
    order = {"drift": 0, "could_not_evaluate": 1, "ok": 2}
    lines = "".join(_line(row) for row in sorted(rows, key=lambda row: (order[row.outcome], -(row.distance or 0))))
    head = "".join(
        f"<th{' class=number' if is_number else ''}>{name}</th>"
        for name, is_number in [
            ("column", False),
            ("verdict", False),
            ("distance", True),
            ("missing before", True),
            ("missing now", True),
            ("why", False),
            ("new categories", False),
        ]
    )
    below = "<h2>Evidently: the columns that are farthest from the reference</h2>" if evidently else ""
    ours = (
        f"<style>{_STYLE}</style><section class=dovetail><h1>{html.escape(title)}</h1><p>{html.escape(subtitle)}</p>"
        f"<table><tr>{head}</tr>{lines}</table>{below}</section>"
    )
    if evidently is None:
        return f"<!DOCTYPE html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>{ours}</html>\n"
    before, tag, after = evidently.partition("<body>")
    return before + tag + ours + after


def _line(row: VerdictRow) -> str:
    shares = "".join(
        f"<td class=number>{'-' if share is None else f'{share:.1%}'}</td>"
        for share in (row.missing_reference, row.missing_current)
    )
    return (
        f"<tr><td>{html.escape(row.column)}</td><td><span class='verdict {row.outcome}'>{row.outcome}</span></td>"
        f"<td class=number>{'-' if row.distance is None else f'{row.distance:.3f}'}</td>{shares}"
        f"<td>{html.escape(row.reason)}</td><td>{html.escape(row.new_categories)}</td></tr>"
    )
