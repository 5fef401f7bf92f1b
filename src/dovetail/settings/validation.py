"""What is wrong with the settings: every problem at once, with its key, its file and the nearest right name."""

import difflib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dovetail.errors import SettingsError
from dovetail.settings.schema import Pipeline, Profile, UseCase

MOST = 10
LONGEST = 40
MIN_BLOCKS = 10
CORRECT = "Correct it there, not in params.yaml, and type the same command again."
AnySettings = TypeVar("AnySettings", Pipeline, Profile)


class Problem(NamedTuple):
    """A settings key and what is wrong with it."""

    key: str
    text: str


def validate_pipeline(params: dict[str, Any], conf: Path) -> Pipeline:
    """WHAT to compute, typed; `conf` is only looked at to name the file a wrong key lives in.

    Raises:
        SettingsError: a key is unknown or missing, a value has the wrong type or contradicts another one.
    """
    settings = _typed(Pipeline, params, params, conf, prefix=())
    stop_at(contradictions(settings.usecase), params, conf)
    return settings


def validate_profile(profile: dict[str, Any], conf: Path) -> Profile:
    """WHERE to compute and store, typed. Its values are never shown: they may hold secrets.

    Raises:
        SettingsError: a key is unknown or missing, or a value has the wrong type.
    """
    return _typed(Profile, profile, {"profile": profile}, conf, prefix=("profile",))


def contradictions(usecase: UseCase) -> list[Problem]:
    """What is wrong between a use case's dates.

    A part's labels must be known before the next part, and by `until`; the holdout must be long enough for intervals.
    """
    problems = []
    split, gap = usecase.split, timedelta(hours=usecase.label.maturity_hours)
    parts = {"train": split.train, "validation": split.validation, "holdout": split.holdout}
    for name, part in parts.items():
        if part.start >= part.end:
            text = (
                f"must be after usecase.split.{name}.start ({part.start:%Y-%m-%d %H:%M}), got {part.end:%Y-%m-%d %H:%M}"
            )
            problems.append(Problem(f"usecase.split.{name}.end", text))
    for (before, earlier), (after, later) in zip(list(parts.items())[:-1], list(parts.items())[1:], strict=True):
        if later.start - earlier.end < gap:
            text = (
                f"must be at least {usecase.label.maturity_hours:g} hours (usecase.label.maturity_hours) after"
                f" usecase.split.{before}.end ({earlier.end:%Y-%m-%d %H:%M}), got {later.start:%Y-%m-%d %H:%M}"
            )
            problems.append(Problem(f"usecase.split.{after}.start", text))
    if split.holdout.end > usecase.until:
        text = (
            f"must not be after usecase.until ({usecase.until:%Y-%m-%d %H:%M}), got {split.holdout.end:%Y-%m-%d %H:%M}"
        )
        problems.append(Problem("usecase.split.holdout.end", text))
    return [*problems, *_too_few_blocks(usecase)]


def _too_few_blocks(usecase: UseCase) -> list[Problem]:
    hours, holdout = usecase.evaluation.block_hours, usecase.split.holdout
    n_blocks = (holdout.end - holdout.start) / timedelta(hours=hours) if hours else float("inf")
    if n_blocks >= MIN_BLOCKS:
        return []
    text = f"must leave the holdout {MIN_BLOCKS} blocks or more, or be null: an interval of {n_blocks:.3g} says little"
    return [Problem("usecase.evaluation.block_hours", text)]


def file_of(key: str, params: dict[str, Any], conf: Path) -> str:
    """The file of conf/ that a settings key lives in, like `conf/model/logistic.yaml`."""
    group = key.partition(".")[0]
    if not (conf / group).is_dir():
        return "conf/pipeline.yaml"
    node = params.get(group)
    option = f"{node.get('name')}.yaml" if isinstance(node, dict) else ""
    return f"conf/{group}/{option}" if (conf / group / option).is_file() else f"conf/{group}/"


def _typed(
    kind: type[AnySettings], values: dict[str, Any], params: dict[str, Any], conf: Path, prefix: tuple[str, ...]
) -> AnySettings:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = [_problem(kind, values, detail, prefix) for detail in error.errors(include_url=False)]
        stop_at(problems, params, conf)
        raise


def stop_at(problems: Sequence[Problem], params: dict[str, Any], conf: Path, todo: str = CORRECT) -> None:
    """Raises what is wrong, if anything is: every problem with its key and the file that the key lives in.

    Raises:
        SettingsError: there is a problem.
    """
    if not problems:
        return
    lines = [f"  - {key}: {text}  [{file_of(key, params, conf)}]" for key, text in problems[:MOST]]
    more = [f"  - and {len(problems) - MOST} more"] if len(problems) > MOST else []
    noun = "setting is" if len(problems) == 1 else "settings are"
    raise SettingsError(
        "\n".join([f"{len(problems)} {noun} wrong", *lines, *more]),
        where="in conf/, or in an override of it.",
        todo=todo,
    )


def _problem(kind: type[BaseModel], values: dict[str, Any], detail: ErrorDetails, prefix: tuple[str, ...]) -> Problem:
    *parents, last = detail["loc"] or ("",)
    key = ".".join(map(str, (*prefix, *_without_tags(values, parents), last)))
    if detail["type"] == "extra_forbidden":
        return Problem(key, "unknown key" + nearest(str(last), _known_keys(kind, parents)))
    if detail["type"] == "missing":
        return Problem(key, "missing")
    is_shown = not prefix and not isinstance(detail["input"], dict | list)
    return Problem(key, detail["msg"] + (f" (got {_short(detail['input'])})" if is_shown else ""))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def nearest(name: str, known: list[str]) -> str:
    """The end of a sentence about an unknown name: what was probably meant, or all names that there are."""
    by_lower = {key.lower(): key for key in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    if near:
        return f"; did you mean '{by_lower[near[0]]}'?"
    more = f" and {len(known) - MOST} more" if len(known) > MOST else ""
    return f"; known here: {', '.join(known[:MOST])}{more}"


def _without_tags(values: Any, path: Sequence[int | str]) -> list[int | str]:
    """The path through the values: pydantic also names the member of a union, which is no key."""
    keys = []
    for part in path:
        if isinstance(values, dict) and part in values:
            keys.append(part)
            values = values[part]
    return keys


def _known_keys(kind: Any, path: Sequence[int | str]) -> list[str]:
    for part in path:
        kind = _type_at(kind, part)
    return list(kind.model_fields)


def _type_at(kind: Any, part: int | str) -> Any:
    """The type of a model's field, of a mapping's values, or of a union's member with this tag."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_fields[str(part)].annotation
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return next(member for member in get_args(kind) if get_args(member.model_fields["name"].annotation) == (part,))
