"""The journal of a registered model: what a line says, how each is tied to the one before, and what follows from them.

A line is written before its act, as an intent, and closed after it. What it says is sealed by a SHA-256 that counts in
the one before it, with how that ended: a line that was altered, removed or slipped in later does not fit. The chain
has no key. It shows what somebody typed in the MLflow UI, not what somebody did who can rewrite the whole database.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from dovetail.contracts.model_folders import from_tag
from dovetail.lineage import MODEL_FILES, fingerprint

PREFIX = "journal."
_SEAL = f"{PREFIX}sha256"
SETTLED = f"{PREFIX}settled"  # who closed a line that its own process did not close; written later, so not sealed

REGISTER, PROMOTE, ROLLBACK = "register", "promote", "rollback"
APPROVE, REJECT, RECALL = "approve", "reject", "recall"
NOTICED = "noticed"
CHAMPION = "champion"
PASSED = "passed"

Outcome = Literal["open", "done", "not done"]
Key = tuple[int, str]  # a version and the digest of its model: a number alone may come back with another model


@dataclass(frozen=True)
class Line:
    """One act: an alias moved from `before` to `after`, or, without alias, a word about the version `after`.

    None in place of a version is no version: the alias was made, or taken away.
    """

    number: int  # from 1, without gaps
    at: str  # UTC, ISO 8601: of the intent, or when the move of somebody else was noticed
    act: str
    who: str
    why: str
    alias: str = ""
    before: int | None = None
    after: int | None = None
    digest: str = ""  # of the model in `after`, or in `before` when the alias was taken away
    evidence: Mapping[str, str] = field(default_factory=dict)
    previous: str = ""  # the link of the line before
    outcome: Outcome = "open"
    is_sound: bool = True  # it says what was sealed, and the line after it agrees
    is_deleted: bool = False  # in MLflow, where a deleted run stays readable

    def __str__(self) -> str:
        what = f"{self.alias}: {shown(self.before)} -> {shown(self.after)}" if self.alias else f"version {self.after}"
        return f"{what}, {self.act}"

    @property
    def key(self) -> Key | None:
        """The version that the line is about; None when the alias was taken away."""
        return None if self.after is None else (self.after, self.digest)

    @property
    def link(self) -> str:
        """What the next line names as `previous`: this one and how it ended."""
        return fingerprint([_seal(self.tags()), self.outcome])

    @property
    def counts(self) -> bool:
        """Whether it was carried out and nobody altered it."""
        return self.is_sound and self.outcome == "done"

    def tags(self) -> dict[str, str]:
        """The line as tags of a run, sealed; what is not there has no tag."""
        values = {
            "number": str(self.number),
            "at": self.at,
            "act": self.act,
            "alias": self.alias,
            "from": "" if self.before is None else str(self.before),
            "to": "" if self.after is None else str(self.after),
            "digest": self.digest,
            "who": self.who,
            "why": self.why,
            **{f"evidence.{name}": value for name, value in self.evidence.items()},
            "previous": self.previous,
        }
        tags = {PREFIX + name: value for name, value in values.items() if value}
        return tags | {_SEAL: _seal(tags)}

    @classmethod
    def parse(cls, tags: Mapping[str, str], outcome: Outcome, *, is_deleted: bool = False) -> Self | None:
        """The line in a run's tags; None when the run is no line. One that was altered is read, and is not sound."""
        found = {key.removeprefix(PREFIX): value for key, value in tags.items() if key.startswith(PREFIX)}
        number = _number(found.get("number"))
        if number is None:
            return None
        evidence = {key.removeprefix("evidence."): value for key, value in found.items() if key.startswith("evidence.")}
        line = cls(
            number=number,
            at=found.get("at", ""),
            act=found.get("act", ""),
            who=found.get("who", ""),
            why=found.get("why", ""),
            alias=found.get("alias", ""),
            before=_number(found.get("from")),
            after=_number(found.get("to")),
            digest=found.get("digest", ""),
            evidence=evidence,
            previous=found.get("previous", ""),
            outcome=outcome,
            is_deleted=is_deleted,
        )
        sealed = {key: value for key, value in tags.items() if key.startswith(PREFIX) and key not in (_SEAL, SETTLED)}
        is_sound = tags.get(_SEAL) == _seal(sealed) and line.tags() == sealed | {_SEAL: _seal(sealed)}
        return replace(line, is_sound=is_sound)


@dataclass(frozen=True)
class Head:
    """The journal's last line as the registered model remembers it: what was cut off at the end is missed by it."""

    number: int
    link: str

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """The head that `str` wrote; None when the text is none."""
        number, _, link = (text or "").partition(" ")
        return cls(int(number), link) if number.isdigit() and link else None

    def __str__(self) -> str:
        return f"{self.number} {self.link}"


@dataclass(frozen=True)
class History:
    """All lines, the oldest first, and what is wrong with them, a sentence each."""

    lines: tuple[Line, ...]
    flaws: tuple[str, ...]
    head: Head  # where the next line goes on

    @classmethod
    def of(cls, lines: Iterable[Line], head: Head | None) -> Self:
        """The history of lines in any order, held against each other and against the head."""
        ordered = sorted(lines, key=lambda line: (line.number, line.at))
        flaws = list(_flaws(ordered, head))
        last = ordered[-1] if ordered else None
        own = Head(last.number, last.link) if last else Head(0, "")
        # What was cut off at the end stays a gap, and a last line that was exchanged stays one that does not fit.
        end = head if head and head.number >= own.number else own
        doubted = {number for number, _ in flaws}
        sound = tuple(replace(line, is_sound=line.is_sound and line.number not in doubted) for line in ordered)
        deleted = [
            f"line {line.number} was deleted in MLflow; restore its run there" for line in sound if line.is_deleted
        ]
        return cls(sound, tuple([text for _, text in flaws] + deleted), end)

    @property
    def open(self) -> Line | None:
        """The last line, when nobody has closed it: all before it were closed before it was written."""
        return self.lines[-1] if self.lines and self.lines[-1].outcome == "open" else None

    def with_line(self, line: Line) -> "History":
        """The history after one more line, or after a line of it was closed."""
        kept = [known for known in self.lines if known.number != line.number]
        return replace(self, lines=(*kept, line), head=Head(line.number, line.link))

    def positions(self) -> dict[str, Line]:
        """Alias -> the line that moved it last."""
        return {line.alias: line for line in self.lines if line.counts and line.alias}

    def last(self, act: str, key: Key) -> Line | None:
        """The last line of this act about the version."""
        return next((line for line in reversed(self.lines) if line.counts and (line.act, line.key) == (act, key)), None)

    def has_passed(self, key: Key) -> bool:
        """Whether the gate let this very model become champion."""
        return any(line.key == key and _is_pass(line) for line in self.lines)

    def recall_of(self, key: Key) -> Line | None:
        """The line that took this model out of use, under whatever number; an altered one holds too."""
        _, digest = key
        lines = (line for line in self.lines if line.act == RECALL and not line.alias and line.outcome != "not done")
        return next((line for line in lines if line.key == key or (digest and line.digest == digest)), None)

    def word_on(self, key: Key) -> Line | None:
        """The last word of a person: approved, rejected, or rolled back from."""
        found = None
        for before, line in self._moves():
            if (line.act in (APPROVE, REJECT) and line.key == key) or (line.act == ROLLBACK and before == key):
                found = line
        return found

    def objection(self, key: Key) -> str | None:
        """Why a champion may not be used, as a part of a sentence; None when it may."""
        if recalled := self.recall_of(key):
            return f"was recalled by {recalled.who} at {recalled.at}: {recalled.why}"
        if self.has_passed(key):
            return None
        position = self.positions().get(CHAMPION)
        came = f" ({position.why}; noticed {position.at})" if position and position.act == NOTICED else ""
        return f"never passed the gate, by the journal{came}"

    def champions(self) -> list[Key]:
        """The good ones, the newest last: the gate let them in, and nobody took them back."""
        good: list[Key] = []
        for _, line in self._moves():
            if line.alias != CHAMPION or line.key is None:
                continue
            if _is_pass(line):
                good = [*(key for key in good if key != line.key), line.key]
            elif line.key in good:  # back to an earlier one: those that came after it were taken back
                good = good[: good.index(line.key) + 1]
        return [key for key in good if not self.recall_of(key) and not self._is_rejected(key)]

    def last_good(self, present: Key | None) -> Key | None:
        """The newest good champion that is not the present one; None when there is none."""
        return next((key for key in reversed(self.champions()) if key != present), None)

    def _is_rejected(self, key: Key) -> bool:
        word = self.word_on(key)
        return word is not None and word.act == REJECT

    def _moves(self) -> Iterator[tuple[Key | None, Line]]:
        """The lines that count, each with where its alias pointed before."""
        at: dict[str, Key | None] = {}
        for line in self.lines:
            if line.counts:
                yield at.get(line.alias), line
                if line.alias:
                    at[line.alias] = line.key


def digest_of(tags: Mapping[str, str]) -> str:
    """What names a version's model, from the version's tags: same files, same digest; empty without a manifest."""
    manifest = from_tag(tags.get(MODEL_FILES))
    return fingerprint(manifest) if manifest else ""


def shown(version: int | None) -> str:
    """A version as people read it."""
    return "none" if version is None else str(version)


def _is_pass(line: Line) -> bool:
    return line.counts and (line.act, line.alias) == (PROMOTE, CHAMPION) and line.evidence.get("gate") == PASSED


def _flaws(lines: Sequence[Line], head: Head | None) -> Iterator[tuple[int, str]]:
    """The number of each line that cannot be believed, or is missing, and what is wrong with it."""
    expected, link = 1, ""
    for at, line in enumerate(lines):
        if line.number < expected:
            yield line.number, f"line {line.number} is there twice"
            continue
        if line.number > expected:
            yield expected, f"{_span(expected, line.number - 1)} missing"
        elif line.previous != link and lines[at - 1].is_sound:
            yield line.number - 1, f"line {line.number - 1} is not the one that line {line.number} follows"
        if not line.is_sound:
            yield line.number, f"line {line.number} was altered"
        expected, link = line.number + 1, line.link
    last = lines[-1] if lines else None
    if head is None and len(lines) > 1:  # after the very first line a process may have died before it counted it
        yield 0, "nobody knows whether the last lines are there: the registered model has lost its count of them"
    if head and head.number >= expected:
        yield expected, f"{_span(expected, head.number)} missing"
    if head and last and head.number == last.number and last.is_sound and head.link != last.link:
        yield last.number, f"line {last.number} is not the one that was written"


def _span(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"


def _seal(tags: Mapping[str, str]) -> str:
    return fingerprint({key: value for key, value in tags.items() if key != _SEAL})


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
