"""An operation's own `key=value`, apart from the settings'."""

import re

import pytest

from dovetail.errors import SettingsError
from dovetail.settings.arguments import Recall, Rollback, Trace, described, taken


def test_arguments_are_typed_and_the_rest_is_for_the_settings() -> None:
    """What an operation knows is taken, also where a settings group has the name; the rest is left in its order."""
    own, others = taken("trace", ["model=flights@champion", "verify=true", "usecase.until=2013-10-01", "profile=spark"])
    assert own == Trace(model="flights@champion", verify=True)
    assert others == ["usecase.until=2013-10-01", "profile=spark"]


def test_a_value_may_hold_anything() -> None:
    """A reason is text: spaces, quotes and signs of Hydra's grammar mean nothing in it."""
    reason = 'it\'s late = "very", {see} [ticket:7]'
    assert taken("recall", ["version=3", f"reason={reason}"])[0] == Recall(version=3, reason=reason)


def test_what_may_be_left_out_is_none() -> None:
    """A rollback without a version goes to the last good one."""
    assert taken("rollback", ["reason=late"])[0] == Rollback(to=None, reason="late")


def test_a_step_without_arguments_leaves_all_to_the_settings() -> None:
    """A stage knows settings only."""
    assert taken("train", ["model=logistic", "verson=3"]) == (None, ["model=logistic", "verson=3"])


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Misspelt, missing and of the wrong type: each with its key."""
    expected = re.escape(
        "recall cannot use its arguments\n"
        "  - verson: unknown; did you mean 'version'?\n"
        "  - version: Input should be a valid integer, unable to parse string as an integer (got 'three')\n"
        "  - reason: missing\n"
        "  on the command line.\n"
        "  See them:  python -m dovetail recall --help"
    )
    with pytest.raises(SettingsError, match=f"^{expected}$"):
        taken("recall", ["verson=3", "version=three"])


def test_help_names_them_with_their_defaults() -> None:
    """One line an argument, before Hydra's own help."""
    assert taken("rollback", ["--help"]) == (None, ["--help"])
    assert (
        described("history")
        == "python -m dovetail history [key=value ...]\n\n  format=      for people, or for programs: json (text)\n"
    )
    assert described("train") == ""
