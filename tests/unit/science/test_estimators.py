"""The models of conf/model/."""

import numpy as np
import pandas as pd
import pytest

from dovetail.science.estimators import build, columns_by_kind, probabilities
from dovetail.science.splits import input_columns
from dovetail.settings.schema import Baseline, HistGradientBoosting, Label, Logistic, Model

TREES = HistGradientBoosting(
    name="hist_gradient_boosting", learning_rate=0.1, max_iter=20, max_leaf_nodes=7, min_samples_leaf=5,
    l2_regularization=0.0, seed=1,
)  # fmt: skip
MODELS = [TREES, Logistic(name="logistic", C=1.0, max_iter=200, seed=1), Baseline(name="baseline", seed=1)]


def frame(n: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    X = pd.DataFrame({"carrier": random.choice(["AA", "UA"], n).astype(object), "delay": random.normal(size=n)})
    X.loc[::10, "delay"] = np.nan
    return X, (X["delay"].fillna(0) + (X["carrier"] == "UA") + random.normal(size=n) > 0.5).astype(int).to_numpy()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_missing_numbers_and_unseen_categories_are_predicted(model: Model) -> None:
    """A row with a new carrier, or with nothing known at all, gets a probability."""
    X, y = frame()
    fitted = build(model, categorical=["carrier"], numeric=["delay"]).fit(X, y)
    odd = pd.DataFrame({"carrier": ["ZZ", None, "AA"], "delay": [0.1, np.nan, np.nan]})
    p = probabilities(fitted, odd)
    assert p.shape == (3,)
    assert ((p > 0) & (p < 1)).all()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_the_same_seed_gives_the_same_model(model: Model) -> None:
    """Two fits predict the same to the last bit."""
    X, y = frame()
    first, second = (
        probabilities(build(model, categorical=["carrier"], numeric=["delay"]).fit(X, y), X) for _ in range(2)
    )
    assert (first == second).all()


def test_the_baseline_predicts_the_share_of_positives() -> None:
    """It looks at no input."""
    X, y = frame()
    fitted = build(MODELS[2], categorical=["carrier"], numeric=["delay"]).fit(X, y)
    assert probabilities(fitted, X) == pytest.approx(y.mean())


def test_a_model_sees_only_the_columns_it_was_built_with() -> None:
    """A column that the reference must not know changes nothing."""
    X, y = frame()
    fitted = build(TREES, categorical=["carrier"], numeric=[]).fit(X, y)
    assert (probabilities(fitted, X) == probabilities(fitted, X.assign(delay=0.0))).all()


def test_inputs_are_what_neither_names_nor_tells() -> None:
    """Key, moments, outcome and label are no inputs; order is kept; strings are categories."""
    label = Label(column="is_late", key="flight_id", maturity_hours=1, arguments={})
    columns = ["flight_id", "event_timestamp", "label_known_at", "outcome", "carrier", "delay", "is_late"]
    assert input_columns(columns, label) == ["carrier", "delay"]
    assert columns_by_kind(frame()[0]) == (["carrier"], ["delay"])
