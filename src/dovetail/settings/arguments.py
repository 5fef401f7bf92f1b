"""What an operation is asked beside the settings: `key=value` of its own on the command line, typed at the door."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dovetail.errors import SettingsError

Format = Literal["text", "json"]
Reason = Annotated[str, Field(min_length=1, max_length=2000, description="why, for whoever reads the journal")]
Version = Annotated[int, Field(gt=0, description="a version of the use case's registered model")]


class Arguments(BaseModel):
    """Frozen, and refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Promote(Arguments):
    """What is asked of the gate beyond the settings."""

    approval: Literal["required"] | None = Field(
        None, description="required: also where the profile does not ask for it"
    )


class Approve(Arguments):
    """A person's yes to a version."""

    version: Version
    reason: Reason


class Reject(Arguments):
    """A person's no to a version."""

    version: Version
    reason: Reason


class Rollback(Arguments):
    """Back to a version that was champion."""

    to: Version | None = Field(None, description="which one; the last good one when it is left out")
    reason: Reason


class Recall(Arguments):
    """A version that is out of use for good."""

    version: Version
    reason: Reason


class History(Arguments):
    """The journal of the registered model."""

    format: Format = Field("text", description="for people, or for programs: json")


class Trace(Arguments):
    """One end of the thread: at most one of the first six, the champion when there is none."""

    model: str | None = Field(None, description="NAME@ALIAS, NAME/VERSION, an alias or a version")
    run: str | None = Field(None, description="an MLflow run's id")
    commit: str | None = Field(None, description="a git revision")
    data: str | None = Field(None, description="a hash of DVC's, or a data version")
    prediction: str | None = Field(None, description="a prediction's id")
    report: str | None = Field(None, description="a drift report's path")
    verify: bool = Field(False, description="recompute what can be recomputed")
    format: Format = Field("text", description="for people, or for programs: json")


class Reproduce(Arguments):
    """The model version that is made again."""

    model: str = Field("champion", description="NAME@ALIAS, NAME/VERSION, an alias or a version")
    anyway: bool = Field(False, description="go on where the code or the packages are not those of the time")


class Compare(Arguments):
    """Two of a kind: versions or aliases, git revisions, or dates of `usecase.until`."""

    old: str = Field("champion", description="a version, an alias, a git revision or a date of until")
    new: str = Field("challenger", description="likewise")
    format: Format = Field("text", description="for people, or for programs: json")


# By the operation's name; an operation that is not here has no arguments of its own.
ARGUMENTS: Mapping[str, type[Arguments]] = {
    "promote": Promote,
    "approve": Approve,
    "reject": Reject,
    "rollback": Rollback,
    "recall": Recall,
    "history": History,
    "trace": Trace,
    "reproduce": Reproduce,
    "compare": Compare,
}


def taken(operation: str, given: list[str]) -> tuple[Any, list[str]]:
    """The operation's own arguments, typed (None when it has none), and what is left for the settings.

    A key of its own hides a settings group of that name: `model` is a registered model to `trace`.

    Raises:
        SettingsError: an argument is unknown, missing or of the wrong type; all that is wrong is said.
    """
    kind = ARGUMENTS.get(operation)
    if kind is None:
        return None, given
    own, others = {}, []
    for argument in given:
        key, sign, value = argument.partition("=")
        if sign and key in kind.model_fields:
            own[key] = value
        else:
            others.append(argument)
    if {"-h", "--help", "--hydra-help", "--cfg", "--info"} & set(others):
        return None, others
    problems = [_misspelt(argument, kind) for argument in others if _looks_like_one(argument)]
    try:
        typed = kind.model_validate_strings(own)
    except ValidationError as error:
        problems += [f"{detail['loc'][0]}: {_said(detail, own)}" for detail in error.errors(include_url=False)]
    if problems:
        raise SettingsError(
            "\n".join([f"{operation} cannot use its arguments", *(f"  - {problem}" for problem in problems)]),
            where="on the command line.",
            todo=f"See them:  python -m dovetail {operation} --help",
        )
    return typed, others


def described(operation: str) -> str:
    """The operation's own arguments for `--help`, a line each; empty when it has none."""
    kind = ARGUMENTS.get(operation)
    if kind is None:
        return ""
    rows = [
        f"  {f'{name}=':<12} {field.description or ''}{'' if field.is_required() else _default(field.default)}"
        for name, field in kind.model_fields.items()
    ]
    return "\n".join([f"python -m dovetail {operation} [key=value ...]", "", *rows, ""])


def _default(value: Any) -> str:
    return "" if value is None else f" ({str(value).lower() if isinstance(value, bool) else value})"


def _looks_like_one(argument: str) -> bool:
    """Whether it was meant for the operation: settings have groups, and their keys dots in them."""
    key, sign, _ = argument.partition("=")
    return bool(sign) and key.isidentifier() and key not in ("usecase", "model", "profile", "seed")


def _misspelt(argument: str, kind: type[Arguments]) -> str:
    key = argument.partition("=")[0]
    near = difflib.get_close_matches(key, kind.model_fields, n=1, cutoff=0.5)
    return f"{key}: unknown; " + (f"did you mean '{near[0]}'?" if near else f"known: {', '.join(kind.model_fields)}")


def _said(detail: Any, own: Mapping[str, str]) -> str:
    key = str(detail["loc"][0])
    return "missing" if detail["type"] == "missing" else f"{detail['msg']} (got '{own.get(key, '')[:40]}')"
