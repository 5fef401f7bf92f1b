"""Which inputs moved between two sides, and what each does to the metric."""

import numpy as np
import pandas as pd
import pytest

from dovetail.science.inputs import Judged, exchanged, importances, moved_inputs


def many(n: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Inputs of which the label follows `x` and, less so, `z`; `noise` says nothing."""
    random = np.random.default_rng(seed)
    X = pd.DataFrame({name: random.normal(size=n) for name in ("noise", "x", "z")}, index=[f"k{i}" for i in range(n)])
    y = (random.random(n) < 1 / (1 + np.exp(-2 * X["x"] - X["z"]))).astype(int)
    return X, y.to_numpy()


def by_formula(X: pd.DataFrame, y: np.ndarray) -> Judged:
    def predict(rows: pd.DataFrame):
        return (1 / (1 + np.exp(-2 * rows["x"] - rows["z"]))).to_numpy()

    moments = pd.DatetimeIndex(pd.date_range("2013-01-01", periods=len(y), freq="h", tz="UTC"))
    return Judged(X, y, predict(X), moments, predict)


def test_an_exchange_moves_what_the_model_uses_and_nothing_else() -> None:
    """`x` and `noise` are scrambled: the model asks for one of them only; `z` is as it was."""
    X, y = many()
    scrambled = X.assign(x=X["x"].to_numpy()[::-1], noise=X["noise"] * 60)
    found = exchanged(by_formula(X, y), by_formula(scrambled, y), "roc_auc")
    assert found["x"][0] > 0.1
    assert found["noise"] == (0, 1)
    assert found["z"] == (0, 0)


def test_an_input_that_one_side_lacks_is_left_out() -> None:
    """Nobody can exchange it."""
    X, y = many(200)
    assert set(exchanged(by_formula(X, y), by_formula(X.drop(columns="noise"), y), "roc_auc")) == {"x", "z"}


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_an_input_is_as_important_as_its_loss(metric: str) -> None:
    """Shuffled, the stronger input costs more, and one that is not used nothing."""
    found = importances(by_formula(*many()), metric, seed=1)
    assert found["x"] > found["z"] > found["noise"] == 0


def test_on_other_rows_drift_counts_by_use() -> None:
    """All rows came: what drifted most is not used, and what is used most has not drifted."""
    X, y = many()
    old, new = by_formula(X.iloc[:1000], y[:1000]), by_formula(X.iloc[1000:], y[1000:])
    found = moved_inputs(old, new, "roc_auc", {"noise": 3.0, "x": 0.0, "z": 0.5}, seed=1)
    assert [row.name for row in found] == ["z", "noise", "x"]
    assert [row.moves > 0 for row in found] == [True, False, False]
    assert np.isnan(found[0].changed)
