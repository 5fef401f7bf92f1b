"""The tree of links: how verdicts add up, how it is drawn, and what programs read."""

from dataclasses import replace

import pytest

from dovetail.provenance import NOT_CHECKED, VERIFIED, Link, Verdict, differs, drawn, same, tally, unknown

DATA = Link("data/raw", "a794be14d17d", "2 files", {"md5": "a794"}, VERIFIED)
RUN = Link("run", "b779", "FINISHED", {"run_id": "b779"}, VERIFIED)
MODEL = Link("model", "flights version 1", "@champion", {"name": "flights"}, None, (RUN, DATA))


def model(*checks: object) -> Link:
    """The model, its run and its data checked so."""
    return replace(
        MODEL, below=tuple(replace(link, check=check) for link, check in zip((RUN, DATA), checks, strict=True))
    )


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [
        ((VERIFIED, VERIFIED), Verdict.VERIFIED),
        ((VERIFIED, NOT_CHECKED), Verdict.NOT_CHECKED),
        ((unknown("lost"), VERIFIED), Verdict.UNKNOWN),
        ((unknown("lost"), differs("other")), Verdict.DIFFERS),
    ],
)
def test_a_link_is_as_good_as_the_worst_below_it(checks: tuple[object, ...], verdict: Verdict) -> None:
    """What cannot be checked is never fine, and what was not looked at is not verified."""
    assert model(*checks).verdict is verdict


def test_links_are_counted_by_verdict() -> None:
    """A link that only holds others is not counted."""
    assert tally([model(VERIFIED, unknown("lost")), RUN]) == {Verdict.VERIFIED: 2, Verdict.UNKNOWN: 1}


@pytest.mark.parametrize(
    ("recorded", "found", "check"),
    [
        ("aa", "aa", VERIFIED),
        ("aa", "bb", differs("recorded aa, found bb in the cache")),
        ("aa", None, unknown("is not in the cache")),
        ("", "aa", unknown("was not recorded")),
        (None, None, unknown("was not recorded")),
    ],
)
def test_two_hashes_are_held_against_each_other(recorded: str | None, found: str | None, check: object) -> None:
    """Both are named when they differ; where one is not there, nothing is claimed."""
    assert same(recorded, found, "in the cache") == check


def test_what_was_not_checked_has_no_mark() -> None:
    """The tree of an unverified thread."""
    assert drawn(model(NOT_CHECKED, NOT_CHECKED), colours=False) == (
        "model flights version 1  @champion\n"
        "├─ run       b779  FINISHED\n"
        "└─ data/raw  a794be14d17d  2 files"
    )  # fmt: skip


def test_what_is_wrong_is_said_below_its_line() -> None:
    """With a mark on it and on all above it, the reason, and the command that mends it."""
    outer = Link(
        "commit", "c0ffee", "", {}, VERIFIED, (model(VERIFIED, differs("recorded aa, found bb", "dvc fetch")),)
    )
    assert drawn(outer, colours=False) == (
        "✗ commit c0ffee\n"
        "└─ ✗ model  flights version 1  @champion\n"
        "   ├─ ✓ run       b779  FINISHED\n"
        "   └─ ✗ data/raw  a794be14d17d  2 files\n"
        "         differs: recorded aa, found bb\n"
        "         dvc fetch"
    )


def test_colours_are_for_terminals() -> None:
    """Green, yellow and red in one, and none elsewhere."""
    tree = model(VERIFIED, unknown("lost"))
    assert "\x1b[32m✓\x1b[0m run" in drawn(tree, colours=True)
    assert "\x1b[33m?\x1b[0m data/raw" in drawn(tree, colours=True)
    assert "\x1b[" not in drawn(tree, colours=False)


def test_programs_read_the_facts_whole() -> None:
    """Nothing is shortened, and each verdict has its reason."""
    assert model(VERIFIED, unknown("lost", "dvc fetch")).as_dict() == {
        "what": "model",
        "name": "flights",
        "below": [
            {"what": "run", "run_id": "b779", "verdict": "verified"},
            {
                "what": "data/raw",
                "md5": "a794",
                "verdict": "cannot be checked",
                "why": "lost",
                "todo": "dvc fetch",
            },
        ],
    }
