"""The work of a cold `dvc repro` as one plain script of pandas, DuckDB and scikit-learn: what a team writes first.

Same settings, checks, features, models, bootstrap and pictures, and the same numbers in the end; but no versions,
cache, feature store, tracking, registry or drift tool.  Run it with:  python benchmarks/plain_script.py FOLDER
"""

import base64
import importlib.util
import io
import json
import sqlite3
import sys
import time
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import joblib  # type: ignore[import-untyped]
import matplotlib as mpl
import numpy as np
import pandas as pd
import yaml
from matplotlib import pyplot as plt
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance
from sklearn.calibration import calibration_curve
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

ROOT = Path(__file__).resolve().parents[1]
SEED = 42
TYPES = {
    "string": "string[pyarrow]",
    "integer": "int64[pyarrow]",
    "number": "double[pyarrow]",
    "timestamp": "timestamp[us, tz=UTC][pyarrow]",
}
# Each feature table's key and how many hours a value lives.
VIEWS = {
    "origin_weather": ("origin", 6),
    "origin_delays": ("origin", 24),
    "carrier_delays": ("carrier", 7 * 24),
    "destination_delays": ("dest", 7 * 24),
    "route_delays": ("route", 28 * 24),
    "aircraft_last_flight": ("tailnum", 48),
    "aircraft": ("tailnum", None),
}
DELAY_WINDOWS = {"origin": (3, 24), "carrier": (24, 7 * 24), "dest": (24, 7 * 24), "route": (7 * 24, 28 * 24)}
WINDOW_NAMES = {3: "3h", 24: "24h", 7 * 24: "7d", 28 * 24: "28d"}
NOT_INPUTS = ("flight_id", "event_timestamp", "label_known_at", "outcome", "route", "tailnum", "is_late")
PARTS = ("train", "validation", "holdout")
METRICS = ("roc_auc", "average_precision", "brier", "log_loss")
Frames = dict[str, pd.DataFrame]


def main() -> None:
    """Run all steps, write into the folder, print the seconds of each step and the AUC on the holdout."""
    out = Path(sys.argv[1])
    mpl.use("Agg")
    case = yaml.safe_load((ROOT / "conf/usecase/flights.yaml").read_text())

    def step(name: str, function: Any, *arguments: Any) -> Any:
        print(f"step {name}", flush=True)
        started = time.perf_counter()
        result = function(case, out, *arguments)
        print(f"  {time.perf_counter() - started:.2f} s", flush=True)
        return result

    sources = step("ingest", ingest)
    valid = step("validate", validate, sources)
    database = step("featurize", featurize, valid)
    parts = step("assemble", assemble, database)
    models, threshold = step("train", train, parts)
    auc = step("evaluate", evaluate, parts["holdout"], models, threshold)
    step("register", register, models, threshold, auc)
    step("drift", drift, parts)
    rows = {name: len(part) for name, part in parts.items()}
    (out / "results.json").write_text(json.dumps({"rows": rows, "roc_auc": auc}, indent=2))
    print(f"rows {rows}; AUC on the holdout {auc:.4f}")


def ingest(case: dict[str, Any], out: Path) -> Frames:
    """The sources, typed and sorted, as much as exists at `until`."""
    (out / "raw").mkdir(parents=True)
    tables = {}
    for name, source in case["sources"].items():
        types = {column: TYPES[rule["type"]] for column, rule in source["columns"].items()}
        if source["kind"] == "sql":
            with closing(sqlite3.connect(ROOT / "data/operational.sqlite")) as connection:
                frame = pd.read_sql_query(source["query"], connection, dtype_backend="pyarrow").astype(types)
        else:
            package, _, path = source["path"].removeprefix("package://").partition("/")
            folder = Path(importlib.util.find_spec(package).submodule_search_locations[0])  # type: ignore
            frame = pd.read_csv(folder / path, na_values=["", "NA"], keep_default_na=False, engine="pyarrow").astype(
                types
            )
        if "time" in source:
            frame = frame[frame[source["time"]] < pd.Timestamp(case["until"], tz="UTC")]
        tables[name] = frame.sort_values(source["key"], ignore_index=True)
        tables[name].to_parquet(out / f"raw/{name}.parquet", compression="zstd")
    return tables


def validate(case: dict[str, Any], out: Path, sources: Frames) -> Frames:
    """The rows that keep every rule; the others go to quarantine, too many of them stop the script."""
    (out / "valid").mkdir()
    (out / "quarantine").mkdir()
    valid = {}
    for name, frame in sources.items():
        source = case["sources"][name]
        broken = {"key": frame.duplicated(source["key"], keep=False)}
        for column, rule in source["columns"].items():
            values = frame[column]
            if not rule.get("nullable"):
                broken[f"{column} is null"] = values.isna()
            if "min" in rule:
                broken[f"{column} < {rule['min']}"] = values < rule["min"]
            if "max" in rule:
                broken[f"{column} > {rule['max']}"] = values > rule["max"]
            if "one_of" in rule:
                broken[f"{column} is unknown"] = values.notna() & ~values.isin(rule["one_of"])
            if "matches" in rule:
                broken[f"{column} is misspelt"] = ~values.str.fullmatch(rule["matches"])
        rules = pd.DataFrame({rule: bad.fillna(False).to_numpy(dtype=bool) for rule, bad in broken.items()})
        is_bad = rules.any(axis=1)
        if is_bad.mean() > source["max_quarantined"]:
            sys.exit(f"{name}: {int(is_bad.sum())} bad rows:\n{rules.sum()}")
        valid[name] = frame[~is_bad]
        valid[name].to_parquet(out / f"valid/{name}.parquet", compression="zstd")
        if is_bad.any():
            reasons = rules[is_bad].apply(lambda row: "; ".join(row.index[row]), axis=1)
            frame[is_bad].assign(reason=reasons).to_parquet(out / f"quarantine/{name}.parquet")
    return valid


def featurize(case: dict[str, Any], out: Path, valid: Frames) -> duckdb.DuckDBPyConnection:
    """A database with the feature tables and the label rows, each also written as Parquet."""
    (out / "features").mkdir()
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    for name in valid:
        database.execute(f"CREATE VIEW {name} AS FROM '{out}/valid/{name}.parquet'")
    database.execute(TIMED_FLIGHTS)
    until = f"TIMESTAMPTZ '{case['until']} 00:00:00+00'"
    queries = {"origin_weather": WEATHER, "aircraft_last_flight": LAST_FLIGHT, "aircraft": AIRCRAFT}
    queries |= {view: delays(key) for view, (key, _) in VIEWS.items() if view.endswith("_delays")}
    for view, (key, _) in VIEWS.items():
        order = f"{key}, event_timestamp"
        database.execute(f"CREATE TABLE {view} AS FROM ({queries[view]}) WHERE event_timestamp < {until}")
        repeated = f"SELECT count(*) - count(DISTINCT ({order})) FROM {view}"  # noqa: S608 - our own names
        if database.sql(repeated).fetchall() != [(0,)]:
            sys.exit(f"{view}: keys repeat")
        database.execute(f"COPY (FROM {view} ORDER BY {order}) TO '{out}/features/{view}.parquet' (COMPRESSION zstd)")
    arguments = case["label"]["arguments"]
    database.execute(LABEL_ROWS.format(until=until, **arguments))
    database.execute(f"COPY label_rows TO '{out}/label_rows.parquet' (COMPRESSION zstd)")
    summaries = {view: database.sql(f"SUMMARIZE {view}").df() for view in [*VIEWS, "label_rows"]}
    missing = {view: dict(zip(s["column_name"], s["null_percentage"], strict=True)) for view, s in summaries.items()}
    (out / "features.json").write_text(json.dumps(missing, indent=2, default=str))
    return database


# The scheduled arrival is the first moment after departure at which the destination's clocks show sched_arr_time.
TIMED_FLIGHTS = """
CREATE TABLE timed_flights AS
WITH planned AS (
    SELECT flights.*, time_hour + to_minutes(minute) AS scheduled_at, origin || '-' || dest AS route,
        CASE WHEN dest IN ('BQN', 'PSE', 'SJU') THEN 'America/Puerto_Rico'
             WHEN dest = 'STT' THEN 'America/St_Thomas' ELSE tzone END AS zone
    FROM flights LEFT JOIN airports ON dest = faa
), local AS (SELECT *, timezone(zone, scheduled_at) AS clock FROM planned)
SELECT *, scheduled_at + to_minutes(arr_delay + (
    sched_arr_time // 100 * 60 + sched_arr_time % 100 - hour(clock) * 60 - minute(clock) + 1440) % 1440) AS arrived_at
FROM local
"""
WEATHER = """
SELECT origin, time_hour + INTERVAL 1 HOUR AS event_timestamp,
    temp, dewp, humid, wind_speed, wind_gust, precip, pressure, visib FROM weather
"""
LAST_FLIGHT = """
SELECT tailnum, arrived_at AS event_timestamp, max(arr_delay) AS aircraft_last_arr_delay,
    max(dep_delay) AS aircraft_last_dep_delay, max(distance) AS aircraft_last_distance
FROM timed_flights WHERE arr_delay IS NOT NULL AND tailnum IS NOT NULL GROUP BY ALL
"""
AIRCRAFT = """
SELECT tailnum, make_timestamptz(this_year, 1, 1, 0, 0, 0) AS event_timestamp,
    this_year - year AS aircraft_age_years, seats AS aircraft_seats
FROM planes CROSS JOIN (SELECT DISTINCT year AS this_year FROM flights)
"""
LABEL_ROWS = """
CREATE TABLE label_rows AS
SELECT flight_id, route, tailnum, carrier, origin, dest, hour, isodow(make_date(year, month, day)) AS weekday, distance,
    scheduled_at - INTERVAL {lead_minutes} MINUTE AS event_timestamp,
    CASE WHEN arrived_at < {until} THEN (arr_delay > {late_after_minutes})::TINYINT END AS is_late,
    CASE WHEN arrived_at < {until} THEN arrived_at END AS label_known_at,
    CASE WHEN arrived_at >= {until} THEN 'pending' WHEN dep_time IS NULL THEN 'cancelled'
         WHEN arr_delay IS NULL THEN 'diverted' ELSE 'arrived' END AS outcome
FROM timed_flights WHERE scheduled_at - INTERVAL {lead_minutes} MINUTE < {until} ORDER BY event_timestamp, flight_id
"""


def delays(key: str) -> str:
    """A query for the delay statistics of a key at each moment one of its flights lands."""
    columns = []
    for hours in DELAY_WINDOWS[key]:
        name = WINDOW_NAMES[hours]
        over = f"OVER (PARTITION BY {key} ORDER BY second RANGE BETWEEN {hours * 3600} PRECEDING AND CURRENT ROW)"
        columns += [
            f"count(arr_delay) {over} AS {key}_n_flights_{name}",
            f"avg(arr_delay) {over} AS {key}_mean_arr_delay_{name}",
            f"avg((arr_delay > 15)::INT) {over} AS {key}_share_late_{name}",
        ]
    return f"""SELECT DISTINCT {key}, arrived_at AS event_timestamp, {", ".join(columns)}
        FROM (SELECT *, epoch(arrived_at)::BIGINT AS second FROM timed_flights WHERE arr_delay IS NOT NULL)"""  # noqa: S608 - our own names


def assemble(case: dict[str, Any], out: Path, database: duckdb.DuckDBPyConnection) -> Frames:
    """The label rows with what was known at their moment, by part of the split, checked."""
    (out / "training_set").mkdir()
    at, features, joins = "label_rows.event_timestamp", [], []
    for view, (key, hours) in VIEWS.items():
        joins.append(f"ASOF LEFT JOIN {view} ON label_rows.{key} = {view}.{key} AND {at} >= {view}.event_timestamp")
        is_fresh = f"{view}.event_timestamp >= {at} - INTERVAL {hours} HOUR" if hours else "true"
        features += [f"CASE WHEN {is_fresh} THEN {name}::DOUBLE END AS {name}" for name in columns_of(database, view)]
    columns, joined = ", ".join(["label_rows.*", *features]), " ".join(["label_rows", *joins])
    rows = database.sql(f"SELECT {columns} FROM {joined} ORDER BY {at}, flight_id").df()  # noqa: S608 - our own names
    parts = {}
    for name in (*PARTS, "live"):
        period = case["split"].get(name, {"start": case["split"]["holdout"]["end"], "end": case["until"]})
        start, end = (pd.Timestamp(period[side], tz="UTC") for side in ("start", "end"))
        part = rows[(rows["event_timestamp"] >= start) & (rows["event_timestamp"] < end)]
        parts[name] = (part if name == "live" else part.dropna(subset="is_late")).reset_index(drop=True)
    problems = [*split_problems(case, parts), *join_problems(database, parts), *suspicious_inputs(case, parts["train"])]
    if problems:
        sys.exit("the split does not hold: " + "; ".join(problems))
    for name, part in parts.items():
        part.to_parquet(out / f"training_set/{name}.parquet", compression="zstd")
    return parts


def columns_of(database: duckdb.DuckDBPyConnection, view: str) -> list[str]:
    """The features of a table: its columns without key and timestamp."""
    return [name for name in database.sql(f"FROM {view}").columns if name not in (VIEWS[view][0], "event_timestamp")]


def split_problems(case: dict[str, Any], parts: Frames) -> list[str]:
    """Parts with one class, rows in two parts, labels that were not known in time."""
    problems = [f"{name} has one class" for name in PARTS if parts[name]["is_late"].nunique() < 2]
    rows = pd.concat(parts.values())
    if rows["flight_id"].duplicated().any():
        problems.append("a flight is in two parts")
    if (rows["label_known_at"] - rows["event_timestamp"]).max() > pd.Timedelta(hours=case["label"]["maturity_hours"]):
        problems.append("labels are known late")
    for before, after in pairwise(PARTS):
        if parts[before]["label_known_at"].max() >= parts[after]["event_timestamp"].min():
            problems.append(f"labels of {before} are not known when {after} begins")
    return problems


def join_problems(database: duckdb.DuckDBPyConnection, parts: Frames) -> list[str]:
    """Features whose values are not those of a join by pandas."""
    problems, rows = [], pd.concat(parts.values(), ignore_index=True)
    for view, (key, hours) in VIEWS.items():
        known = database.sql(f"FROM {view} ORDER BY event_timestamp").df()
        left, within = rows[["event_timestamp", key]], pd.Timedelta(hours=hours) if hours else None
        expected = pd.merge_asof(left, known, on="event_timestamp", by=key, tolerance=within)
        for name in columns_of(database, view):
            if not np.array_equal(rows[name].to_numpy(float), expected[name].to_numpy(float), equal_nan=True):
                problems.append(f"{name} is not the last known value")
    return problems


def suspicious_inputs(case: dict[str, Any], train: pd.DataFrame) -> list[str]:
    """Single inputs, or their being missing, that rank the label too well."""
    problems, late = [], train["is_late"]
    for name in inputs(train):
        values, is_missing = train[name], train[name].isna()
        if values.dtype == object:
            is_odd = pd.Series(train.index % 2 == 1)
            rates = [late[half].groupby(values[half]).mean() for half in (is_odd, ~is_odd)]
            values = values.map(rates[1]).where(is_odd, values.map(rates[0])).fillna(late.mean())
        strengths = [roc_auc_score(late[~is_missing], values[~is_missing])]
        strengths += [roc_auc_score(late, is_missing)] if is_missing.any() else []
        if max(max(auc, 1 - auc) for auc in strengths) > case["split"]["suspicious_auc"]:
            problems.append(f"{name} knows the label")
    return problems


def inputs(part: pd.DataFrame) -> list[str]:
    """What a model sees: the request's columns, then the features."""
    return [str(name) for name in part if name not in NOT_INPUTS]


def train(case: dict[str, Any], out: Path, parts: Frames) -> tuple[dict[str, Any], float]:
    """The three models and the chosen threshold; pictures of how they do on the validation part."""
    (out / "pictures").mkdir()
    X, y = parts["train"][inputs(parts["train"])], parts["train"]["is_late"].astype(int)
    texts = [name for name in X if X[name].dtype == object]
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan)
    settings = yaml.safe_load((ROOT / "conf/model/hist_gradient_boosting.yaml").read_text())
    chosen = {key: value for key, value in settings.items() if key not in ("name", "seed")}
    trees = HistGradientBoostingClassifier(
        **chosen, categorical_features=list(range(len(texts))), early_stopping=False, random_state=SEED
    )
    numbers = [name for name in X if name not in texts]
    asked = [name for name in case["request"] if name not in texts]
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=50)
    models = {
        "model": make_pipeline(
            ColumnTransformer([("texts", codes, texts), ("numbers", "passthrough", numbers)]), trees
        ),
        "request_only": make_pipeline(
            ColumnTransformer([("texts", one_hot, texts), ("numbers", scaled, asked)]),
            LogisticRegression(C=1.0, max_iter=300, random_state=SEED),
        ),
        "baseline": make_pipeline(DummyClassifier(strategy="prior")),
    }
    for model in models.values():
        model.fit(X, y)
    X, y = parts["validation"][inputs(parts["validation"])], parts["validation"]["is_late"].astype(int)
    predictions = {name: model.predict_proba(X)[:, 1] for name, model in models.items()}
    precision, recall, thresholds = precision_recall_curve(y, predictions["model"])
    threshold = float(thresholds[np.argmax(precision * recall / (precision + recall).clip(1e-9))])
    sample = X.sample(5_000, random_state=SEED)
    shuffled = permutation_importance(
        models["model"], sample, y[sample.index], scoring="roc_auc", n_repeats=3, random_state=SEED
    )
    draw_predictions(out / "pictures", "validation", y, predictions, threshold)
    top = np.argsort(shuffled.importances_mean)[-20:]
    plt.figure(figsize=(7.5, 6.6))
    plt.barh(X.columns[top], shuffled.importances_mean[top], xerr=shuffled.importances_std[top])
    save(out / "pictures/permutation_importance.png")
    return models, threshold


def evaluate(case: dict[str, Any], out: Path, holdout: pd.DataFrame, models: dict[str, Any], threshold: float) -> float:
    """The AUC on the holdout; writes all metrics with intervals, overall and by slice, and pictures."""
    X, y, settings = holdout[inputs(holdout)], holdout["is_late"].to_numpy(int), case["evaluation"]
    predictions = {name: model.predict_proba(X)[:, 1] for name, model in models.items()}
    groups = {"all": pd.Series("", X.index), "origin": X["origin"], "carrier": X["carrier"]}
    groups["hour"] = pd.cut(X["hour"], [-1, *(edge - 1 for edge in settings["slices"]["hour_band"]["edges"]), 23])
    rows = []
    for group, column in groups.items():
        for value, index in column.groupby(column, observed=True).indices.items():
            if len(index) < settings["min_slice_rows"] or len(set(y[index])) < 2:
                continue
            metrics = [weighted_metrics(y[index], p[index]) for p in predictions.values()]
            draws = bootstrap(metrics, len(index), settings["n_bootstrap"])
            low, high = np.quantile(draws, [(1 - settings["confidence"]) / 2, (1 + settings["confidence"]) / 2], axis=1)
            for position, name in enumerate(predictions):
                point = metrics[position](np.ones(len(index)))
                for metric, *numbers in zip(METRICS, point, low[position], high[position], strict=True):
                    rows.append((group, str(value), name, len(index), metric, *numbers))
    table = pd.DataFrame(rows, columns=["group", "value", "model", "rows", "metric", "estimate", "low", "high"])
    table.to_csv(out / "evaluation.csv", index=False)
    draw_predictions(out / "pictures", "holdout", y, predictions, threshold)
    draw_slices(out / "pictures", table[(table["group"] != "all") & (table["metric"] == "roc_auc")])
    return float(roc_auc_score(y, predictions["model"]))


def bootstrap(metrics: list[Any], n_rows: int, n: int) -> np.ndarray:
    """Metrics on resampled rows, the same ones for all models: (models, replicates, metrics)."""
    random, draws = np.random.default_rng(SEED), np.empty((len(metrics), n, len(METRICS)))
    for replicate in range(n):
        weight = np.bincount(random.integers(0, n_rows, n_rows), minlength=n_rows)
        for model, measure in enumerate(metrics):
            draws[model, replicate] = measure(weight)
    return draws


def weighted_metrics(y: np.ndarray, p: np.ndarray) -> Any:
    """scikit-learn's four numbers as a function of the rows' weights; sorted once, where its own sort every time."""
    order = np.argsort(-p)
    ends, late = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1), y[order]
    losses = np.stack([(p - y) ** 2, -np.log(np.where(y, p, 1 - p))])

    def measure(weight: np.ndarray) -> tuple[float, ...]:
        drawn = weight[order]
        hits, seen = np.cumsum(drawn * late)[ends], np.cumsum(drawn)[ends]
        auc = np.trapezoid(np.append(0, hits), np.append(0, seen - hits)) / hits[-1] / (seen[-1] - hits[-1])
        precision = np.diff(hits, prepend=0) @ (hits / np.maximum(seen, 1)) / hits[-1]
        return auc, precision, *(losses @ weight / seen[-1])

    return measure


def register(case: dict[str, Any], out: Path, models: dict[str, Any], threshold: float, auc: float) -> None:
    """The models as files, with a note on the chosen one."""
    (out / "models").mkdir()
    for name, model in models.items():
        joblib.dump(model, out / f"models/{name}.joblib")
        joblib.load(out / f"models/{name}.joblib")
    note = {"name": case["name"], "threshold": threshold, "holdout_roc_auc": auc, "until": case["until"]}
    (out / "models/model.json").write_text(json.dumps(note, indent=2))


def drift(case: dict[str, Any], out: Path, parts: Frames) -> None:
    """Distances between the newest full month and the training part, and a page with the farthest columns."""
    end = pd.Timestamp(case["until"], tz="UTC").replace(day=1)
    live = parts["live"][parts["live"]["event_timestamp"].between(end - pd.DateOffset(months=1), end, inclusive="left")]
    mature = live["event_timestamp"] < end - pd.Timedelta(hours=case["label"]["maturity_hours"])
    rows, kept = [], {}
    for name in [*inputs(live), "is_late"]:
        columns = (parts["train"][name], live.loc[mature, name] if name == "is_late" else live[name])
        missing = [column.isna().mean() for column in columns]
        pair = [spread(column.dropna()) for column in columns]
        if min(len(values) for values in pair) < case["drift"]["min_rows"] or pair[0].nunique() == 1:
            rows.append((name, "could not evaluate", np.nan, *missing))
            continue
        if pair[0].dtype == object or name == "is_late":
            shares = pd.concat([values.value_counts(normalize=True) for values in pair], axis=1).fillna(0)
            distance = jensenshannon(*shares.to_numpy(float).T)
        else:
            distance = wasserstein_distance(*pair) / max(pair[0].std(ddof=0), 0.001)
        has_moved = distance >= case["drift"]["threshold"]
        has_moved |= abs(missing[1] - missing[0]) > case["drift"]["missing_tolerance"]
        rows.append((name, "drift" if has_moved else "ok", distance, *missing))
        kept[name] = pair
    table = pd.DataFrame(rows, columns=["column", "verdict", "distance", "missing before", "missing now"])
    table = table.sort_values("distance", ascending=False, na_position="first")
    table.to_json(out / "drift.json", orient="records", indent=2)
    pictures = [histogram(name, *kept[name]) for name in table["column"] if name in kept][:12]
    (out / "drift.html").write_text(f"<h1>Drift</h1>{table.to_html(index=False)}{''.join(pictures)}")


def spread(values: pd.Series) -> pd.Series:
    """At most 20,000 values, evenly spread."""
    return values.iloc[np.linspace(0, len(values) - 1, min(len(values), 20_000)).astype(int)]


# --- Pictures ---


def histogram(name: str, before: pd.Series, now: pd.Series) -> str:
    """An HTML image of both distributions."""
    plt.figure(figsize=(5, 3))
    if before.dtype == object:
        for values, label in ((before, "train"), (now, "now")):
            shares = values.value_counts(normalize=True).head(30)
            plt.bar(shares.index, shares, alpha=0.5, label=label)
    else:
        plt.hist([before, now], bins=30, density=True, label=["train", "now"])
    plt.title(name)
    plt.legend()
    file = io.BytesIO()
    plt.savefig(file, format="png")
    plt.close()
    return f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def save(path: Path) -> None:
    """Write the current picture and forget it."""
    plt.tight_layout()
    plt.savefig(path, dpi=110)
    plt.close()


def draw_predictions(folder: Path, part: str, y: Any, predictions: dict[str, np.ndarray], threshold: float) -> None:
    """ROC and precision-recall curves, calibration over a histogram, and the confusion at the threshold."""
    _, (roc, curve) = plt.subplots(1, 2, figsize=(11, 5))
    for name, p in predictions.items():
        roc.plot(*roc_curve(y, p)[:2], label=f"{name} (AUC {roc_auc_score(y, p):.3f})")
        precision, recall, _ = precision_recall_curve(y, p)
        curve.plot(recall, precision, label=f"{name} (AP {average_precision_score(y, p):.3f})")
    roc.legend()
    curve.legend()
    save(folder / f"{part}_curves.png")
    _, (upper, lower) = plt.subplots(2, 1, figsize=(6.5, 7), sharex=True)
    for name, p in predictions.items():
        observed, predicted = calibration_curve(y, p, n_bins=20, strategy="quantile")
        upper.plot(predicted, observed, marker="o", label=f"{name} (Brier {brier_score_loss(y, p):.4f})")
        lower.hist(p, bins=50, histtype="step")
    upper.legend()
    save(folder / f"{part}_calibration.png")
    counts = confusion_matrix(y, predictions["model"] >= threshold)
    plt.figure(figsize=(5, 4.6))
    plt.imshow(counts / counts.sum(axis=1, keepdims=True), cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        plt.text(column, row, f"{count:,}", ha="center")
    save(folder / f"{part}_confusion.png")


def draw_slices(folder: Path, table: pd.DataFrame) -> None:
    """Each slice's AUC with its interval."""
    plt.figure(figsize=(8, 8))
    for name, mine in table.groupby("model", sort=False):
        whiskers = [mine["estimate"] - mine["low"], mine["high"] - mine["estimate"]]
        plt.errorbar(mine["estimate"], mine["group"] + " " + mine["value"], xerr=whiskers, fmt="o", label=name)
    plt.legend()
    save(folder / "holdout_slices.png")


if __name__ == "__main__":
    main()
