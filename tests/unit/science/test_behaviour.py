"""What predictions do when one input changes, and whether the use case expects it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from dovetail.science.behaviour import answer, changed
from dovetail.science.comparison import Resampling
from dovetail.settings.schema import Behaviour

RESAMPLING = Resampling(200, 0.95, 0)
X = pd.DataFrame({"wind": [0.0, 10.0, np.nan, 20.0], "carrier": ["AA", None, "B6", "UA"]})


def behaviour(**keys: Any) -> Behaviour:
    """Wind that is stronger by one, and predictions that must rise, but for what is given."""
    return Behaviour.model_validate(
        {"change": {"wind": {"add": 1.0}}, "expect": "rise", "share": 0.9, "tolerance": 0.01} | keys
    )


@pytest.mark.parametrize(
    ("change", "rows", "values"),
    [
        ({"wind": {"add": 5.0}}, [0, 1, 3], {"wind": [5.0, 15.0, 25.0]}),
        ({"wind": {"multiply": 2.0}}, [1, 3], {"wind": [20.0, 40.0]}),
        ({"wind": {"set": 10.0}}, [0, 3], {"wind": [10.0, 10.0]}),
        ({"carrier": {"set": "AA"}}, [2, 3], {"carrier": ["AA", "AA"]}),
        (
            {"wind": {"add": 5.0}, "carrier": {"set": "AA"}},
            [0, 1, 2, 3],
            {"wind": [5.0, 15.0, None, 25.0], "carrier": ["AA", None, "AA", "AA"]},
        ),
    ],
)
def test_only_the_rows_that_change_are_asked(change: Any, rows: list[int], values: dict[str, list[Any]]) -> None:
    """A missing value stays missing, twice zero stays zero, a value stays itself; other columns and X stay too."""
    before = X.copy()
    frame = changed(X, behaviour(change=change))
    expected = X.loc[rows].assign(**values)
    pd.testing.assert_frame_equal(frame, expected)
    pd.testing.assert_frame_equal(X, before)


def moves(mean: float, spread: float = 0.005, n: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).normal(mean, spread, n)


@pytest.mark.parametrize(
    ("expect", "mean", "holds"),
    [
        ("rise", 0.03, True), ("rise", 0.0, False), ("rise", -0.03, False),
        ("fall", -0.03, True), ("fall", 0.0, False), ("fall", 0.03, False),
        ("stay", 0.0, True), ("stay", 0.03, False), ("stay", -0.03, False),
    ],
)  # fmt: skip
def test_the_mean_must_move_as_expected(expect: str, mean: float, holds: bool) -> None:
    """Its whole interval: a mean that may be zero does not rise."""
    assert answer("x", behaviour(expect=expect, share=0.5), moves(mean), RESAMPLING).holds is holds


@pytest.mark.parametrize(("expect", "sign"), [("rise", 1), ("fall", -1)])
def test_a_mean_of_few_rows_is_not_enough(expect: str, sign: int) -> None:
    """Where one row in five moves far and the others a little against it, the mean is right and the share is not."""
    odd = sign * np.where(np.arange(1000) % 5, -0.02, 0.5)
    found = answer("x", behaviour(expect=expect), odd, RESAMPLING)
    assert sign * found.mean.value > 0.05
    assert (found.holds, found.share) == (False, 0.2)
    assert answer("x", behaviour(expect=expect, tolerance=0.02), odd, RESAMPLING).holds, "within the tolerance"


def test_moves_that_cancel_out_are_no_rest() -> None:
    """Half up and half down is a mean of zero, and not what stays."""
    found = answer("x", behaviour(expect="stay"), np.tile([0.1, -0.1], 500), RESAMPLING)
    assert (found.holds, found.share) == (False, 0.0)


def test_what_concerns_no_row_is_not_known() -> None:
    """An input that is missing everywhere: nobody can say that the model answers as it must."""
    found = answer("x", behaviour(), np.array([]), RESAMPLING)
    assert not found.holds
    assert found.detail == "wind +1 changes no row of the holdout: nobody can say how the predictions answer"


def test_the_sentence_has_the_numbers() -> None:
    """What was changed, how far the predictions moved, on how many rows, and what must be."""
    change = {"wind": {"set": 3.0}, "rain": {"multiply": 2.0}}
    found = answer("x", behaviour(change=change), np.full(200, -0.25), RESAMPLING)
    assert found.detail == (
        "wind set to 3 and rain times 2 moves the predictions by -0.2500 (interval -0.2500 to -0.2500), "
        "and 0.0% of 200 rows do not fall by more than 0.01; must rise on average, and 90.0% keep to it"
    )


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"change": {"wind": {"add": 1.0, "set": 2.0}}}, "give one of add, multiply and set; given: add, set"),
        ({"change": {"wind": {}}}, "give one of add, multiply and set; given: none"),
        ({"change": {"wind": {"add": 0.0}}}, "this changes nothing"),
        ({"change": {"wind": {"multiply": 1.0}}}, "this changes nothing"),
        ({"change": {"wind": {"add": "30"}}}, "Input should be a valid number"),
        ({"change": {}}, "at least 1 item"),
        ({"share": 1.1}, "less than or equal to 1"),
        ({"expect": "raise"}, "Input should be 'rise', 'fall' or 'stay'"),
    ],
)
def test_a_behaviour_changes_each_input_in_one_way(keys: Any, said: str) -> None:
    """What cannot be meant is refused at the door."""
    with pytest.raises(ValidationError, match=said):
        behaviour(**keys)
