"""The gate's rules: what a challenger must do, and the sentences that say what it did."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier
from tests.unit.science.test_comparison import rows

from dovetail.science.behaviour import Answer
from dovetail.science.comparison import UNKNOWN, Estimate, Resampling
from dovetail.science.decision import Decision, decide, undecided
from dovetail.science.metrics import Numbers
from dovetail.science.splits import Check
from dovetail.settings.schema import Gate

GATE = Gate(
    mode="enforce", metric="roc_auc", floor=0.55, margin=0.002, confidence=0.95, slice_tolerance=0.02, behaviour={}
)
RESAMPLING = Resampling(200, 0.95, 0)
NO_SLICES: dict[str, pd.Categorical] = {}


def decided(
    y: Numbers,
    slices: dict[str, pd.Categorical] | None = None,
    answers: tuple[Answer, ...] = (),
    rules: dict[str, Any] | None = None,
    resampling: Resampling = RESAMPLING,
    **predictions: Numbers,
) -> Decision:
    """The decision about these models, whose baseline is the share of positives."""
    models = {**predictions, "baseline": np.full(len(y), y.mean())}
    gate = GATE.model_copy(update=rules or {})
    return decide(y, models, slices or {}, answers, gate, min_slice_rows=100, resampling=resampling)


def test_a_better_challenger_passes() -> None:
    """Better than baseline and champion, worse on no slice: passed, with every rule's sentence and the numbers."""
    y, good, poor = rows()
    decision = decided(y, {"half": pd.Categorical(y * 0)}, challenger=good, champion=poor)
    assert decision.passed
    assert decision.numbers["gate/gain_over_champion_low"] > 0
    assert [reason.split(")")[-1] for reason in decision.reasons[:2]] == [
        " over the champion; must be at least 0.002 with its interval above 0",
        " over the baseline; must be above 0",
    ]
    assert decision.reasons[2].endswith("; must be 0.55 or more for any version (floor)")


def test_an_equal_challenger_is_refused() -> None:
    """The same predictions as the champion's are no reason to change, and that reason alone is said."""
    y, good, _ = rows()
    decision = decided(y, challenger=good, champion=good)
    assert not decision.passed
    assert decision.reasons == (
        "gain in roc_auc +0.0000 (interval +0.0000 to +0.0000) over the champion; "
        "must be at least 0.002 with its interval above 0",
    )


def test_an_equal_challenger_is_refused_with_no_margin() -> None:
    """A margin of zero still asks for a gain."""
    y, good, _ = rows()
    assert not decided(y, rules={"margin": 0.0}, challenger=good, champion=good).passed


def test_a_gain_below_the_margin_is_not_enough() -> None:
    """A sure but small gain does not pass a large margin."""
    y, good, poor = rows()
    assert not decided(y, rules={"margin": 0.4}, challenger=good, champion=poor).passed


def test_the_first_model_must_beat_the_baseline() -> None:
    """Without a champion a model that ranks passes, the baseline itself does not."""
    y, _, poor = rows()
    assert decided(y, challenger=poor).passed
    refused = decided(y, rules={"floor": 0.5}, challenger=np.full(len(y), y.mean()))
    assert refused.reasons == (
        "gain in roc_auc +0.0000 (interval +0.0000 to +0.0000) over the baseline; must be above 0",
    )


@pytest.mark.parametrize(
    ("metric", "floor", "wanted"), [("roc_auc", 0.95, "0.95 or more"), ("log_loss", 0.1, "0.1 or less")]
)
def test_no_version_passes_below_the_floor(metric: str, floor: float, wanted: str) -> None:
    """The first one too, and better than the baseline as it is; where smaller is better, the floor is the most."""
    y, good, _ = rows()
    decision = decided(y, rules={"metric": metric, "floor": floor}, challenger=good)
    assert not decision.passed
    (reason,) = decision.reasons
    assert reason.endswith(f"; must be {wanted} for any version (floor)")
    assert decided(y, rules={"metric": "log_loss", "floor": 0.69}, challenger=good).passed


def test_a_damaged_slice_refuses_a_challenger_that_is_better_overall() -> None:
    """Turned round on one slice of 300 rows, the better model is refused, and the slice is named."""
    y, good, poor = rows()
    side = np.where(np.arange(len(y)) < 300, "hurt", "fine")
    challenger = np.where(side == "hurt", 1 - good, good)
    decision = decided(y, {"side": pd.Categorical(side)}, challenger=challenger, champion=poor)
    assert not decision.passed
    (reason,) = decision.reasons
    assert "on side hurt (300 rows); may be worse by 0.02" in reason
    assert decision.numbers["gate/worst_slice_gain"] < -0.2


def test_a_slice_too_small_to_judge_refuses_nobody() -> None:
    """The same damage on 60 rows, under the minimum of 100, is luck as far as anybody can tell; it is listed."""
    y, good, poor = rows()
    side = np.where(np.arange(len(y)) < 60, "hurt", "fine")
    challenger = np.where(side == "hurt", 1 - good, good)
    decision = decided(y, {"side": pd.Categorical(side)}, challenger=challenger, champion=poor)
    assert decision.passed
    assert [(row.value, row.rows, row.too_small, np.isnan(row.gain.value)) for row in decision.slices] == [
        ("fine", 1940, False, False),
        ("hurt", 60, True, True),
    ]


def test_both_models_are_measured_on_each_slice() -> None:
    """With intervals, and the gain beside them; for a first version there is no champion and no gain."""
    y, good, poor = rows()
    half = {"half": pd.Categorical(np.where(np.arange(len(y)) % 2, "odd", "even"))}
    for row in decided(y, half, challenger=good, champion=poor).slices:
        assert row.challenger.low < row.challenger.value < row.challenger.high
        assert row.champion.low < row.champion.value < row.champion.high
        assert row.gain.value == pytest.approx(row.challenger.value - row.champion.value)
    for row in decided(y, half, challenger=good).slices:
        assert row.challenger.value > 0.6
        assert np.isnan([row.champion.value, row.gain.value]).all()


def test_an_answer_that_is_not_expected_refuses_a_better_challenger() -> None:
    """The behaviour's own sentence is the reason, its mean move a number."""
    y, good, poor = rows()
    answers = (
        Answer("wind", 10, Estimate(-0.1, -0.2, -0.05), 0.3, holds=False, detail="wind +1 moves the wrong way"),
        Answer("rain", 0, UNKNOWN, float("nan"), holds=True, detail="rain +1 moves as it must"),
    )
    decision = decided(y, answers=answers, challenger=good, champion=poor)
    assert decision.reasons == ("wind +1 moves the wrong way",)
    assert decision.numbers["gate/behaviour/wind"] == -0.1
    assert "gate/behaviour/rain" not in decision.numbers, "what is unknown is no number"


def test_what_was_not_measured_is_refused_for_its_own_reasons() -> None:
    """Rows that were seen: there are no numbers to be misled by."""
    decision = undecided([Check("rows unseen", False, "seen"), Check("time unseen", True, "fine")])
    assert (decision.passed, decision.reasons, decision.numbers) == (False, ("seen",), {})


def sample(random: np.random.Generator, n: int = 4000) -> tuple[Numbers, Numbers]:
    """Rows of three inputs, and labels that depend on them, not linearly, and on luck."""
    X = random.normal(size=(n, 3))
    return X, (random.random(n) < 1 / (1 + np.exp(1 - X[:, 0] - X[:, 1] * X[:, 2]))).astype(int)


@pytest.mark.slow
def test_of_many_challengers_the_better_ones_pass() -> None:
    """Of 200 champions, each really trained: none gives way to itself, or to one with a tenth of its labels flipped.

    One that is exactly as good, with other errors, passes by luck in 5 cases of 200 as the confidence says; one that
    is better by three of its interval's standard deviations mostly passes.
    """
    passed = dict.fromkeys(("itself", "flipped", "as good", "better"), 0)
    for seed in range(200):
        random = np.random.default_rng(seed)
        (X, y), (X_holdout, y_holdout) = sample(random), sample(random)
        labels = {"itself": y, "flipped": np.where(random.random(len(y)) < 0.1, 1 - y, y), "better": y}
        predicted = {}
        for name, known in labels.items():
            tree = DecisionTreeClassifier(min_samples_leaf=40 if name == "better" else 10, random_state=0)
            predicted[name] = tree.fit(X, known).predict_proba(X_holdout)[:, 1]
        rivals = {name: (p, predicted["itself"]) for name, p in predicted.items()}
        truth = X_holdout[:, 0] + X_holdout[:, 1] * X_holdout[:, 2]
        one, other = (1 / (1 + np.exp(-truth - 0.7 * random.normal(size=len(truth)))) for _ in range(2))
        for name, (challenger, champion) in {**rivals, "as good": (one, other)}.items():
            resampling = Resampling(100, 0.95, seed)
            decision = decided(y_holdout, resampling=resampling, challenger=challenger, champion=champion)
            passed[name] += decision.passed
    assert passed["itself"] == passed["flipped"] == 0
    assert passed["as good"] <= 10
    assert passed["better"] >= 180
