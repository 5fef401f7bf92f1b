"""Pictures: they are drawn from the numbers, in full."""

import numpy as np
import pytest

from dovetail.science import pictures
from dovetail.science.comparison import Estimate, SliceRow
from dovetail.science.metrics import measure

RANDOM = np.random.default_rng(0)
Y = (RANDOM.random(500) < 0.3).astype(int)
P = np.clip(0.3 + 0.2 * Y + RANDOM.normal(scale=0.2, size=500), 0.01, 0.99)


def test_curves_name_each_model_with_its_numbers() -> None:
    """The legends hold the AUC and the average precision that `measure` gives."""
    figure = pictures.curves(Y, {"model": P, "baseline": np.full(500, 0.3)}, "holdout")
    roc, precision_recall = ([text.get_text() for text in axes.get_legend().get_texts()] for axes in figure.axes)
    assert roc == [f"model (AUC {measure(Y, P).roc_auc:.3f})", "baseline (AUC 0.500)", "chance"]
    assert precision_recall[0] == f"model (AP {measure(Y, P).average_precision:.3f})"


def test_the_confusion_counts_every_row() -> None:
    """The four cells add up to the rows, and a row at the threshold is a yes."""
    figure = pictures.confusion(np.array([0, 0, 1, 1]), np.array([0.1, 0.5, 0.5, 0.4]), 0.5, "holdout")
    cells = [text.get_text().splitlines()[0] for text in figure.axes[0].texts]
    assert cells == ["1", "1", "1", "1"]


def test_importances_show_the_largest_on_top() -> None:
    """Columns are sorted, and the smallest are left out."""
    figure = pictures.importances(["a", "b", "c"], np.array([0.1, 0.3, 0.2]), np.zeros(3), "", n_shown=2)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["c", "b"]


def test_small_slices_are_not_drawn() -> None:
    """A slice without a verdict has no place in the picture."""
    rows = [
        SliceRow("origin", "EWR", "model", 900, 0.2, Estimate(0.7, 0.6, 0.8), False),
        SliceRow("origin", "LGA", "model", 9, 0.2, Estimate(float("nan"), float("nan"), float("nan")), True),
    ]
    figure = pictures.slices(rows, "ROC AUC", "")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["origin EWR  (900)"]


def test_the_same_figure_gives_the_same_bytes() -> None:
    """DVC sees no change where there is none."""
    first, second = (pictures.png(pictures.reliability(Y, {"model": P}, "holdout")) for _ in range(2))
    assert first == second
    assert first.startswith(b"\x89PNG")


@pytest.mark.parametrize("constant", [0.0, 0.3, 1.0])
def test_a_constant_prediction_can_be_drawn(constant: float) -> None:
    """The baseline, and a model gone wrong, have pictures too."""
    p = np.full(500, constant)
    for figure in (pictures.curves(Y, {"m": p}, ""), pictures.reliability(Y, {"m": p}, "")):
        assert len(pictures.png(figure)) > 1000
