"""What a name of a module computes, as hashes of itself and all that it needs."""

import pytest

from dovetail.tools.feature_store.computation import Module

MODULE = '''
"""Shops."""
from functools import partial
import ibis
HOURS = 24
LIMIT: int = 5
WINDOWS = {"24h": HOURS}
def base(sources):
    """All sales."""
    return sources["sales"]  # as they come
def mean(sources, windows):
    return base(sources).agg({name: length for name, length in windows.items()})
sales = partial(mean, windows=WINDOWS)
other = lambda sources: sources["other"].head(LIMIT)
FEATURE_TABLES = {"sales": sales, "other": other}
'''


def hashes(source: str, root: str = "FEATURE_TABLES", key: str | None = "sales") -> dict[str, str]:
    """The hash of each name that an entry needs."""
    return {name: said["hash"] for name, said in Module(source).computation(root, key).items()}


def test_an_entry_needs_what_it_uses_and_nothing_else() -> None:
    """The names of an entry are those it reaches, through functions and constants; not those of other entries."""
    assert set(hashes(MODULE)) == {"sales", "partial", "mean", "WINDOWS", "base", "HOURS"}
    assert set(hashes(MODULE, key="other")) == {"other", "LIMIT"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""All sales."""\n    ', ""),
        ("  # as they come", ""),
        ('{"24h": HOURS}', '{\n    "24h": HOURS,\n}'),
        ("LIMIT: int = 5", "LIMIT: int = 6"),
        ("import ibis\n", "import ibis, os\n"),
    ],
    ids=["docstring", "comment", "format", "constant of another", "import of another"],
)
def test_what_does_not_matter_changes_nothing(old: str, new: str) -> None:
    """Comments, docstrings, layout and what others use leave the computation as it is."""
    assert MODULE.count(old) == 1
    assert hashes(MODULE.replace(old, new)) == hashes(MODULE)


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("HOURS = 24", "HOURS = 48", {"HOURS"}),
        ('sources["sales"]', 'sources["returns"]', {"base"}),
        ("windows=WINDOWS", "windows={}", {"sales", "WINDOWS", "HOURS"}),
        ("from functools import partial", "from other import partial", {"partial"}),
        ("def base", 'WINDOWS["7d"] = 7\ndef base', {"WINDOWS"}),
        ("def base", "for days in (7, 28):\n    WINDOWS[str(days)] = days\ndef base", {"WINDOWS"}),
        ("def base", "WINDOWS.update(week=7)\ndef base", {"WINDOWS"}),
        ("def base", "if ibis:\n    HOURS = 12\ndef base", {"HOURS"}),
        ("def base", "HOURS += 1\ndef base", {"HOURS"}),
    ],
)
def test_what_matters_is_named(old: str, new: str, changed: set[str]) -> None:
    """A changed constant, function, import or a statement that changes a name shows under that name."""
    assert MODULE.count(old) == 1
    before, after = hashes(MODULE), hashes(MODULE.replace(old, new))
    assert {name for name in before if before[name] != after.get(name)} == changed


def test_a_table_that_is_not_one_plain_display_counts_as_a_whole() -> None:
    """When entries may come from elsewhere, every entry needs everything."""
    source = MODULE + "FEATURE_TABLES.update(sales=other)\n"
    assert {"FEATURE_TABLES", "other", "sales", "LIMIT", "HOURS"} <= set(hashes(source))


def test_an_expression_in_the_display_is_part_of_it() -> None:
    """An entry may be a lambda or a call; its own text counts."""
    source = MODULE.replace('{"sales": sales,', '{"sales": partial(mean, windows={"1h": 1}),')
    assert "FEATURE_TABLES['sales']" in hashes(source)
    assert hashes(source) != hashes(source.replace('"1h": 1', '"1h": 2'))


def test_names_that_are_described_elsewhere_are_not_followed() -> None:
    """What is described by what it holds need not be described by its text."""
    assert "WINDOWS" not in Module(MODULE, frozenset({"WINDOWS"})).computation("FEATURE_TABLES", "sales")


def test_the_hash_is_the_same_on_every_python() -> None:
    """One value for 3.11, 3.12 and 3.13, though their syntax trees differ."""
    assert hashes(MODULE)["mean"][:16] == "1094591ba1d0610d"
