"""What the lines of a journal say together, and how one is missed or seen to be altered."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from dovetail.contracts.journal import (
    APPROVE,
    CHAMPION,
    NOTICED,
    PASSED,
    PROMOTE,
    RECALL,
    REJECT,
    ROLLBACK,
    Head,
    History,
    Line,
    Outcome,
)

ADA, BOB = "Ada <ada@example.org>", "Bob <bob@example.org>"
Tags = dict[str, str]


def chained(*lines: Line) -> list[Line]:
    """The lines as a journal has them: numbered, each naming the one before."""
    made: list[Line] = []
    for number, line in enumerate(lines, start=1):
        made.append(replace(line, number=number, previous=made[-1].link if made else ""))
    return made


def said(act: str, version: int | None, *, outcome: Outcome = "done", **more: object) -> Line:
    """A line without its number; the digest follows from the version."""
    values = {"at": "2026-01-05T10:00:00+00:00", "who": ADA, "why": "because", "digest": f"d{version}", **more}
    return Line(number=0, act=act, after=version, outcome=outcome, **values)  # type: ignore[arg-type]


def promoted(version: int, **more: object) -> Line:
    return said(PROMOTE, version, alias=CHAMPION, evidence={"gate": PASSED}, **more)


def moved(act: str, version: int | None, **more: object) -> Line:
    return said(act, version, alias=CHAMPION, **more)


def history(*lines: Line) -> History:
    """The whole history of these lines."""
    made = chained(*lines)
    found = History.of(made, Head(made[-1].number, made[-1].link))
    assert found.flaws == ()
    return found


def as_read(lines: list[Line], **altered: Callable[[Tags], object]) -> History:
    """The history as it is read from tags, after the tags of the lines `line_N` were altered; the head is as it was."""
    read = []
    for line in lines:
        tags = line.tags()
        altered.get(f"line_{line.number}", lambda _: None)(tags)
        read.append(Line.parse(tags, line.outcome))
    return History.of([line for line in read if line], Head(lines[-1].number, lines[-1].link))


def test_a_line_is_read_as_it_was_written() -> None:
    """Through tags and back, with all it says."""
    line = replace(promoted(2, before=1, why="better,\nby far"), number=7, previous="abc", outcome="not done")
    assert Line.parse(line.tags(), "not done") == line
    assert str(line) == "champion: 1 -> 2, promote"
    assert Line.parse({"mlflow.note.content": "a run of somebody else"}, "done") is None


@pytest.mark.parametrize(
    "alter",
    [
        lambda tags: tags.update({"journal.to": "3"}),
        lambda tags: tags.update({"journal.to": "three"}),
        lambda tags: tags.update({"journal.evidence.gate": "refused"}),
        lambda tags: tags.update({"journal.evidence.more": "x"}),
        lambda tags: tags.pop("journal.why"),
        lambda tags: tags.update({"journal.sha256": "0" * 64}),
    ],
)
def test_a_line_that_was_altered_is_named_and_counts_for_nothing(alter: Callable[[Tags], object]) -> None:
    """Whatever tag it is; the lines around it count."""
    lines = chained(promoted(1), promoted(2), promoted(3))
    found = as_read(lines, line_2=alter)
    assert found.flaws == ("line 2 was altered",)
    assert [found.has_passed((version, f"d{version}")) for version in (1, 2, 3)] == [True, False, True]


def test_a_line_that_was_written_anew_does_not_fit_the_next() -> None:
    """Its own seal holds, and the line after it names another; at the end it is the registered model that does."""
    lines = chained(promoted(1), promoted(2), promoted(3))
    for number, flaw in ((1, "line 2 follows"), (2, "line 3 follows"), (3, "was written")):
        forged = [replace(line, why="forged") if line.number == number else line for line in lines]
        found = History.of(forged, Head(3, lines[-1].link))
        assert len(found.flaws) == 1
        assert found.flaws[0].startswith(f"line {number} is not the one that ")
        assert found.flaws[0].endswith(flaw)
        assert not found.has_passed((number, f"d{number}"))


def test_how_a_line_ended_is_sealed_too() -> None:
    """A promotion that was not carried out does not become one by a changed status."""
    lines = chained(promoted(1, outcome="not done"), promoted(2))
    forged = [replace(lines[0], outcome="done"), lines[1]]
    found = History.of(forged, Head(2, lines[1].link))
    assert found.flaws == ("line 1 is not the one that line 2 follows",)
    assert not found.has_passed((1, "d1"))


@pytest.mark.parametrize(
    ("kept", "flaw"),
    [
        ([1, 3, 4], "line 2 is missing"),
        ([3, 4], "lines 1 to 2 are missing"),
        ([1, 2], "lines 3 to 4 are missing"),
        ([], "lines 1 to 4 are missing"),
    ],
)
def test_a_line_that_was_removed_is_missed(kept: list[int], flaw: str) -> None:
    """Also at the end, where the registered model still counts it; and for good, since numbers are not given again."""
    lines = chained(promoted(1), promoted(2), promoted(3), promoted(4))
    head = Head(4, lines[-1].link)
    found = History.of([line for line in lines if line.number in kept], head)
    assert found.flaws == (flaw,)
    assert found.head == head
    later = replace(promoted(5), number=found.head.number + 1, previous=found.head.link)
    again = History.of([*found.lines, later], Head(5, later.link))
    assert flaw.split(" ")[1] in again.flaws[0]
    assert "missing" in again.flaws[0]


def test_a_journal_without_its_count_says_so() -> None:
    """Somebody removed the tag of the registered model; after the very first line a process may have died before it."""
    lines = chained(promoted(1), promoted(2))
    assert "lost its count" in History.of(lines, None).flaws[0]
    assert History.of(lines[:1], None).flaws == ()
    assert History.of(lines, Head(1, lines[0].link)).flaws == ()  # died before it counted the second


def test_a_line_that_is_there_twice_is_not_believed() -> None:
    """Whichever of the two somebody slipped in."""
    lines = chained(promoted(1), promoted(2))
    found = History.of([*lines, replace(lines[1], after=9, digest="d9")], Head(2, lines[1].link))
    assert "line 2 is there twice" in found.flaws
    assert not found.has_passed((9, "d9"))


def test_only_what_was_carried_out_moves_an_alias() -> None:
    """The position of an alias is that of its last line that counts."""
    found = history(promoted(1), promoted(2, outcome="not done"), moved(NOTICED, None, before=1))
    assert found.positions()[CHAMPION].after is None
    assert not found.has_passed((2, "d2"))
    assert found.has_passed((1, "d1"))
    assert not found.has_passed((1, "other"))  # another model under the same number


def test_a_champion_that_somebody_else_made_never_passed() -> None:
    """And it is said how it came there; one that passed before may come back by hand."""
    found = history(promoted(1), moved(NOTICED, 2, why="moved outside"))
    assert found.objection((2, "d2")) == (
        "never passed the gate, by the journal (moved outside; noticed 2026-01-05T10:00:00+00:00)"
    )
    assert history(promoted(1), promoted(2), moved(NOTICED, 1)).objection((1, "d1")) is None


def test_a_recall_holds_for_the_model_under_any_number() -> None:
    """A copy of it is out of use too, also when somebody edits the line that says so."""
    lines = chained(promoted(1), said(RECALL, 1, who=BOB, why="wrong unit"))
    found = as_read(lines, line_2=lambda tags: tags.update({"journal.who": "nobody"}))
    assert found.flaws == ("line 2 was altered",)
    for key in ((1, "d1"), (7, "d1")):
        assert "was recalled" in str(found.objection(key))
    assert found.recall_of((1, "d2")) is None
    assert history(promoted(1), said(RECALL, 1, outcome="not done")).recall_of((1, "d1")) is None


def test_the_last_word_of_a_person_counts() -> None:
    """Yes, no, and going back from a version; each lasts until the next."""
    lines = [promoted(1), promoted(2), moved(ROLLBACK, 1)]
    assert history(*lines).word_on((2, "d2")).act == ROLLBACK  # type: ignore[union-attr]
    assert history(*lines).word_on((1, "d1")) is None
    assert history(*lines, said(APPROVE, 2)).word_on((2, "d2")).act == APPROVE  # type: ignore[union-attr]
    assert history(said(APPROVE, 3), said(REJECT, 3)).word_on((3, "d3")).act == REJECT  # type: ignore[union-attr]
    assert history(said(APPROVE, 3)).word_on((3, "another model")) is None


@pytest.mark.parametrize(
    ("lines", "present", "good"),
    [
        ([], None, None),
        ([promoted(1)], 1, None),
        ([promoted(1), promoted(2)], 2, 1),
        ([promoted(1), promoted(2)], None, 2),  # the alias was taken away
        ([promoted(1), promoted(2), promoted(3), moved(ROLLBACK, 2)], 2, 1),  # not forward to 3 again
        ([promoted(1), promoted(2), promoted(3), moved(NOTICED, 1)], 1, None),  # a person went back, in the UI
        ([promoted(1), promoted(2), moved(NOTICED, 9)], 9, 2),
        ([promoted(1), promoted(2), promoted(1)], 1, 2),
        ([promoted(1), promoted(2), said(RECALL, 1)], 2, None),
        ([promoted(1), promoted(2), said(REJECT, 1)], 2, None),
        ([promoted(1), moved(PROMOTE, 2, evidence={"gate": "off"}), promoted(3)], 3, 1),
    ],
)
def test_the_last_good_champion(lines: list[Line], present: int | None, good: int | None) -> None:
    """The one before, that passed the gate and was neither taken back nor recalled nor rejected."""
    found = history(*lines) if lines else History.of([], None)
    key = found.last_good((present, f"d{present}") if present else None)
    assert key == ((good, f"d{good}") if good else None)
