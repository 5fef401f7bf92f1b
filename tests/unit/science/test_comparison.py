"""Paired intervals, overall and by slice."""

import numpy as np
import pandas as pd
import pytest

from dovetail.science.comparison import Resampling, bootstrap, by_slice, time_blocks
from dovetail.science.metrics import METRICS, Numbers, measure


def rows(n: int = 2000, seed: int = 0) -> tuple[Numbers, Numbers, Numbers]:
    """Labels, a good model's predictions and a poorer one's."""
    random = np.random.default_rng(seed)
    signal = random.normal(size=n)
    y = (random.random(n) < 1 / (1 + np.exp(-signal))).astype(int)
    good, poor = (1 / (1 + np.exp(-(signal + noise * random.normal(size=n)))) for noise in (0.1, 2.0))
    return y, good, poor


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_gains_nothing_over_itself(metric: str) -> None:
    """Paired, the difference of a model with itself is zero in every replicate."""
    y, good, _ = rows(300)
    assert bootstrap(y, {"a": good, "b": good}, Resampling(50, 0.95, 1)).gain("a", "b", metric) == (0, 0, 0)


@pytest.mark.parametrize("metric", METRICS)
def test_a_gain_above_zero_is_better_whatever_the_metric(metric: str) -> None:
    """Where a smaller value is better, the gain is turned round."""
    y, good, poor = rows()
    result = bootstrap(y, {"good": good, "poor": poor}, Resampling(100, 0.95, 1))
    assert result.gain("good", "poor", metric).low > 0
    assert result.gain("poor", "good", metric).high < 0


def test_a_replicate_is_a_resampling_of_the_rows() -> None:
    """Measuring with weights equals measuring the drawn rows themselves."""
    y, good, _ = rows(50)
    drawn = np.random.default_rng(7).integers(0, 50, 50)
    drawn_once = bootstrap(y, {"a": good}, Resampling(1, 0.95, 7)).draws["a"][0]
    assert drawn_once == pytest.approx(measure(y[drawn], good[drawn]))


def test_the_same_seed_gives_the_same_intervals() -> None:
    """Intervals depend on the seed and nothing else."""
    y, good, poor = rows(200)
    first, again, other = (
        bootstrap(y, {"a": good, "b": poor}, Resampling(20, 0.9, seed)).estimates("b") for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_the_interval_covers_the_truth() -> None:
    """Of 60 samples about 95 in 100 hold the AUC of a very large one in their interval."""
    y, good, _ = rows(200_000, seed=99)
    truth = measure(y, good).roc_auc
    estimates = []
    for seed in range(60):
        y, good, _ = rows(300, seed)
        estimates.append(bootstrap(y, {"a": good}, Resampling(100, 0.95, seed)).estimate("a", "roc_auc"))
    assert 52 <= sum(estimate.low <= truth <= estimate.high for estimate in estimates) <= 60


def test_a_small_slice_is_listed_without_a_number() -> None:
    """A slice under the minimum is shown as too small, the others with their interval."""
    y, good, _ = rows(500)
    side = np.where(np.arange(500) < 20, "small", "big")
    resampling = Resampling(200, 0.95, 0)
    big, small = by_slice(y, {"model": good}, {"side": pd.Categorical(side)}, "roc_auc", 100, resampling)
    assert (big.value, big.rows, big.too_small) == ("big", 480, False)
    assert big.metric.low < big.metric.value < big.metric.high
    assert (small.value, small.rows, small.too_small) == ("small", 20, True)
    assert np.isnan(small.metric.value)


def test_rows_of_a_block_are_drawn_together() -> None:
    """Each replicate has as many blocks as there are, and each row as often as its block, whatever it is called."""
    blocks = np.array(["mon", "tue", "mon", "wed", "tue"])
    weights = np.array(list(Resampling(50, 0.95, 1, blocks).weights(5)))
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert set(weights[:, [0, 1, 3]].sum(axis=1)) == {3}
    assert len(np.unique(weights, axis=0)) > 5


def test_a_part_keeps_its_blocks() -> None:
    """Of rows alone, the blocks of those rows are drawn, and a block that has none of them is not."""
    part = Resampling(50, 0.95, 1, np.array([3, 3, 5, 7])).within(np.array([0, 2]))
    weights = np.array(list(part.weights(2)))
    assert set(weights.sum(axis=1)) == {2}
    assert Resampling(50, 0.95, 1).within(np.array([0])).blocks is None


def test_a_block_is_a_stretch_of_utc() -> None:
    """A day begins at midnight of UTC; three hours at 0, 3, 6 and so on; without hours there are no blocks."""
    texts = ["2013-08-03T23:59", "2013-08-04T00:00", "2013-08-04T02:59", "2013-08-04T03:00", "2013-08-03T22:00"]
    moments = pd.Series(pd.to_datetime(texts, utc=True))
    days, threes = (time_blocks(moments, hours) for hours in (24, 3))
    assert (days - days[0]).tolist() == [0, 1, 1, 1, 0]
    assert (threes - threes[0]).tolist() == [0, 1, 1, 2, 0]
    assert time_blocks(moments, None) is None


def days_with_weather(random: np.random.Generator, n_days: int) -> tuple[Numbers, dict[str, Numbers], Numbers]:
    """Labels, predictions of a model that knows a part of each day's luck and of one that does not, and the days."""
    day = np.repeat(np.arange(n_days), 100)
    known, noise, luck = random.normal(size=len(day)), random.normal(size=len(day)), random.normal(size=n_days)[day]
    y = (random.random(len(day)) < 1 / (1 + np.exp(1.5 - known - 0.7 * luck))).astype(int)
    scores = {"a": known + luck / 3, "b": known + noise / 3}
    return y, {model: 1 / (1 + np.exp(-score)) for model, score in scores.items()}, day


@pytest.mark.slow
def test_days_that_share_their_luck_are_drawn_as_days() -> None:
    """Of 60 days with weather, intervals by day hold the truth nearly as often as they say, those by row do not."""
    y, models, _ = days_with_weather(np.random.default_rng(99), 8000)
    truth = measure(y, models["a"]).roc_auc - measure(y, models["b"]).roc_auc
    held = {"days": 0, "rows": 0}
    for seed in range(100):
        y, models, day = days_with_weather(np.random.default_rng(seed), 60)
        for name, blocks in {"days": day, "rows": None}.items():
            gain = bootstrap(y, models, Resampling(100, 0.95, seed, blocks)).gain("a", "b", "roc_auc")
            held[name] += gain.low <= truth <= gain.high
    assert held["days"] >= 90
    assert held["rows"] <= 70


def test_an_interval_of_few_blocks_is_wider() -> None:
    """Of the same draws: Student's with nine degrees of freedom is a fifth wider than that of many rows."""
    draws = np.random.default_rng(0).normal(size=100_000)
    many, few = (Resampling(0, 0.95, 0, blocks).estimate(0.0, draws, 1000) for blocks in (None, np.arange(1000) % 10))
    assert many.high == pytest.approx(1.96, abs=0.02)
    assert few.high == pytest.approx(2.262 * (10 / 9) ** 0.5, abs=0.05)
    alone = Resampling(0, 0.95, 0, np.zeros(1000)).estimate(0.5, draws, 1000)
    assert (alone.value, np.isnan(alone.low)) == (0.5, True), "of one block nobody knows how it varies"
