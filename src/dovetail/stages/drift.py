"""The drift report: the newest full month against the training part."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, NamedTuple

import pandas as pd

from dovetail.files import read_parquet, write_json, write_text
from dovetail.science.drift import (
    ColumnDrift,
    Month,
    Summary,
    comparable,
    conclude,
    is_number,
    judge,
    newest_full_month,
    obstacle,
)
from dovetail.science.splits import input_columns
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import Drift, Pipeline
from dovetail.settings.workspace import Workspace
from dovetail.tools import drift_reports

log = logging.getLogger(__name__)
COMPARED = {"reference": "data/training_set/train.parquet", "current": "data/training_set/live.parquet"}
# More rows than this move a distance by less than a hundredth, and cost time.
MAX_ROWS = 20_000
# Evidently draws these, the farthest first; each column takes a tenth of a second.
N_DRAWN = 12
Columns = Mapping[str, "pd.Series[Any]"]


class Sample(NamedTuple):
    """What was compared of one column: the distance, and the values of the reference and of the month."""

    distance: float
    reference: "pd.Series[Any]"
    current: "pd.Series[Any]"


def drift(settings: Pipeline, workspace: Workspace) -> None:
    """Write reports/drift.html to look at and metrics/drift.json to read by program.

    Nothing stops it: what cannot be compared is said to be so, in both files.
    """
    usecase = settings.usecase
    paths = {part: workspace.read(path) for part, path in COMPARED.items()}
    train, live = (read_parquet(path).to_pandas() for path in paths.values())
    compared = [{"part": part, "path": COMPARED[part], "md5": str(dvc_hash(path))} for part, path in paths.items()]
    month = newest_full_month(live["event_timestamp"], usecase.until)
    moments = live["event_timestamp"]
    current = live[(moments >= month.start) & (moments < month.end)] if month else live.iloc[:0]
    log.info("drift: %d rows of %s against %d training rows", len(current), _said(month), len(train))

    mature_until = usecase.until - timedelta(hours=usecase.label.maturity_hours)
    reference, now = ({name: part[name] for name in input_columns(part, usecase.label)} for part in (train, current))
    mature = current.loc[current["event_timestamp"] < mature_until, usecase.label.column].dropna()
    label = usecase.label.column
    verdicts, evidently = compare(
        {**reference, label: train[label].astype(str)}, {**now, label: mature.astype(int).astype(str)}, usecase.drift
    )
    summary = conclude(verdict for verdict in verdicts if verdict.column != label)
    write_json(report(month, len(current), compared, summary, verdicts), workspace.write("metrics/drift.json"))
    page = html_page(month, len(current), len(train), compared, summary, verdicts, evidently)
    write_text(page, workspace.write("reports/drift.html"))
    log.info("drift: %s, %d of %d inputs drift", summary.outcome, summary.n_drifted, summary.n_columns)


def compare(reference: Columns, current: Columns, settings: Drift) -> tuple[list[ColumnDrift], str | None]:
    """A verdict on each column of either part, in order, and Evidently's page on those farthest apart."""
    samples: dict[str, Sample] = {}
    verdicts = []
    for name in dict.fromkeys([*reference, *current]):
        before, after = reference.get(name), current.get(name)
        distance: float | str = obstacle(before, after, settings)
        if not distance and before is not None and after is not None:
            reference_values, values = comparable(before, MAX_ROWS), comparable(after, MAX_ROWS)
            distance = drift_reports.distance(reference_values, values, is_number(before))
            if isinstance(distance, float):
                samples[name] = Sample(distance, reference_values, values)
        verdicts.append(judge(name, before, after, distance, settings))
    farthest = sorted(samples, key=lambda name: -samples[name].distance)[:N_DRAWN]
    return verdicts, _evidently({name: samples[name] for name in farthest}, settings) if samples else None


def report(
    month: Month | None,
    rows: int,
    compared: Sequence[Mapping[str, str]],
    summary: Summary,
    verdicts: Sequence[ColumnDrift],
) -> dict[str, Any]:
    """The verdicts for programs; what is no number is in lists, so that `dvc metrics show` shows the few numbers only.

    `compared` says which file each part is of, with DVC's hash: by it `trace` finds the models behind a report.
    """
    return {
        "month": _said(month),
        "rows": rows,
        "compared": list(compared),
        **asdict(summary),
        "columns": [asdict(verdict) for verdict in verdicts],
    }


def html_page(
    month: Month | None,
    rows: int,
    train_rows: int,
    compared: Sequence[Mapping[str, str]],
    summary: Summary,
    verdicts: Sequence[ColumnDrift],
    evidently: str | None,
) -> str:
    """The verdicts for people, above Evidently's report."""
    subtitle = (
        f"{rows:,} live rows against {train_rows:,} training rows: {summary.n_drifted} of {summary.n_columns} inputs"
        f" drift, {summary.n_could_not_evaluate} could not be evaluated."
    )
    parts = "; ".join(f"{part['part']}: {part['path']}, MD5 {part['md5']}" for part in compared)
    lines = [
        drift_reports.VerdictRow(
            verdict.column,
            verdict.outcome,
            verdict.distance,
            verdict.missing_reference,
            verdict.missing_current,
            verdict.reason,
            f"{', '.join(verdict.new_categories)} ({verdict.new_share:.2%} of rows)" if verdict.new_categories else "",
        )
        for verdict in verdicts
    ]
    return drift_reports.page(f"Drift in {_said(month)}: {summary.outcome}", f"{subtitle} {parts}.", lines, evidently)


def _said(month: Month | None) -> str:
    return month.name if month else "no full month"


def _evidently(samples: Mapping[str, Sample], settings: Drift) -> str:
    reference = {name: sample.reference for name, sample in samples.items()}
    current = {name: sample.current for name, sample in samples.items()}
    numbers = [name for name, values in reference.items() if is_number(values)]
    return drift_reports.evidently_html(reference, current, numbers, settings.threshold)
