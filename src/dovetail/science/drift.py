"""Has the data moved? What can be compared at all, the verdict on each column, and the verdict on the whole.

A distance says nothing about an empty, constant or tiny column, and ignores missing values: both are judged here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from dovetail.settings.schema import Drift

Outcome = Literal["ok", "drift", "could_not_evaluate"]
# The whole drifts when this share of its columns does: Evidently's own rule.
DRIFTED_SHARE = 0.5
N_EXAMPLES, EXAMPLE_LENGTH = 5, 40


class Month(NamedTuple):
    """A calendar month of UTC: from `start` up to, not including, `end`."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """The month as year and month, e.g. 2013-11."""
        return f"{self.start:%Y-%m}"


@dataclass(frozen=True)
class ColumnDrift:
    """One column's verdict.

    Args:
        column: Its name.
        outcome: ok, drift or could_not_evaluate.
        reason: Why, in words; empty when ok.
        distance: From the reference's distribution, 0 is the same; None when there is none.
        missing_reference, missing_current: Shares of missing values; None when the column or its rows are not there.
        new_categories: Up to five values that the reference does not have, sorted.
        new_share: The share of rows with such a value.
    """

    column: str
    outcome: Outcome
    reason: str
    distance: float | None
    missing_reference: float | None
    missing_current: float | None
    new_categories: tuple[str, ...]
    new_share: float


@dataclass(frozen=True)
class Summary:
    """The verdict on the whole, with the columns counted by outcome; `drifted_share` is of those evaluated."""

    outcome: Outcome
    n_columns: int
    n_drifted: int
    n_could_not_evaluate: int
    drifted_share: float


def newest_full_month(moments: "pd.Series[Any]", until: datetime) -> Month | None:
    """The last calendar month that is over at `until`, if the rows reach back to its first day; else None."""
    end = until.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month = Month((end - timedelta(days=1)).replace(day=1), end)
    return month if len(moments) and moments.min() < month.start + timedelta(days=1) else None


def is_number(column: "pd.Series[Any]") -> bool:
    """Whether the column holds numbers to measure, not categories to count."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def obstacle(reference: "pd.Series[Any] | None", current: "pd.Series[Any] | None", settings: Drift) -> str:
    """Why the columns cannot be compared; empty when they can. None is a column that is not there."""
    if reference is None or current is None:
        return f"the column is missing in the {'reference' if reference is None else 'current data'}"
    if is_number(reference) != is_number(current) and reference.notna().any() and current.notna().any():
        kinds = ["numbers" if is_number(column) else "categories" for column in (reference, current)]
        return f"the reference holds {kinds[0]}, the current data {kinds[1]}"
    found = (_defect(reference, "reference", settings.min_rows), _defect(current, "current data", settings.min_rows))
    return "; ".join(filter(None, found))


def comparable(column: "pd.Series[Any]", max_rows: int) -> "pd.Series[Any]":
    """The known values, at most `max_rows` of them, evenly spread over the rows: no chance is needed to draw them."""
    known = column.dropna()
    kept = np.linspace(0, len(known) - 1, min(len(known), max_rows)).astype(int)
    return known.iloc[kept].reset_index(drop=True)


def judge(
    name: str,
    reference: "pd.Series[Any] | None",
    current: "pd.Series[Any] | None",
    distance: float | str | None,
    settings: Drift,
) -> ColumnDrift:
    """The column's verdict; `distance` is a text that says what went wrong where it could not be measured."""
    before, after = _missing_share(reference), _missing_share(current)
    new, new_share = _new_categories(reference, current)
    measured = distance if isinstance(distance, float) and np.isfinite(distance) else None
    signs = []
    if measured is not None and measured >= settings.threshold:
        signs.append(f"distance {measured:.3f}, at least {settings.threshold:g}")
    if before is not None and after is not None and abs(after - before) > settings.missing_tolerance:
        signs.append(f"missing share {after:.1%}, was {before:.1%}")
    if measured is None:
        why = distance if isinstance(distance, str) else "the distance is not a number"
        return ColumnDrift(name, "could_not_evaluate", "; ".join([why, *signs]), None, before, after, new, new_share)
    outcome: Outcome = "drift" if signs else "ok"
    return ColumnDrift(name, outcome, "; ".join(signs), measured, before, after, new, new_share)


def conclude(columns: Iterable[ColumnDrift]) -> Summary:
    """Drift when at least half of the evaluated columns drift; could_not_evaluate when there are none."""
    outcomes = [column.outcome for column in columns]
    n_drifted, n_evaluated = outcomes.count("drift"), len(outcomes) - outcomes.count("could_not_evaluate")
    share = n_drifted / n_evaluated if n_evaluated else 0.0
    outcome: Outcome = "could_not_evaluate" if not n_evaluated else "drift" if share >= DRIFTED_SHARE else "ok"
    return Summary(outcome, len(outcomes), n_drifted, len(outcomes) - n_evaluated, share)


def _defect(column: "pd.Series[Any]", where: str, min_rows: int) -> str:
    known = column.dropna()
    if is_number(column) and np.isinf(known.to_numpy(dtype=float)).any():
        return f"{int(np.isinf(known.to_numpy(dtype=float)).sum())} infinite values in the {where}"
    if known.empty:
        return f"empty in the {where}"
    if len(known) < min_rows:
        return f"{len(known)} known values in the {where}, fewer than usecase.drift.min_rows ({min_rows})"
    if known.nunique() == 1:
        return f"constant in the {where} ({str(known.iloc[0])[:EXAMPLE_LENGTH]})"
    return ""


def _missing_share(column: "pd.Series[Any] | None") -> float | None:
    return None if column is None or column.empty else float(column.isna().mean())


def _new_categories(
    reference: "pd.Series[Any] | None", current: "pd.Series[Any] | None"
) -> tuple[tuple[str, ...], float]:
    if reference is None or current is None or is_number(reference) or current.empty:
        return (), 0.0
    is_new = current.notna() & ~current.isin(reference.dropna().unique())
    names = sorted({str(value)[:EXAMPLE_LENGTH] for value in current[is_new].unique()})
    return tuple(names[:N_EXAMPLES]), float(is_new.mean())
