"""The model card: what a person sees before a version goes to production."""

import re
from collections import Counter
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from dovetail.pages.card import page
from dovetail.pages.records import Card, Drifted, Fact, Importance, Judged, Metric, Rule, Slice, Unknown, Word
from dovetail.science.comparison import Estimate
from dovetail.science.drift import ColumnDrift
from dovetail.science.metrics import Calibration

E = Estimate
NAN = E(float("nan"), float("nan"), float("nan"))


def bins(shift: float) -> Calibration:
    predicted = np.linspace(0.05, 0.6, 10)
    return Calibration(predicted, np.clip(predicted + shift * np.sin(predicted * 9), 0, 1), np.full(10, 5386))


def column(name: str, distance: float | None, outcome: str = "drift", reason: str = "", **more) -> ColumnDrift:
    return ColumnDrift(name, outcome, reason, distance, 0.01, 0.02, **{"new_categories": (), "new_share": 0.0} | more)


METRICS = (
    Metric("roc_auc", E(0.7555, 0.7503, 0.761), E(0.7482, 0.743, 0.7539), E(0.0073, 0.0041, 0.0105), E(0.5, 0.5, 0.5)),
    Metric("brier", E(0.1262, 0.1242, 0.128), E(0.1271, 0.1251, 0.13), E(0.0009, -0.0001, 0.0019), E(0.15, 0.15, 0.15)),
    Metric("log_loss", E(0.41, 0.4, 0.42), E(0.4, 0.39, 0.41), E(-0.01, -0.02, -0.005), E(0.48, 0.47, 0.49)),
)
SLICES = (
    Slice("origin", "EWR", 19_000, 0.2, E(0.76, 0.75, 0.77), E(0.75, 0.74, 0.76), E(0.01, 0.006, 0.014), False),
    Slice("origin", "JFK", 18_000, 0.18, E(0.75, 0.74, 0.76), E(0.749, 0.74, 0.75), E(0.001, -0.003, 0.005), False),
    Slice("carrier", "HA", 60, 0.3, NAN, NAN, NAN, True),
    Slice("carrier", "UA", 9_000, 0.17, E(0.7, 0.68, 0.72), E(0.725, 0.7, 0.74), E(-0.025, -0.04, -0.01), False),
)
JUDGED = Judged(
    decision="passed",
    mode="enforce",
    rules=(
        Rule("gain over the champion", True, "gain in roc_auc +0.0073 over the champion; must be at least 0.002"),
        Rule("floor", True, "roc_auc is 0.7555; must be 0.65 or more for any version (floor)"),
    ),
    rows="53,860 rows of the holdout, 2013-08-03 to 2013-09-30, 18.8% positive",
    metric="roc_auc",
    slice_tolerance=0.02,
    confidence=0.95,
)
MOVED = (
    column("temp", 0.61, reason="distance 0.610, at least 0.1"),
    column("carrier", 0.14, reason="distance 0.140, at least 0.1", new_categories=("YV",), new_share=0.002),
    column("speed", None, "could_not_evaluate", "constant in the reference (90)"),
    column("hour", 0.01, "ok"),
)
INPUTS = [Importance(f"input_{n}", 0.05 / (n + 1), 0.002, 0.04 / (n + 1) if n != 2 else None) for n in range(24)]
CARD = Card(
    name="flights",
    version=3,
    champion="flights version 2",
    is_champion=False,
    needs_approval=True,
    judged=JUDGED,
    warnings=("it was made from files that no commit has.",),
    metrics=METRICS,
    slices=SLICES,
    calibration={"own": bins(0.02), "champion": bins(-0.03)},
    behaviour=(
        Rule("one_mile_more", True, "distance +1 moves the predictions by +0.0001; must stay on average"),
        Rule("delays_at_the_origin", False, "arr_delay_3h +30 moves the predictions by -0.0100; must rise on average"),
    ),
    drift=Drifted(165_211, 138_020, MOVED, is_same=False),
    importances=(*INPUTS, Importance("wind_gust", None, 0.0, 0.001)),
    facts=(
        Fact("git commit", "6bc8049060e0b042b51877fa8fa8c36c46b3dbe4", "9aa1400c02a681dff94b3c95897cfd1b93808246"),
        Fact("data version", "77b565fbb34d", "77b565fbb34d"),
        Fact("source weather", "d13a8241611c4d5f2a8d3156d1920d28", None),
    ),
    changes={"settings": ("model.max_iter: 200 -> 300",), "features": ("weather: time to live: 1 day -> 12:00:00",)},
    words=(Word("2026-11-25T10:00:00+00:00", "Ada <ada@example.org>", "approve", "looked at the slices"),),
    at=datetime(2026, 11, 25, 10, 5, tzinfo=UTC),
)
FIRST = replace(
    CARD,
    champion=None,
    metrics=tuple(row._replace(champion=None, gain=None) for row in CARD.metrics),
    slices=tuple(row._replace(champion=None, gain=None) for row in CARD.slices),
    calibration={"own": bins(0.02)},
    drift=Unknown("there is no champion to compare with"),
    importances=tuple(row._replace(champion=None) for row in CARD.importances if row.own is not None),
    changes={},
    words=(),
)
HOSTILE = """'"><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"""


class Outline(HTMLParser):
    """Counts a page's elements, and sees that each one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.elements[tag] += 1
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """The innermost element ends, and no other."""
        assert self.open.pop() == tag


def text_of(card: Card) -> str:
    """What a person reads: no markup, one space between words."""
    body = page(card).partition("<body>")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split()).replace(" .", ".")


def with_text(value: Any, text: str) -> Any:
    """The value with another text in each place where a text from outside can stand."""
    if isinstance(value, str):
        return value if value in ("passed", "enforce", "approve", "ok", "drift", "could_not_evaluate") else text
    if is_dataclass(value):
        return replace(value, **{each.name: with_text(getattr(value, each.name), text) for each in fields(value)})
    if isinstance(value, Calibration):
        return value
    if isinstance(value, tuple):
        parts = [with_text(item, text) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, dict):
        keep = {"own", "champion"}
        return {key if key in keep else text: with_text(item, text) for key, item in value.items()}
    return value


def test_the_page_needs_nothing_but_itself() -> None:
    """No script, no request, one small file; a browser is told to refuse both."""
    text = page(CARD)
    assert not re.search(
        r"<(script|link|iframe|object|embed|form|base)\b|\b(src|href|action)=|url\(|@import|https?:", text
    )
    assert "default-src &#x27;none&#x27;" in text
    assert len(text) < 60_000
    assert page(CARD) == text


def test_no_value_becomes_markup() -> None:
    """Whatever stands in a name, a reason or a hash: the page has the same elements, and shows it as it is."""
    hostile = with_text(CARD, HOSTILE)
    assert Outline(page(hostile)).elements == Outline(page(with_text(CARD, "plain"))).elements
    assert "onerror=alert" not in re.sub(r">[^<]*<", "><", page(hostile))


@pytest.mark.parametrize(
    ("changes", "judged", "said"),
    [
        (
            {},
            {},
            "Approved It passed the gate against flights version 2, and Ada <ada@example.org> said yes. It is not",
        ),
        ({"words": (), "needs_approval": False}, {}, "Passed the gate Judged against flights version 2. It is not in"),
        ({"words": ()}, {}, "Waits for approval It passed the gate against flights version 2. Before it"),
        ({"words": (CARD.words[0]._replace(act="reject"),)}, {}, "Rejected by Ada <ada@example.org> It passed"),
        (
            {"words": (CARD.words[0]._replace(act="recall"),), "is_champion": True},
            {},
            "Recalled Ada <ada@example.org> took",
        ),
        ({"is_champion": True}, {}, "Promoted It passed the gate against flights version 2, and became the champion."),
        (
            {},
            {"decision": "refused"},
            "Not promoted The gate refused it against flights version 2. flights version 2 st",
        ),
        (
            {"champion": None},
            {"decision": "refused"},
            "Not promoted The gate refused it as the first version. Nothing is",
        ),
        ({"is_champion": True}, {"decision": "refused"}, "Refused, and yet champion The gate refused it, and somebody"),
        ({}, {"mode": "dry_run"}, "Dry run: would be promoted Judged against flights version 2. Nothing was moved."),
        ({}, {"mode": "dry_run", "decision": "refused"}, "Dry run: would not be promoted"),
        ({}, {"mode": "off", "decision": "off"}, "Never judged The gate was off when this version was asked for"),
    ],
)
def test_the_verdict_is_on_top(changes: dict[str, Any], judged: dict[str, Any], said: str) -> None:
    """A person reads first how it stands with the version, and after a no never sees a yes."""
    card = replace(CARD, **changes, judged=replace(CARD.judged, **judged))
    start = f"flights version 3 Model card, made 2026-11-25 10:05 UTC, compared with {card.champion}. {said}"
    assert text_of(card).startswith(start.replace("compared with None", "the first of its name"))


def test_broken_rules_come_first() -> None:
    """Nobody has to look for the reason."""
    broken = Rule("slice", False, "gain in roc_auc -0.0490 on hour_band 14 to 18; may be worse by 0.02")
    text = text_of(replace(CARD, judged=replace(CARD.judged, decision="refused", rules=(*CARD.judged.rules, broken))))
    assert "✗ gain in roc_auc -0.0490 on hour_band 14 to 18; may be worse by 0.02 ✓ gain in roc_auc +0.0073" in text


def test_slices_are_marked() -> None:
    """Better, worse than allowed, not told apart, and too few rows: in words, not by colour alone."""
    text = text_of(CARD)
    assert "In 3 of 4 there are rows enough to say something. 1 of them are better than the champion's; 1 worse" in text
    assert "origin EWR +0.0100 [+0.0060, +0.0140] better 0.7600 0.7500 19,000 20.0%" in text
    assert "origin JFK +0.0010 [-0.0030, +0.0050] no clear difference" in text
    assert "Too few rows to say anything: carrier HA (60)." in text
    assert "carrier UA -0.0250 [-0.0400, -0.0100] worse than allowed" in text


def test_a_gain_is_read_with_its_interval() -> None:
    """The metric that decides is named; the marks go by the interval, also where smaller is better."""
    text = text_of(CARD)
    assert "ROC AUC (decides) +0.0073 [+0.0041, +0.0105] better 0.7555 [0.7503, 0.7610] 0.7482" in text
    assert "Brier score, smaller is better +0.0009 [-0.0001, +0.0019] no clear difference" in text
    assert "log loss, smaller is better -0.0100 [-0.0200, -0.0050] worse" in text


def test_drift_names_what_moved() -> None:
    """The farthest first, what cannot be compared with the reason, and one sentence for those that did not move."""
    text = text_of(CARD)
    assert "temp 0.610 distance 0.610, at least 0.1 carrier 0.140 distance 0.140" in text
    assert "new: YV (0.2% of rows) speed - could not be compared: constant in the reference (90)" in text
    assert "1 of 4 columns did not move; the farthest of them is hour, at 0.010." in text
    same = replace(CARD, drift=Drifted(165_211, 165_211, (), is_same=True))
    assert "The same file, to the byte: 165,211 rows. Nothing moved." in text_of(same)


def test_inputs_are_ordered_and_compared() -> None:
    """Twenty inputs, the rest counted; those that are new or gone are named."""
    text = text_of(CARD)
    assert "input_0 0.0500 0.0400 input_1 0.0250 0.0200 input_2 (new) 0.0167 - input_3" in text
    assert "4 more lose less. New, and not the champion's: input_2. Gone, and" in text


def test_a_page_is_bounded() -> None:
    """However many slices, inputs and differences there are: the worst slices, the first of the others, and counts."""
    card = replace(
        CARD,
        slices=tuple(SLICES[n % 4]._replace(value=f"{n:05}" * 20) for n in range(4_000)),
        drift=Drifted(1, 1, tuple(MOVED[0] for _ in range(1_000)), is_same=False),
        importances=tuple(Importance(f"{n}", None if n % 2 else 0.1, 0.0, 0.1) for n in range(1_000)),
        changes={"settings": tuple(f"key {n}" for n in range(1_000))},
        judged=replace(JUDGED, rules=JUDGED.rules * 1_000),
    )
    assert len(page(card)) < 150_000
    text = text_of(card)
    assert text.count("worse than allowed") == text.count("[-0.0400, -0.0100]") == 50
    assert "And 2,950 more. Too few rows to say anything: carrier 0000200002" in text
    assert "and 970 more." in text
    assert text.count("And 950 more.") == 2


def test_unknown_is_never_shown_as_fine() -> None:
    """A part that nobody can fill says why and what to type; a fact of one side only is neither same nor empty."""
    lost = Unknown("the champion's training part is neither in DVC's cache nor in a remote", "dvc pull train.parquet")
    parts = ("metrics", "slices", "calibration", "behaviour", "drift", "importances", "changes", "words")
    text = text_of(replace(CARD, **dict.fromkeys(parts, lost)))
    assert text.count("Unknown: the champion's training part is neither in DVC's cache nor in a remote.") == len(parts)
    assert text.count("Bring it: dvc pull train.parquet") == len(parts)
    assert "source weather d13a8241611c4d5f2a8d3156d1920d28 unknown cannot be compared" in text_of(CARD)
    assert (
        "git commit 6bc8049060e0b042b51877fa8fa8c36c46b3dbe4 9aa1400c02a681dff94b3c95897cfd1b93808246 differs"
        in text_of(CARD)
    )


def test_a_first_version_stands_alone() -> None:
    """Without a champion there is no empty column for one, and no difference to one."""
    Outline(page(FIRST))
    text = text_of(FIRST)
    assert "metric this version baseline ROC AUC (decides) 0.7555 [0.7503, 0.7610] 0.5000" in text
    assert "Unknown: there is no champion to compare with." in text
    assert "What differs" not in text
    assert "The journal has no line about it." in text
    assert "compare old=champion" not in text


def test_the_commands_are_of_this_version() -> None:
    """What a person may type next, ready to be copied."""
    text = text_of(CARD)
    for command in (
        "approve version=3 reason=",
        "reject version=3 reason=",
        "promote",
        "trace model=flights/3 verify=true",
    ):
        assert f"python -m dovetail {command}" in text
