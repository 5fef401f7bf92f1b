"""Where a model came from and what it led to: a tree of links, each with what was found when it was checked.

Pure: what a link says and how its check ended come from those who looked; here they are counted and drawn.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

DIGITS = 12  # of a hash, for people


class Verdict(StrEnum):
    """How a check ended, from the best to the worst; what nobody looked at is not fine."""

    VERIFIED = "verified"
    NOT_CHECKED = "not checked"
    UNKNOWN = "cannot be checked"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Check:
    """How a check ended, why, and the command that would mend it."""

    verdict: Verdict
    why: str = ""
    todo: str = ""


NOT_CHECKED = Check(Verdict.NOT_CHECKED)
VERIFIED = Check(Verdict.VERIFIED)


def differs(why: str, todo: str = "") -> Check:
    """The check of what is not as it was recorded."""
    return Check(Verdict.DIFFERS, why, todo)


def unknown(why: str, todo: str = "") -> Check:
    """The check of what cannot be checked."""
    return Check(Verdict.UNKNOWN, why, todo)


def same(recorded: str | None, found: str | None, where: str) -> Check:
    """The check of two hashes: what was recorded, and what was computed again; None is what there is not."""
    if not recorded:
        return unknown("was not recorded")
    if not found:
        return unknown(f"is not {where}")
    return VERIFIED if recorded == found else differs(f"recorded {recorded}, found {found} {where}")


@dataclass(frozen=True)
class Link:
    """One thing in the tree.

    Attributes:
        what: Its kind, like `run`.
        name: What names it, shortened for people.
        said: What people want to know of it, in a few words.
        facts: What programs want to know of it, nothing shortened.
        check: How well it is known to be what was recorded; None for what only holds others.
        below: What it consists of or led to.
    """

    what: str
    name: str = ""
    said: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    check: Check | None = None
    below: tuple["Link", ...] = ()

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the link and all below it."""
        order = list(Verdict)
        return max((each.check.verdict for each in walk([self]) if each.check), key=order.index, default=order[1])

    def as_dict(self) -> dict[str, Any]:
        """The link for programs, with all below it."""
        check = {} if self.check is None else {"verdict": self.check.verdict.value}
        why = {key: text for key in ("why", "todo") if self.check and (text := getattr(self.check, key))}
        below = {"below": [link.as_dict() for link in self.below]} if self.below else {}
        return {"what": self.what, **self.facts, **check, **why, **below}


def walk(links: Iterable[Link]) -> Iterator[Link]:
    """Each link and all below it, from top to bottom."""
    for link in links:
        yield link
        yield from walk(link.below)


def tally(links: Iterable[Link]) -> dict[Verdict, int]:
    """How many links have each verdict, from the best to the worst."""
    counted = Counter(link.check.verdict for link in walk(links) if link.check)
    return {verdict: counted[verdict] for verdict in Verdict if counted[verdict]}


_MARKS = {Verdict.VERIFIED: "✓", Verdict.NOT_CHECKED: "", Verdict.UNKNOWN: "?", Verdict.DIFFERS: "✗"}
_COLOURS = {Verdict.VERIFIED: 32, Verdict.UNKNOWN: 33, Verdict.DIFFERS: 31}
_BOLD, _DIM = 1, 2


def drawn(link: Link, *, colours: bool) -> str:
    """The tree for people: a line a link, and below it why it is not fine and what to type."""
    title = " ".join(filter(None, (link.what, link.name)))
    first = f"{_marked(link, colours)}{_styled(title, _BOLD, colours)}  {_styled(link.said, _DIM, colours)}".rstrip()
    remarks = _remarks(link, "│  " if link.below else "   ", colours)
    return "\n".join([first, *remarks, *_branches(link, "", colours)])


def _branches(link: Link, indent: str, colours: bool) -> Iterator[str]:
    width = max((len(each.what) for each in link.below), default=0)
    for at, each in enumerate(link.below):
        is_last = at == len(link.below) - 1
        onward = indent + ("   " if is_last else "│  ")
        parts = (f"{each.what:<{width}}", each.name, _styled(each.said, _DIM, colours))
        said = "  ".join(filter(None, parts)).rstrip()
        yield f"{_styled(indent + ('└─ ' if is_last else '├─ '), _DIM, colours)}{_marked(each, colours)}{said}"
        yield from _remarks(each, f"{onward}{'│  ' if each.below else '   '}", colours)
        yield from _branches(each, onward, colours)


def _remarks(link: Link, indent: str, colours: bool) -> Iterator[str]:
    if link.check and link.check.why:
        said = f"{link.check.verdict}: {link.check.why}"
        yield _styled(indent, _DIM, colours) + _styled(said, _COLOURS.get(link.check.verdict, _DIM), colours)
        if link.check.todo:
            yield _styled(indent, _DIM, colours) + link.check.todo


def _marked(link: Link, colours: bool) -> str:
    mark = _MARKS[link.verdict]
    return _styled(mark, _COLOURS.get(link.verdict, _DIM), colours) + " " if mark else ""


def _styled(text: str, code: int, colours: bool) -> str:
    """The text in a terminal's style (https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters)."""
    return f"\x1b[{code}m{text}\x1b[0m" if colours and text else text
