"""What a model card shows, as plain records: whoever makes a card fills them, and the page only draws them.

A part that nobody can fill is `Unknown`, with the reason: the page says so, and never leaves it blank.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from dovetail.science.comparison import Estimate
from dovetail.science.drift import ColumnDrift
from dovetail.science.metrics import Calibration


@dataclass(frozen=True)
class Unknown:
    """Why something is not known, and the command that would bring it, if there is one."""

    why: str
    todo: str = ""


class Rule(NamedTuple):
    """One of the gate's rules: whether it holds, and a sentence with the numbers."""

    name: str
    holds: bool
    said: str


class Metric(NamedTuple):
    """A metric of the version, the champion and the baseline on the same rows; the gain is over the champion."""

    name: str
    own: Estimate
    champion: Estimate | None
    gain: Estimate | None
    baseline: Estimate | None


class Slice(NamedTuple):
    """The deciding metric on the rows that share a value; no estimate says anything when there are too few rows."""

    name: str
    value: str
    rows: int
    positives_share: float
    own: Estimate
    champion: Estimate | None
    gain: Estimate | None
    too_small: bool


class Importance(NamedTuple):
    """What the AUC loses when an input's column is shuffled: the version's, and the champion's; None: not its input."""

    name: str
    own: float | None
    deviation: float
    champion: float | None


class Fact(NamedTuple):
    """One thing that the version came from, and the same of the champion; None is unknown."""

    name: str
    own: str | None
    champion: str | None


class Word(NamedTuple):
    """A line of the journal about the version: when, who, what was done (`approve`, `reject`, `promote`, ...), why."""

    at: str
    who: str
    act: str
    why: str


@dataclass(frozen=True)
class Judged:
    """What the gate was asked, and answered.

    Attributes:
        decision: `off` means that nothing was judged.
        rows: Which rows decided, in words; empty when none did.
        metric: The metric that decided.
        slice_tolerance: By how much a slice may be worse.
    """

    decision: Literal["passed", "refused", "off"]
    mode: Literal["enforce", "dry_run", "off"]
    rules: tuple[Rule, ...]
    rows: str
    metric: str
    slice_tolerance: float
    confidence: float


@dataclass(frozen=True)
class Drifted:
    """The version's training data held against the champion's; `is_same` when both are the same file."""

    rows: int
    champion_rows: int
    columns: tuple[ColumnDrift, ...]
    is_same: bool


@dataclass(frozen=True)
class Card:
    """All that a person sees before a version goes to production.

    Attributes:
        champion: With whom it was compared, in words; None: nobody was in production.
        is_champion: Whether it is in production as this is made.
        needs_approval: Whether a person has to say yes.
        calibration: By `own`, and `champion` where there is one.
        warnings: What a person should not overlook, in sentences.
        changes: What differs from the champion, by part; a part without differences is left out.
        at: When the page was made.
    """

    name: str
    version: int
    champion: str | None
    is_champion: bool
    needs_approval: bool
    judged: Judged
    warnings: tuple[str, ...]
    metrics: tuple[Metric, ...] | Unknown
    slices: tuple[Slice, ...] | Unknown
    calibration: Mapping[str, Calibration] | Unknown
    behaviour: tuple[Rule, ...] | Unknown
    drift: Drifted | Unknown
    importances: tuple[Importance, ...] | Unknown
    facts: tuple[Fact, ...]
    changes: Mapping[str, tuple[str, ...]] | Unknown
    words: tuple[Word, ...] | Unknown
    at: datetime
