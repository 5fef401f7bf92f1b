"""What the gate kept about a version, as its file has it, in the records that a card shows."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dovetail.pages.records import Judged, Metric, Rule, Slice, Unknown
from dovetail.science.comparison import Estimate
from dovetail.science.metrics import METRICS, Calibration

Record = Mapping[str, Any]


def judged(record: Record, evaluation: Record | Unknown) -> Judged:
    """What the gate answered; rules about behaviour have a place of their own, unless they are broken.

    Args:
        record: What the gate kept.
        evaluation: What `evaluate` measured before.
    """
    rules = record["rules"]
    checks = [Rule(check["name"], check["holds"], check["detail"]) for check in record["checks"]]
    return Judged(
        decision=record["decision"],
        mode=rules["mode"],
        rules=tuple(rule for rule in checks if not (rule.holds and rule.name.startswith("behaviour "))),
        rows=_rows(record["rows"], evaluation),
        metric=rules["metric"],
        slice_tolerance=rules["slice_tolerance"],
        confidence=rules["confidence"],
    )


def metrics(record: Record, evaluation: Record | Unknown) -> tuple[Metric, ...] | Unknown:
    """As the gate measured them; if it did not, as `evaluate` did, without the champion."""
    if record["models"]:
        models = record["models"]
        own, champion, baseline = (models.get(role) for role in ("challenger", "champion", "baseline"))
        gain = record["gains"].get("champion")
    elif isinstance(evaluation, Unknown):
        return evaluation
    else:
        own, champion, baseline = evaluation["models"]["model"], None, evaluation["models"]["baseline"]
        gain = None
    return tuple(
        Metric(
            name,
            _estimate(own[name]),
            _estimate(champion[name]) if champion else None,
            _estimate(gain[name]) if gain else None,
            _estimate(baseline[name]),
        )
        for name in METRICS
    )


def slices(record: Record) -> tuple[Slice, ...] | Unknown:
    """The deciding metric by slice, beside the champion's where there is one."""
    if not record["models"]:
        return _unmeasured(record)
    has_champion = "champion" in record["models"]
    return tuple(
        Slice(
            row["slice"],
            row["value"],
            row["rows"],
            row["positives_share"],
            _estimate(row["challenger"]),
            _estimate(row["champion"]) if has_champion else None,
            _estimate(row["gain"]) if has_champion else None,
            row["too_small"],
        )
        for row in record["slices"]
    )


def calibration(record: Record) -> Mapping[str, Calibration] | Unknown:
    """Both models' bins, by the names of the page."""
    if not record["models"]:
        return _unmeasured(record)
    bins = {said: record["calibration"].get(role) for said, role in (("own", "challenger"), ("champion", "champion"))}
    return {
        said: Calibration(*(np.array(found[part], dtype=float) for part in Calibration._fields))
        for said, found in bins.items()
        if found
    }


def behaviour(record: Record) -> tuple[Rule, ...] | Unknown:
    """How the predictions answered to each change that the use case asks about."""
    if not record["models"]:
        return _unmeasured(record)
    return tuple(Rule(answer["name"], answer["holds"], answer["detail"]) for answer in record["behaviour"])


def _rows(rows: Record | None, evaluation: Record | Unknown) -> str:
    if rows:
        period, share = f"{rows['first'][:10]} to {rows['last'][:10]}", rows["positives"] / max(rows["rows"], 1)
        return f"{rows['rows']:,} rows of the holdout, {period}, {share:.1%} positive"
    return "the holdout" if isinstance(evaluation, Unknown) else f"{evaluation['rows']:,} rows of the holdout"


def _unmeasured(record: Record) -> Unknown:
    return Unknown(
        "the gate was off" if record["decision"] == "off" else "the gate could not measure this version fairly"
    )


def _estimate(value: Mapping[str, float | None]) -> Estimate:
    """An estimate as JSON has it; null is what could not be measured."""
    parts = (value[part] for part in Estimate._fields)
    return Estimate(*(math.nan if part is None else float(part) for part in parts))
