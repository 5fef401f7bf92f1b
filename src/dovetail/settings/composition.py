"""conf/ composed by Hydra, and the overrides that lead from conf/ to an experiment's params.yaml."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dovetail.errors import SettingsError
from dovetail.settings.workspace import current_stage, find_home, find_root

MISSING = "-"
Differences = dict[str, tuple[Any, Any]]

# Both ask when they are used: importing this module looks at nothing.
OmegaConf.register_new_resolver("home", lambda: str(find_home(find_root())), replace=True)
OmegaConf.register_new_resolver("dvc", lambda inside, outside: inside if current_stage() else outside, replace=True)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turns what Hydra, OmegaConf and YAML say about conf/ or an override into a SettingsError, their advice kept.

    Raises:
        SettingsError: an unknown key or option, a broken file, an interpolation that leads nowhere.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        # After it, Hydra lists its own folders.
        said = str(error).partition("Config search path")[0].splitlines()
        cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else ""
        lines = [line.strip() for line in (*said, *str(cause).splitlines()) if line.strip()]
        what, *advice = lines or [type(error).__name__]
        raise SettingsError(
            what,
            where="in conf/ or in an override on the command line.",
            expected="\n  ".join(line for line in advice if not line.startswith("object_type=")),
            todo="See every key and option:  python -m dovetail train --help",
        ) from error


def compose(conf: Path, *overrides: str) -> dict[str, Any]:
    """conf/ with overrides: WHAT to compute, as plain values; what `dvc exp run -S ...` writes to params.yaml.

    Raises:
        SettingsError: conf/ or an override is wrong.
    """
    with readable_errors(), hydra.initialize_config_dir(str(conf), version_base="1.3"):
        composed: Any = OmegaConf.to_container(hydra.compose("pipeline", list(overrides)), resolve=True)
    return dict(composed)


def leaves(node: Any, at: str = "") -> dict[str, Any]:
    """Key -> value of nested settings, like `usecase.until`; a list and an empty mapping count as one value."""
    if not isinstance(node, dict) or not node:
        return {at: node} if at else {}
    return {key: value for name, sub in node.items() for key, value in leaves(sub, f"{at}.{name}".lstrip(".")).items()}


def differences(old: dict[str, Any], new: dict[str, Any]) -> Differences:
    """Key -> (old value, new value) where they differ, in the new one's order; `MISSING` where there is none."""
    before, after = leaves(old), leaves(new)
    return {
        key: (before.get(key, MISSING), after.get(key, MISSING))
        for key in (*after, *(key for key in before if key not in after))
        if before.get(key, MISSING) != after.get(key, MISSING)
    }


def show(changes: Differences) -> str:
    """One indented line a change, each with a line break before it; empty when nothing changed."""
    return "".join(f"\n  {key}: {old} -> {new}" for key, (old, new) in changes.items())


def quote(value: Any) -> str:
    """A value in Hydra's override grammar (https://hydra.cc/docs/1.3/advanced/override_grammar/basic/)."""
    if isinstance(value, str):
        # Backslashes count only in front of a quote or at the end: double them there, and escape the quote.
        escaped = re.sub(r'(\\*)("|$)', lambda at: at[1] * 2 + ("\\" + at[2] if at[2] else ""), value)
        return f'"{escaped}"'
    if isinstance(value, list):
        return f"[{','.join(map(quote, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{quote(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, float) else json.dumps(value)


def key_of(override: str) -> str:
    """The key that an override sets, adds or removes."""
    return override.lstrip("+~").partition("=")[0]


def _override(key: str, old: Any, new: Any) -> str:
    if new is MISSING:
        return f"~{key}"
    return f"{'++' if old is MISSING else ''}{key}={quote(new)}"


def overrides(conf: Path, params: dict[str, Any]) -> list[str]:
    """The overrides that turn conf/ into `params`: an experiment, spelled as a command line; empty when there is none.

    Options of a group come first, then values, each before those that interpolate it.

    Raises:
        SettingsError: no overrides of conf/ give `params`.
    """
    base = compose(conf)
    found = [f"{group}={name}" for group, name in options(conf, params).items() if options(conf, base)[group] != name]
    changes = differences(compose(conf, *found) if found else base, params)
    for key in sorted(changes, key=lambda name: name.count(".")):
        if key in changes:
            found.append(_override(key, *changes[key]))
            changes = differences(compose(conf, *found), params)
    if changes:
        raise SettingsError(
            "params.yaml is no composition of conf/:" + show(changes),
            where="in params.yaml.",
            todo="Restore it:  make params",
        )
    return found


def options(conf: Path, params: dict[str, Any]) -> dict[str, str]:
    """Group -> the option chosen in it, like `model` -> `logistic`: an option's file has the name it holds."""
    return {
        group: str(node.get("name"))
        for group, node in params.items()
        if isinstance(node, dict) and (conf / group).is_dir()
    }
