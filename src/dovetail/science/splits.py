"""The parts of the training set by the moment of prediction, and the certificate that the split is honest.

A label row is one key (a flight) at its moment of prediction, `event_timestamp`; `label_known_at` says when its label
became known (null: not yet, or never). Everything is checked on the rows and tables themselves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dovetail.errors import SplitError
from dovetail.science.metrics import Numbers, roc_auc
from dovetail.settings.schema import Label, Split

LEARNED = ("train", "validation", "holdout")
PARTS = (*LEARNED, "live")
GAP = "gap"
# Fewer known values of a class than this rank by luck: such a feature is not judged.
MIN_CLASS_ROWS = 30


@dataclass(frozen=True)
class Check:
    """One promise, of the split or of the gate: whether it holds, and the numbers that say so."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True)
class Certificate:
    """All checks of a split; it holds when each of them does."""

    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The certificate for a JSON file."""
        return {"holds": self.holds, "checks": [asdict(check) for check in self.checks]}

    def demand(self, report: str) -> None:
        """Nothing when the certificate holds; `report` is the path of the file that holds it whole.

        Raises:
            SplitError: a check fails; every failed check is listed.
        """
        failed = [check for check in self.checks if not check.holds]
        if failed:
            raise SplitError(
                f"the split fails {len(failed)} of {len(self.checks)} checks\n"
                + "\n".join(f"  - {check.name}: {check.detail}" for check in failed),
                where=f"Full report: {report}",
                todo="Change usecase.split or usecase.label in conf/, or the named features in feature_repo/.",
            )


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """A feature view as the certificate needs it: its own rows, not what the offline store made of them.

    Args:
        name: The view's name.
        rows: One row a key and moment: the keys, the features and `event_timestamp`, when they became known.
        keys: Columns of `rows` to the columns of the label rows that they are joined with.
        features: Columns of `rows` to the names of the joined columns.
        ttl: How long a value may be used after it became known, inclusive; None: for ever.
    """

    name: str
    rows: pd.DataFrame
    keys: Mapping[str, str]
    features: Mapping[str, str]
    ttl: timedelta | None


def part_of(event_timestamp: "pd.Series[Any]", split: Split) -> Numbers:
    """Each row's part: a name of `PARTS`, or `GAP` for a row between two parts or before them."""
    parts = np.full(len(event_timestamp), GAP, dtype=object)
    for name in LEARNED:
        period = getattr(split, name)
        parts[(event_timestamp >= period.start) & (event_timestamp < period.end)] = name
    parts[event_timestamp >= split.holdout.end] = "live"
    return parts


def input_columns(columns: Iterable[str], label: Label) -> list[str]:
    """The model's inputs: those columns of a part that neither name a row nor tell how it ended."""
    others = {label.key, label.column, "event_timestamp", "label_known_at", "outcome"}
    return [name for name in columns if name not in others]


def split(rows: pa.Table, settings: Split) -> dict[str, pa.Table]:
    """The rows of each part and of the gaps between them, in their order: every row is in exactly one."""
    parts = part_of(rows["event_timestamp"].to_pandas(), settings)
    return {name: rows.filter(pa.array(parts == name)) for name in (*PARTS, GAP)}


def certify(
    parts: Mapping[str, pd.DataFrame],
    tables: Sequence[FeatureTable],
    inputs: Sequence[str],
    label: Label,
    settings: Split,
) -> Certificate:
    """The certificate of the parts: `LEARNED` hold labelled rows only, `live` all; `inputs` are the model's columns."""
    return Certificate(
        (
            _both_classes(parts, label, settings),
            _no_row_twice(parts, label),
            _time_order(parts),
            _gaps(parts, label, settings),
            _maturity(parts, label),
            _known_in_time(pd.concat([parts[name] for name in PARTS], ignore_index=True), tables),
            _no_suspicious_input(parts["train"], inputs, label, settings),
        )
    )


def _both_classes(parts: Mapping[str, pd.DataFrame], label: Label, settings: Split) -> Check:
    found, problems = [], []
    moments = pd.concat([parts[name]["event_timestamp"] for name in PARTS])
    for name in LEARNED:
        period, rows, positives = getattr(settings, name), len(parts[name]), int(parts[name][label.column].sum())
        found.append(f"{name} {rows} rows, {positives} positive")
        if not rows:
            span = f"the others run from {moments.min()} to {moments.max()}" if len(moments) else "there are no rows"
            problems.append(f"usecase.split.{name} ({period.start} to {period.end}) has no labelled row; {span}")
        elif positives in (0, rows):
            problems.append(f"usecase.split.{name} has one class only ({positives} of {rows} positive)")
    return Check("each part has both classes", not problems, "; ".join(problems or found))


def _no_row_twice(parts: Mapping[str, pd.DataFrame], label: Label) -> Check:
    keys = pd.concat([parts[name][label.key] for name in PARTS])
    twice = keys[keys.duplicated()].unique()
    examples = f" (e.g. {', '.join(str(key)[:40] for key in twice[:5])})" if len(twice) else ""
    return Check("no row is in two parts", not len(twice), f"{len(twice)} of {keys.nunique()} keys repeat{examples}")


def _time_order(parts: Mapping[str, pd.DataFrame]) -> Check:
    filled = [(name, parts[name]["event_timestamp"]) for name in PARTS if len(parts[name])]
    problems = [
        f"{later} begins at {after.min()}, before {earlier} ends at {before.max()}"
        for (earlier, before), (later, after) in pairwise(filled)
        if after.min() <= before.max()
    ]
    spans = [f"{name} {moments.min()} to {moments.max()}" for name, moments in filled]
    return Check("the parts are in the order of time", not problems, "; ".join(problems or spans))


def _gaps(parts: Mapping[str, pd.DataFrame], label: Label, settings: Split) -> Check:
    """What was learned or tuned on one part must have been possible before the next part's first prediction."""
    found, problems = [], []
    for earlier, later in pairwise(LEARNED):
        gap = getattr(settings, later).start - getattr(settings, earlier).end
        last_known, first = parts[earlier]["label_known_at"].max(), parts[later]["event_timestamp"].min()
        found.append(f"{earlier} to {later}: {gap}, last label known {last_known}, first prediction {first}")
        if gap < timedelta(hours=label.maturity_hours):
            problems.append(f"{earlier} to {later}: the gap is {gap}, the maturity {label.maturity_hours:g} hours")
        if last_known >= first:
            late = int((parts[earlier]["label_known_at"] >= first).sum())
            problems.append(f"{late} labels of {earlier} were not known at {later}'s first prediction, {first}")
    return Check("labels are known before the next part begins", not problems, "; ".join(problems or found))


def _maturity(parts: Mapping[str, pd.DataFrame], label: Label) -> Check:
    rows = pd.concat([parts[name][["event_timestamp", "label_known_at"]] for name in PARTS]).dropna()
    hours = (rows["label_known_at"] - rows["event_timestamp"]).dt.total_seconds() / 3600
    late = int((hours > label.maturity_hours).sum())
    longest = f"the longest took {hours.max():.1f} hours" if len(hours) else "there are none"
    detail = f"{late} of {len(hours)} labels took longer than usecase.label.maturity_hours"
    return Check("labels are mature in time", not late, f"{detail} ({label.maturity_hours:g}); {longest}")


def _known_in_time(rows: pd.DataFrame, tables: Sequence[FeatureTable]) -> Check:
    """Every joined value against a join of pandas' own, which cannot see past a row's moment."""
    n_values, problems = 0, []
    for table in tables:
        latest = _latest_known(rows, table)
        for column, name in table.features.items():
            expected = table.rows[column].reset_index(drop=True).reindex(latest).to_numpy()
            joined = rows[name].to_numpy()
            differs = (joined != expected) & ~(pd.isna(joined) & pd.isna(expected))
            n_values += len(rows)
            if differs.any():
                problems.append(f"{name} of {table.name} ({int(differs.sum())} of {len(rows)} rows)")
    detail = f"{n_values} values of {len(tables)} feature tables are the last ones known at their row's moment"
    if problems:
        detail = f"not the last value known at the row's moment: {', '.join(problems[:10])}"
    return Check("no feature is known later than its prediction", not problems, detail)


def _latest_known(rows: pd.DataFrame, table: FeatureTable) -> Numbers:
    """For each row, where the table's last row at or before it stands; -1 where there is none within the ttl."""
    # Null keys match nothing; keys become small integers, which sort and compare quickly.
    both = [pd.concat([rows[theirs], table.rows[own]], ignore_index=True) for own, theirs in table.keys.items()]
    codes = pd.DataFrame({str(i): pd.factorize(column)[0] for i, column in enumerate(both)})
    code = codes.groupby(list(codes), sort=False).ngroup().mask((codes < 0).any(axis=1), -1).to_numpy()
    left = pd.DataFrame({"at": rows["event_timestamp"].array, "key": code[: len(rows)]})
    right = pd.DataFrame({"at": table.rows["event_timestamp"].array, "key": code[len(rows) :]})
    matched = pd.merge_asof(
        left.rename_axis("row").reset_index().sort_values("at", kind="stable"),
        right.rename_axis("latest").reset_index().query("key >= 0").sort_values("at", kind="stable"),
        on="at",
        by="key",
        tolerance=table.ttl,
    )
    return matched.set_index("row")["latest"].reindex(range(len(rows))).fillna(-1).astype(int).to_numpy()


def _no_suspicious_input(train: pd.DataFrame, inputs: Sequence[str], label: Label, settings: Split) -> Check:
    y = train[label.column].to_numpy(dtype=float)
    strengths: dict[str, float] = {}
    for name in inputs:
        missing = train[name].isna().to_numpy()
        strengths[name] = _strength(y[~missing], train[name][~missing])
        strengths[f"{name} is missing"] = _strength(y, pd.Series(missing.astype(float)))
    strongest = sorted(strengths.items(), key=lambda item: -item[1])
    suspicious = [(name, auc) for name, auc in strongest if auc > settings.suspicious_auc]
    detail = ", ".join(f"{name} ranks the label with AUC {auc:.3f}" for name, auc in (suspicious or strongest[:3])[:10])
    return Check(
        "no single feature knows the label", not suspicious, f"{detail}; suspicious: {settings.suspicious_auc:g}"
    )


def _strength(y: Numbers, values: "pd.Series[Any]") -> float:
    """How well one input alone ranks the labels, in its better direction: 0.5 is chance, or too few rows to say."""
    if min(y.sum(), len(y) - y.sum()) < MIN_CLASS_ROWS:
        return 0.5
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    score = values.to_numpy(dtype=float) if is_number else _learned_rate(y, values)
    auc = roc_auc(y, score)
    return max(auc, 1 - auc)


def _learned_rate(y: Numbers, values: "pd.Series[Any]") -> Numbers:
    """Each category's share of positives in the other half of the rows: a rare category must not know itself."""
    codes = pd.factorize(values)[0]
    odd, score = np.arange(len(y)) % 2 == 1, np.empty(len(y))
    for half in (odd, ~odd):
        rows = np.bincount(codes[~half], minlength=codes.max() + 1)
        positives = np.bincount(codes[~half], y[~half], minlength=codes.max() + 1)
        score[half] = np.where(rows > 0, positives / np.maximum(rows, 1), y[~half].mean())[codes[half]]
    return score
