"""What two models predict for the same rows, compared."""

import pandas as pd
import pytest

from dovetail.operations.reproduce import TOLERANCE, compare

RECORDED = pd.Series([0.1, 0.2, 0.7, 0.9], ["UA1", "UA2", "UA3", "UA4"])
LABELS = pd.Series([0, 0, 1, 1], ["UA4", "UA3", "UA2", "UA1"])  # in another order: the key decides


def test_equal_predictions_are_equal_to_the_bit() -> None:
    """Whatever the order of the rows; both have the same metrics."""
    found = compare(RECORDED, RECORDED[::-1], LABELS)
    assert (found.n_rows, found.n_different, found.largest) == (4, 0, 0.0)
    assert found.recorded == found.again
    assert found.recorded.roc_auc == 0.0
    assert str(found) == "all 4 predictions on the holdout are equal to the bit"


@pytest.mark.parametrize(("by", "passes"), [(2**-54, True), (1e-12, True), (1e-8, False), (0.3, False)])
def test_a_difference_is_measured(by: float, passes: bool) -> None:
    """One bit counts as a difference; last digits pass, and what another model says does not."""
    again = RECORDED.copy()
    again["UA1"] += by
    found = compare(RECORDED, again, LABELS)
    assert found.n_different == 1
    assert (found.largest <= TOLERANCE) is passes
    assert str(found).startswith("1 of 4 predictions on the holdout differ, by ")


def test_a_row_that_only_one_predicted_is_the_largest_difference() -> None:
    """It is not left out silently."""
    found = compare(RECORDED, RECORDED.drop("UA1"), LABELS)
    assert (found.n_rows, found.n_different, found.largest) == (4, 1, 1.0)
