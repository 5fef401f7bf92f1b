"""Paired intervals, slices and the gate's decision."""

import numpy as np
import pandas as pd
import pytest

from dovetail.science.comparison import bootstrap, by_slice, decide
from dovetail.science.metrics import METRICS, Numbers, measure
from dovetail.settings.schema import Evaluation, Gate

EVALUATION = Evaluation(n_bootstrap=200, confidence=0.95, min_slice_rows=100, slices={})
GATE = Gate(metric="roc_auc", margin=0.002, slice_tolerance=0.02)
NO_SLICES: dict[str, pd.Categorical] = {}


def rows(n: int = 2000, seed: int = 0) -> tuple[Numbers, Numbers, Numbers, Numbers]:
    """Labels, a good model's predictions, a poorer one's, and the baseline's."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=n)
    y = (random.random(n) < 1 / (1 + np.exp(-signal))).astype(int)
    good, poor = (1 / (1 + np.exp(-(signal + noise * random.normal(size=n)))) for noise in (0.1, 2.0))
    return y, good, poor, np.full(n, y.mean())


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_gains_nothing_over_itself(metric: str) -> None:
    """Paired, the difference of a model with itself is zero in every replicate."""
    y, good, _, _ = rows(300)
    assert bootstrap(y, {"a": good, "b": good}, 50, 0.95, seed=1).gain("a", "b", metric) == (0, 0, 0)


@pytest.mark.parametrize("metric", METRICS)
def test_a_gain_above_zero_is_better_whatever_the_metric(metric: str) -> None:
    """Where a smaller value is better, the gain is turned round."""
    y, good, poor, _ = rows()
    result = bootstrap(y, {"good": good, "poor": poor}, 100, 0.95, seed=1)
    assert result.gain("good", "poor", metric).low > 0
    assert result.gain("poor", "good", metric).high < 0


def test_a_replicate_is_a_resampling_of_the_rows() -> None:
    """Measuring with weights equals measuring the drawn rows themselves."""
    y, good, _, _ = rows(50)
    drawn = np.random.default_rng(7).integers(0, 50, 50)
    assert bootstrap(y, {"a": good}, 1, 0.95, seed=7).draws["a"][0] == pytest.approx(measure(y[drawn], good[drawn]))


def test_the_same_seed_gives_the_same_intervals() -> None:
    """Intervals depend on the seed and nothing else."""
    y, good, poor, _ = rows(200)
    first, again, other = (bootstrap(y, {"a": good, "b": poor}, 20, 0.9, seed).estimates("b") for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_the_interval_covers_the_truth() -> None:
    """Of 60 samples about 95 in 100 hold the AUC of a very large one in their interval."""
    y, good, _, _ = rows(200_000, seed=99)
    truth = measure(y, good).roc_auc
    estimates = []
    for seed in range(60):
        y, good, _, _ = rows(300, seed)
        estimates.append(bootstrap(y, {"a": good}, 100, 0.95, seed).estimate("a", "roc_auc"))
    assert 52 <= sum(estimate.low <= truth <= estimate.high for estimate in estimates) <= 60


def test_a_small_slice_is_listed_without_a_number() -> None:
    """A slice under the minimum is shown as too small, the others with their interval."""
    y, good, _, _ = rows(500)
    side = np.where(np.arange(500) < 20, "small", "big")
    big, small = by_slice(y, {"model": good}, {"side": pd.Categorical(side)}, "roc_auc", EVALUATION, seed=0)
    assert (big.value, big.rows, big.too_small) == ("big", 480, False)
    assert big.metric.low < big.metric.value < big.metric.high
    assert (small.value, small.rows, small.too_small) == ("small", 20, True)
    assert np.isnan(small.metric.value)


def test_a_better_challenger_is_promoted() -> None:
    """Better than baseline and champion, worse on no slice: promoted, with the numbers."""
    y, good, poor, base = rows()
    decision = decide(
        y,
        {"challenger": good, "champion": poor, "baseline": base},
        {"half": pd.Categorical(y * 0)},
        GATE,
        EVALUATION,
        0,
    )
    assert decision.promoted
    assert decision.numbers["gain_over_champion_low"] > 0
    assert [reason.split(" over ")[1] for reason in decision.reasons] == [
        "the baseline; must be above 0",
        "the champion; must be at least 0.002 with its interval above 0",
    ]


def test_an_equal_challenger_is_not_promoted() -> None:
    """The same predictions as the champion's are no reason to change."""
    y, good, _, base = rows()
    decision = decide(y, {"challenger": good, "champion": good, "baseline": base}, NO_SLICES, GATE, EVALUATION, 0)
    assert not decision.promoted
    assert decision.reasons == (
        "gain in roc_auc +0.0000 (interval +0.0000 to +0.0000) over the champion; "
        "must be at least 0.002 with its interval above 0",
    )


def test_an_equal_challenger_is_not_promoted_with_no_margin() -> None:
    """A margin of zero still asks for a gain."""
    y, good, _, base = rows()
    gate = GATE.model_copy(update={"margin": 0.0})
    assert not decide(
        y, {"challenger": good, "champion": good, "baseline": base}, NO_SLICES, gate, EVALUATION, 0
    ).promoted


def test_a_gain_below_the_margin_is_not_enough() -> None:
    """A sure but small gain does not pass a large margin."""
    y, good, poor, base = rows()
    gate = GATE.model_copy(update={"margin": 0.4})
    assert not decide(
        y, {"challenger": good, "champion": poor, "baseline": base}, NO_SLICES, gate, EVALUATION, 0
    ).promoted


def test_the_first_model_need_only_beat_the_baseline() -> None:
    """Without a champion a model that ranks is promoted, the baseline itself is not."""
    y, _, poor, base = rows()
    assert decide(y, {"challenger": poor, "baseline": base}, NO_SLICES, GATE, EVALUATION, 0).promoted
    refused = decide(y, {"challenger": base, "baseline": base}, NO_SLICES, GATE, EVALUATION, 0)
    assert refused.reasons == (
        "gain in roc_auc +0.0000 (interval +0.0000 to +0.0000) over the baseline; must be above 0",
    )


def test_a_damaged_slice_refuses_a_challenger_that_is_better_overall() -> None:
    """Turned round on one slice of 300 rows, the better model is refused, and the slice is named."""
    y, good, poor, base = rows()
    side = np.where(np.arange(len(y)) < 300, "hurt", "fine")
    challenger = np.where(side == "hurt", 1 - good, good)
    models = {"challenger": challenger, "champion": poor, "baseline": base}
    decision = decide(y, models, {"side": pd.Categorical(side)}, GATE, EVALUATION, 0)
    assert not decision.promoted
    (reason,) = decision.reasons
    assert "on side hurt (300 rows); may be worse by 0.02" in reason
    assert decision.numbers["worst_slice_gain"] < -0.2


def test_a_slice_too_small_to_judge_refuses_nobody() -> None:
    """The same damage on 60 rows, under the minimum of 100, is luck as far as anybody can tell."""
    y, good, poor, base = rows()
    side = np.where(np.arange(len(y)) < 60, "hurt", "fine")
    challenger = np.where(side == "hurt", 1 - good, good)
    models = {"challenger": challenger, "champion": poor, "baseline": base}
    assert decide(y, models, {"side": pd.Categorical(side)}, GATE, EVALUATION, 0).promoted
