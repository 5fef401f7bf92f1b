"""What the gate kept, as a card shows it."""

from math import isnan
from typing import Any

import pytest

from dovetail.cards import judgement
from dovetail.pages.records import Unknown
from dovetail.science.metrics import METRICS

SOME = {"value": 0.75, "low": 0.7, "high": 0.8}
NOTHING = {"value": None, "low": None, "high": None}
RULES = {"mode": "enforce", "metric": "roc_auc", "slice_tolerance": 0.02, "confidence": 0.95}
RECORD: dict[str, Any] = {
    "decision": "refused",
    "rules": RULES,
    "checks": [
        {"name": "floor", "holds": True, "detail": "roc_auc is 0.75"},
        {"name": "behaviour mile", "holds": True, "detail": "distance +1 moves nothing"},
        {"name": "behaviour delay", "holds": False, "detail": "delay +30 moves the predictions by -0.1"},
    ],
    "rows": {"rows": 400, "positives": 100, "first": "2013-08-03T00:15:00+00:00", "last": "2013-09-30T23:00:00+00:00"},
    "models": {role: dict.fromkeys(METRICS, SOME) for role in ("challenger", "champion", "baseline")},
    "gains": {"champion": dict.fromkeys(METRICS, SOME), "baseline": dict.fromkeys(METRICS, SOME)},
    "slices": [
        {"slice": "origin", "value": "EWR", "rows": 300, "positives_share": 0.2, "too_small": False}
        | {"challenger": SOME, "champion": SOME, "gain": SOME},
        {"slice": "origin", "value": "JFK", "rows": 3, "positives_share": 0.0, "too_small": True}
        | {"challenger": NOTHING, "champion": NOTHING, "gain": NOTHING},
    ],
    "calibration": {"challenger": {"predicted": [0.1, 0.3], "observed": [0.2, 0.4], "rows": [200, 200]}},
    "behaviour": [{"name": "mile", "holds": True, "detail": "distance +1 moves nothing"}],
}
UNMEASURED = RECORD | {"models": {}, "gains": {}, "slices": [], "calibration": {}, "behaviour": [], "rows": None}
EVALUATION = {"rows": 500, "models": {name: dict.fromkeys(METRICS, SOME) for name in ("model", "baseline")}}
LOST = Unknown("the run has no evaluation.json")


def test_rules_about_behaviour_are_told_once() -> None:
    """Those that hold have a part of their own; one that is broken is also a reason, and stands with the others."""
    judged = judgement.judged(RECORD, EVALUATION)
    assert [rule.name for rule in judged.rules] == ["floor", "behaviour delay"]
    assert judged.rows == "400 rows of the holdout, 2013-08-03 to 2013-09-30, 25.0% positive"
    assert (judged.decision, judged.mode, judged.metric) == ("refused", "enforce", "roc_auc")


def test_what_could_not_be_measured_is_no_number() -> None:
    """null in the file is nan, which a page does not draw."""
    big, small = judgement.slices(RECORD)
    assert (big.own.value, big.too_small) == (0.75, False)
    assert isnan(small.own.value)
    assert small.too_small


def test_without_a_champion_there_is_no_gain() -> None:
    """The first version stands beside the baseline alone."""
    first = RECORD | {
        "models": {role: RECORD["models"][role] for role in ("challenger", "baseline")},
        "gains": {"baseline": RECORD["gains"]["baseline"]},
    }
    row = judgement.metrics(first, EVALUATION)[0]
    assert (row.champion, row.gain) == (None, None)
    assert row.baseline is not None
    assert judgement.slices(first)[0].gain is None
    assert set(judgement.calibration(first)) == {"own"}


def test_a_version_that_was_not_measured_shows_its_evaluation() -> None:
    """Its own numbers are known since `evaluate`; what only the gate measures is not, and the reason is said."""
    row = judgement.metrics(UNMEASURED, EVALUATION)[0]
    assert (row.own.value, row.champion) == (0.75, None)
    assert judgement.judged(UNMEASURED, EVALUATION).rows == "500 rows of the holdout"
    assert judgement.metrics(UNMEASURED, LOST) == LOST


@pytest.mark.parametrize(
    ("decision", "why"),
    [("off", "the gate was off"), ("refused", "the gate could not measure this version fairly")],
)
@pytest.mark.parametrize("part", [judgement.slices, judgement.calibration, judgement.behaviour])
def test_parts_that_only_the_gate_measures_say_why_they_are_not_there(part: Any, decision: str, why: str) -> None:
    """An unmeasured slice is not a slice without difference."""
    assert part(UNMEASURED | {"decision": decision}) == Unknown(why)
