"""The metrics equal scikit-learn's, ties and weights included."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, log_loss, roc_auc_score, roc_curve

from dovetail.science.metrics import best_threshold, calibration, measure, rank, roc_auc, roc_points

# Few distinct predictions, so that most rows tie; 0 and 1 are the edges of the logarithm.
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), st.integers(0, 3)),
    min_size=2,
    max_size=40,
).filter(lambda rows: {label for label, _, weight in rows if weight} == {0, 1})


@given(ROWS)
@settings(derandomize=True, max_examples=100, deadline=None)
def test_weighted_metrics_equal_scikit_learns(rows: list[tuple[int, float, int]]) -> None:
    """All four metrics are those of scikit-learn with `sample_weight`."""
    y, p, weight = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    expected = [
        metric(y, p, sample_weight=weight)
        for metric in (roc_auc_score, average_precision_score, brier_score_loss, log_loss)
    ]
    assert list(measure(y, p, weight)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(ROWS)
@settings(derandomize=True, max_examples=100, deadline=None)
def test_any_score_is_ranked_like_scikit_learn_does(rows: list[tuple[int, float, int]]) -> None:
    """The AUC of a score, below 0 or above 1 too, is that of scikit-learn."""
    rows = [(label, score, weight) for label, score, weight in rows if weight]
    y, score = np.array([row[0] for row in rows]), np.array([row[1] * 50 - 20 for row in rows])
    assert roc_auc(y, score) == pytest.approx(roc_auc_score(y, score))


def test_a_constant_prediction_ranks_nothing() -> None:
    """The same prediction for all has an AUC of one half and the share of positives as its precision."""
    metrics = measure(np.array([0, 0, 0, 1]), np.full(4, 0.25))
    assert metrics.roc_auc == 0.5
    assert metrics.average_precision == 0.25


def test_one_class_alone_has_no_ranking() -> None:
    """Without negatives AUC and average precision are nan, the losses stay."""
    metrics = measure(np.array([1, 1]), np.array([0.5, 1.0]))
    assert np.isnan(metrics.roc_auc)
    assert np.isnan(metrics.average_precision)
    assert metrics.brier == 0.125


@pytest.mark.parametrize(
    ("y", "p"), [([], []), ([0, 1], [0.5]), ([0, 2], [0.5, 0.5]), ([0, 1], [0.5, 1.5]), ([0, 1], [0.5, np.nan])]
)
def test_labels_and_probabilities_are_checked(y: list[int], p: list[float]) -> None:
    """No rows, rows that do not match, a label of 2 and a probability of 1.5 or nan are refused."""
    with pytest.raises(ValueError, match="metrics need one row or more"):
        rank(np.array(y), np.array(p))


@given(ROWS)
@settings(derandomize=True, max_examples=25, deadline=None)
def test_the_best_threshold_has_the_highest_f1(rows: list[tuple[int, float, int]]) -> None:
    """No other prediction as a threshold gives a higher F1."""
    y, p = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    best = f1_score(y, p >= best_threshold(y, p))
    assert best == pytest.approx(max(f1_score(y, p >= threshold) for threshold in set(p)))


def test_roc_points_lie_on_the_curve() -> None:
    """Thinned to few points, the curve still begins at (0, 0), ends at (1, 1) and holds only true points."""
    y, p = np.arange(1000) % 3 == 0, np.arange(1000) * 7 % 1000 / 1000
    points = roc_points(y.astype(int), p, n_points=20)
    false_positives, true_positives, _ = roc_curve(y, p, drop_intermediate=False)
    whole = set(zip(false_positives.round(12), true_positives.round(12), strict=True))
    thinned = list(zip(points.false_positive_rate.round(12), points.true_positive_rate.round(12), strict=True))
    assert (thinned[0], thinned[-1], len(thinned)) == ((0, 0), (1, 1), 20)
    assert set(thinned) <= whole


def test_calibration_bins_keep_equal_predictions_together() -> None:
    """Each bin shows its mean prediction, its share of positives and its rows."""
    bins = calibration(np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.1, 0.1, 0.1, 0.8, 0.9]), n_bins=2)
    assert bins.predicted == pytest.approx([0.1, 0.85])
    assert bins.observed == pytest.approx([0.25, 1.0])
    assert list(bins.rows) == [4, 2]
