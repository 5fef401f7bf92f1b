"""conf/ := the experiment in params.yaml, comments and layout kept."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from dovetail.errors import SettingsError
from dovetail.files import replacing
from dovetail.settings.composition import MISSING, key_of, leaves, options, overrides
from dovetail.settings.dvc_files import is_conf_as_recorded, load_params


def adopt(root: Path) -> str:
    """Writes the experiment's values into the files of conf/ where they live; what it wrote, a line each.

    Afterwards conf/ composes to the same params.yaml, and `dvc repro` reruns nothing but `config`.

    Raises:
        SettingsError: conf/ was edited after the experiment, whose values would undo the edit.
    """
    if not is_conf_as_recorded(root):
        raise SettingsError(
            "conf/ was edited after the experiment ran",
            where="in conf/; adopting the experiment would undo that.",
            todo="Undo the edit or commit it, and run the experiment again:  dvc exp run -S key=value",
        )
    conf, params = root / "conf", load_params(root)
    lines = [f"{_write_back(conf, params, item)}: {item}" for item in overrides(conf, params)]
    return "\n".join(lines) or "params.yaml = conf/: there is no experiment to adopt."


def _write_back(conf: Path, params: dict[str, Any], override: str) -> str:
    """Where it was written, like `conf/model/logistic.yaml`."""
    key = key_of(override)
    group, *path = key.split(".")
    chosen = options(conf, params)
    file = conf / group / f"{chosen[group]}.yaml" if group in chosen and path else conf / "pipeline.yaml"
    yaml = _round_trip()
    document = yaml.load(file)
    if key in chosen:
        next(item for item in document["defaults"] if key in item)[key] = chosen[key]
    else:
        _set(document, path if group in chosen else [group, *path], leaves(params).get(key, MISSING))
    with replacing(file) as temporary:
        yaml.dump(document, temporary)
    return file.relative_to(conf.parent).as_posix()


def _round_trip() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000  # else long lines are broken
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _set(document: Any, keys: list[str], value: Any) -> None:
    *parents, last = keys
    for key in parents:
        document = document.setdefault(key, {})
    if value is MISSING:
        del document[last]
    else:
        document[last] = value
