"""The scikit-learn models that `model=` chooses, each with the pre-processing that it needs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from dovetail.settings.schema import Baseline, HistGradientBoosting, Logistic, Model


def build(model: Model, *, categorical: Sequence[str], numeric: Sequence[str]) -> Pipeline:
    """An unfitted pipeline for a frame with these columns; other columns are ignored.

    Categories are strings and None; numbers are floats and NaN. A category that training did not see is no error.
    """
    match model:
        case HistGradientBoosting():
            return _hist_gradient_boosting(model, list(categorical), list(numeric))
        case Logistic():
            return _logistic(model, list(categorical), list(numeric))
        case Baseline():
            return make_pipeline(DummyClassifier(strategy="prior"))


def _hist_gradient_boosting(model: HistGradientBoosting, categorical: list[str], numeric: list[str]) -> Pipeline:
    # Trees split on missing values by themselves; a category is a small integer, an unseen one is missing.
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=250
    )
    return make_pipeline(
        ColumnTransformer([("categories", codes, categorical), ("numbers", "passthrough", numeric)]),
        HistGradientBoostingClassifier(
            learning_rate=model.learning_rate,
            max_iter=model.max_iter,
            max_leaf_nodes=model.max_leaf_nodes,
            min_samples_leaf=model.min_samples_leaf,
            l2_regularization=model.l2_regularization,
            categorical_features=list(range(len(categorical))),
            early_stopping=False,
            random_state=model.seed,
        ),
    )


def _logistic(model: Logistic, categorical: list[str], numeric: list[str]) -> Pipeline:
    codes = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=50)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    return make_pipeline(
        ColumnTransformer([("categories", codes, categorical), ("numbers", scaled, numeric)]),
        LogisticRegression(C=model.C, max_iter=model.max_iter, random_state=model.seed),
    )


def columns_by_kind(frame: pd.DataFrame) -> tuple[list[str], list[str]]:
    """The names of the categorical columns (strings) and of the numeric ones, in the frame's order."""
    numeric = [str(name) for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    return [str(name) for name in frame if name not in numeric], numeric


def probabilities(model: Pipeline, frame: pd.DataFrame) -> np.ndarray:
    """The probability of the positive class for each row, shape (n_rows,)."""
    return np.asarray(model.predict_proba(frame)[:, 1], dtype=np.float64)
