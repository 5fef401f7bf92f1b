"""Was it the data or the model: planted defects, and the luck of days that is nobody's fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.science import planted

from dovetail.science.attribution import (
    NEW,
    NEW_ON_OLD,
    OLD,
    OLD_ON_NEW,
    Cell,
    Cells,
    Rows,
    attribute,
    measure_cells,
)
from dovetail.science.inputs import moved_inputs
from dovetail.science.metrics import METRICS, SMALLER_IS_BETTER

DATA, MODEL, BOTH = frozenset({"data"}), frozenset({"model"}), frozenset({"data", "model"})


def days_of(seed: int, first: int = 0, n_days: int = 60, per_day: int = 30) -> Rows:
    """Labels of some days, each better or worse as a whole, and two predictions that are equally good."""
    random = np.random.default_rng(seed)
    days = np.repeat(np.arange(n_days), per_day)
    day, signal = random.normal(size=n_days)[days], random.normal(size=len(days))
    y = (random.random(len(days)) < 1 / (1 + np.exp(1.5 - signal - day))).astype(int)
    bias = random.normal(0, 0.6, n_days)[days]
    a, b = (1 / (1 + np.exp(1.5 - 0.7 * signal - 0.5 * day - bias - random.normal(0, 0.3, len(days)))) for _ in "ab")
    return Rows(first * n_days * per_day + np.arange(len(days)), days + first * n_days, y, {OLD: a, NEW: b})


def same_model(rows: Rows) -> Rows:
    return Rows(rows.keys, rows.days, rows.y, {OLD: rows.predictions[OLD], NEW: rows.predictions[OLD]})


def test_the_same_model_on_the_same_data_is_noise_whatever_the_seed() -> None:
    """Nothing differs, and no draw of days makes it so: 100 of 100, with an interval of no width."""
    rows = same_model(days_of(0))
    for seed in range(100):
        cells = measure_cells({OLD: rows, NEW: rows}, "roc_auc", 20, seed)
        found = attribute(cells, BOTH, 0.95)
        assert (found.outcome, found.total) == ("noise", (0, 0, 0))


def test_other_days_of_the_same_kind_are_noise() -> None:
    """Months that differ by the luck of their days are called noise in at least 95 of 100; rows would say otherwise."""
    outcomes = []
    for seed in range(100):
        columns = {OLD: same_model(days_of(seed)), NEW: same_model(days_of(1000 + seed, first=1))}
        outcomes.append(attribute(measure_cells(columns, "roc_auc", 100, seed), DATA, 0.95).outcome)
    assert outcomes.count("noise") >= 95


def test_models_that_are_equally_good_are_noise() -> None:
    """Two models that err in different places are called noise in at least 95 of 100."""
    outcomes = []
    for seed in range(100):
        rows = days_of(seed)
        outcomes.append(attribute(measure_cells({OLD: rows, NEW: rows}, "roc_auc", 100, seed), MODEL, 0.95).outcome)
    assert outcomes.count("noise") >= 95


@pytest.mark.parametrize("seed", range(4))
def test_a_source_in_the_wrong_unit_is_the_data(seed: int) -> None:
    """From one day on delays are in hours: the whole change is the data's, and the feature is named first."""
    flights = planted.airport(seed)
    broken = np.where(flights.days >= 100, np.round(flights.delay / 60), flights.delay)
    good, bad = planted.features(flights, flights.delay), planted.features(flights, broken)
    model = planted.train(good, flights)
    old, new = (planted.judged(X, flights, model) for X in (good, bad))
    found = attribute(measure_cells(planted.columns(old, new, flights), "roc_auc", 200, seed), DATA, 0.95)
    assert found.outcome == "data"
    assert found.effects["data"].high < -0.01
    assert found.parts["trained"] == (0, 0, 0)
    first, *others = moved_inputs(old, new, "roc_auc", {}, seed)
    assert first.name == "mean_delay"
    assert [row.moves for row in others if row.name == "temperature"] == [0]


@pytest.mark.parametrize("seed", range(4))
def test_training_on_a_broken_source_is_the_data_too(seed: int) -> None:
    """The model changed and is worse for it, yet only the data differs: the cells say that it was what it learned."""
    flights = planted.airport(seed)
    random = np.random.default_rng(seed)
    broken = np.where(flights.days < 60, random.permutation(flights.delay), flights.delay)
    good, bad = planted.features(flights, flights.delay), planted.features(flights, broken)
    old, new = (planted.judged(X, flights, planted.train(X, flights)) for X in (good, bad))
    found = attribute(measure_cells(planted.columns(old, new, flights), "roc_auc", 200, seed), DATA, 0.95)
    assert found.outcome == "data"
    assert found.parts["trained"].high < 0
    assert found.parts["asked"].value == pytest.approx(0, abs=0.003)


@pytest.mark.parametrize("seed", range(4))
def test_a_window_off_by_a_factor_is_the_model(seed: int) -> None:
    """The model has learned from a window ten times too long: it is the recipe's, and its feature is named first."""
    flights = planted.airport(seed)
    good, bad = (planted.features(flights, flights.delay, window) for window in (4, 40))
    old, new = (planted.judged(X, flights, planted.train(X, flights)) for X in (good, bad))
    rows = planted.columns(old, new, flights)[OLD]
    own = Rows(rows.keys, rows.days, rows.y, {OLD: old.p, NEW: new.p})
    found = attribute(measure_cells({OLD: own, NEW: own}, "roc_auc", 200, seed), MODEL, 0.95)
    assert found.outcome == "model"
    assert found.effects["model"].high < 0
    first, *others = moved_inputs(old, new, "roc_auc", {}, seed)
    assert first.name == "mean_delay"
    assert {row.moves for row in others} == {0}


def cells_of(point: dict[Cell, float], draws: int = 3) -> Cells:
    return Cells("roc_auc", point, {cell: np.full(draws, value) for cell, value in point.items()}, {OLD: 9, NEW: 9})


CORNERS = [Cell(OLD, OLD), Cell(NEW, NEW), Cell(OLD, NEW), Cell(NEW, OLD), Cell(OLD_ON_NEW, NEW), Cell(NEW_ON_OLD, OLD)]
METRIC = st.floats(0, 1, allow_subnormal=False)


@given(st.lists(METRIC, min_size=6, max_size=6), st.sets(st.sampled_from(CORNERS[4:])))
def test_effects_add_up_to_the_total(values: list[float], mixed: set[Cell]) -> None:
    """Whichever order is known, what the data and the model did is all that happened, and so are the cells' parts."""
    known = dict(zip(CORNERS, values, strict=True))
    point = {cell: value for cell, value in known.items() if cell in {*CORNERS[:4], *mixed}}
    found = attribute(cells_of(point), BOTH, 0.95)
    assert set(found.effects) == ({"data", "model"} if mixed else {"data or model"})
    assert sum(effect.value for effect in found.effects.values()) == pytest.approx(found.total.value)
    assert sum(part.value for part in found.parts.values()) == pytest.approx(found.total.value)


def test_both_orders_count_half() -> None:
    """0.70 became 0.64: new data alone makes 0.68, or 0.62 instead of 0.66; a new recipe alone 0.66."""
    point = dict(zip(CORNERS, (0.70, 0.64, 0.5, 0.5, 0.68, 0.66), strict=True))
    found = attribute(cells_of(point), BOTH, 0.95)
    assert found.outcome == "both"
    assert found.effects["data"].value == pytest.approx(((0.68 - 0.70) + (0.64 - 0.66)) / 2)
    assert found.effects["model"].value == pytest.approx(((0.66 - 0.70) + (0.64 - 0.68)) / 2)


def test_a_cell_that_its_model_was_trained_on_leaves_one_order() -> None:
    """Without the new model on the old data, the old model alone says what the rows did."""
    point = {Cell(OLD, OLD): 0.70, Cell(OLD, NEW): 0.66, Cell(NEW, NEW): 0.69}
    found = attribute(cells_of(point), BOTH, 0.95)
    assert found.parts["asked"].value == pytest.approx(-0.04)
    assert found.parts["trained"].value == pytest.approx(0.03)


@pytest.mark.parametrize("metric", METRICS)
def test_an_effect_above_zero_is_better_whatever_the_metric(metric: str) -> None:
    """A model that knows less is worse, also where its metric is the larger number."""
    rows = days_of(0)
    flat = Rows(rows.keys, rows.days, rows.y, {OLD: rows.predictions[OLD], NEW: np.full(len(rows.y), rows.y.mean())})
    cells = measure_cells({OLD: flat, NEW: flat}, metric, 50, 0)
    assert attribute(cells, MODEL, 0.95).total.high < 0
    assert (cells.point[NEW, NEW] > cells.point[OLD, OLD]) == (metric in SMALLER_IS_BETTER)


def test_few_days_say_little() -> None:
    """The same difference is certain after sixty days, not after three, and after one nothing is known of it."""
    widths = {}
    for n_days in (60, 3, 1):
        rows = days_of(5, n_days=n_days)
        cells = measure_cells({OLD: rows, NEW: rows}, "roc_auc", 100, 0)
        found = attribute(cells, MODEL, 0.95)
        widths[n_days] = found.total.high - found.total.low
        assert found.outcome == "noise"
    assert widths[60] < widths[3]
    assert np.isnan(widths[1])
