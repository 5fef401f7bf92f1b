"""Every step as a Hydra application that is also a DVC stage: same settings, same files, typed at the door."""

import importlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dovetail.errors import SettingsError
from dovetail.settings.arguments import Arguments, described, taken
from dovetail.settings.composition import key_of, leaves, overrides, readable_errors
from dovetail.settings.dvc_files import (
    declared_keys,
    is_conf_as_recorded,
    is_params_as_recorded,
    load_params,
    made_inputs,
    require_as_made,
)
from dovetail.settings.schema import Profile, Strict
from dovetail.settings.validation import Problem, stop_at, validate_pipeline, validate_profile
from dovetail.settings.workspace import Workspace, current_stage, find_home, find_root


def run(module: str, arguments: list[str]) -> None:
    """Runs a step: the function that has its module's name, with the settings that it may see and its workspace.

    An operation that has arguments of its own gets them too, after these two. `--help`, `--cfg job`, `-m` and so on
    are Hydra's. The module is imported when the step runs, and not before.

    Args:
        module: Like `dovetail.stages.train`.
        arguments: Hydra's: `key=value` and options.

    Raises:
        SettingsError: conf/, params.yaml or an argument is wrong.
    """
    root, name = find_root(), module.rpartition(".")[2]
    # Hydra's own folder is relative to this one; left in feature_repo/, it would count as an input of a stage.
    os.chdir(root)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us instead of being printed
    own, arguments = taken(name, arguments)
    if {"-h", "--help"} & set(arguments):
        print(described(name), end="")
    failures: list[Exception] = []  # the step's own: neither translated nor announced by Hydra

    @hydra.main(config_path=str(root / "conf"), config_name="config", version_base="1.3")
    def application(composed: DictConfig) -> Any:
        try:
            return _step(module, name, composed, root, own)
        except Exception as error:
            failures.append(error)
            if HydraConfig.get().mode is RunMode.MULTIRUN:
                raise  # a launcher may run this in another process

    sys.argv[1:] = full_arguments(root, name, arguments)
    try:
        with readable_errors():
            application()
    except SettingsError:
        if not failures:
            raise
    if failures:
        raise failures[0]


def full_arguments(root: Path, name: str, arguments: list[str]) -> list[str]:
    """The user's arguments, after those of the experiment in params.yaml: a run starts where `dvc repro` would.

    Raises:
        SettingsError: inside a stage, params.yaml is not what `config` made of conf/ as it is now.
    """
    given = {key_of(argument) for argument in arguments}
    experiment = [item for item in _experiment(root) if key_of(item).split(".")[0] not in given]
    # Hydra wants all overrides side by side.
    first = next((at for at, argument in enumerate(arguments) if re.match(r"[~+]|[^-].*=", argument)), 0)
    return [*arguments[:first], f"hydra.job.name={name}", *experiment, *arguments[first:]]


def _experiment(root: Path) -> list[str]:
    if is_conf_as_recorded(root) and is_params_as_recorded(root):
        return overrides(root / "conf", load_params(root))
    if current_stage():
        raise SettingsError(
            "params.yaml is not up to date with conf/",
            where="because the stage `config` was left out.",
            todo="Run the stages before this one too:  dvc repro",
        )
    return []


def view(settings: Strict, keys: Iterable[str]) -> Any:
    """A copy of the settings that holds the keys, like `usecase.until`, and hides all others.

    Raises:
        SettingsError: there is no such key.
    """
    inner: dict[str, list[str]] = {}
    for key in keys:
        head, _, rest = key.partition(".")
        if head not in type(settings).model_fields:
            raise SettingsError(
                f"there is no settings key '{key}'",
                where="under a stage's params in dvc.yaml.",
                expected=f"Known here: {', '.join(type(settings).model_fields)}.",
                todo="Correct it in dvc.yaml.",
            )
        inner.setdefault(head, []).append(rest)
    values = {head: getattr(settings, head) for head in inner}
    shown = {head: value if "" in inner[head] else view(value, inner[head]) for head, value in values.items()}
    return type(settings).model_construct(**shown)


def _step(module: str, name: str, composed: DictConfig, root: Path, own: Arguments | None) -> Any:
    values = _resolved(composed, root)
    profile = validate_profile(values.pop("profile"), root / "conf")
    settings = validate_pipeline(values, root / "conf")
    keys = declared_keys(root, name)
    require_as_made(root, made_inputs(root, name))
    function = getattr(importlib.import_module(module), name)
    # Feast shows every deprecation of every library again; who runs a step cannot act on them, and the tests can.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    if getattr(own, "format", "text") == "json":  # what is printed is the answer, and nothing else
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(sys.stderr)
    more = [] if own is None else [own]
    return function(settings if keys is None else view(settings, keys), _workspace(root, profile), *more)


def _resolved(composed: DictConfig, root: Path) -> dict[str, Any]:
    """The composition as plain values, every variable that is not set named at once."""
    raw: Any = OmegaConf.to_container(composed, resolve=False)
    problems = []
    for key in leaves(raw):
        try:
            OmegaConf.select(composed, key)
        except OmegaConfBaseException as error:
            said = str(error).splitlines()[0].removeprefix("KeyError raised while resolving interpolation: ")
            problems.append(Problem(key, said.strip('"')))
    stop_at(problems, raw, root / "conf", todo="Set what is missing (export NAME=...), or choose:  profile=local")
    values: Any = OmegaConf.to_container(composed, resolve=True)
    return dict(values)


def _workspace(root: Path, profile: Profile) -> Workspace:
    job = HydraConfig.get()
    is_stage = bool(current_stage()) and job.mode is RunMode.RUN
    out = root if is_stage else Path(job.runtime.output_dir)
    return Workspace(root=root, home=find_home(root), out=out, profile=profile, is_stage=is_stage)
