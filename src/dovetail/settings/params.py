"""params.yaml := conf/. It is DVC's record of the settings: generated, committed, never edited by hand."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dovetail.errors import SettingsError
from dovetail.files import write_text
from dovetail.settings.composition import compose, differences, overrides, show
from dovetail.settings.dvc_files import (
    interpolated_values,
    is_params_as_recorded,
    load_params,
    recorded_hashes,
)
from dovetail.settings.validation import validate_pipeline
from dovetail.settings.workspace import is_experiment


def config(root: Path) -> str:
    """Keeps params.yaml equal to conf/, as the first stage of dvc.yaml; what it did, in words.

    In `dvc exp run` DVC has composed params.yaml itself: it stays, and is told as a command line of overrides.

    Raises:
        SettingsError: conf/ is wrong; params.yaml was edited by hand; dvc.yaml was read with old values.
    """
    before = load_params(root)
    if is_experiment():
        validate_pipeline(before, root / "conf")
        return " ".join(["params.yaml = conf/", *overrides(root / "conf", before)])
    _refuse_hand_edit(root, before)
    said = params(root)
    _refuse_old_template(root, before, load_params(root))
    return said


def params(root: Path) -> str:
    """Composes conf/ into params.yaml, whatever it held; what changed, in words.

    Raises:
        SettingsError: conf/ is wrong; params.yaml stays as it was.
    """
    before, composed = load_params(root), compose(root / "conf")
    validate_pipeline(composed, root / "conf")
    changes = differences(before, composed)
    if changes:
        # Byte for byte what DVC writes, so that `dvc exp run` without -S leaves git's status clean.
        write_text(OmegaConf.to_yaml(OmegaConf.create(composed)), root / "params.yaml")
    return "params.yaml = conf/" + (show(changes) if before else " (new)")


def _refuse_hand_edit(root: Path, before: dict[str, Any]) -> None:
    is_recorded = "params.yaml" in recorded_hashes(root, "config")
    if not is_recorded or is_params_as_recorded(root):
        return
    edits = differences(compose(root / "conf"), before)
    if edits:
        raise SettingsError(
            "params.yaml was edited, but it is composed from conf/:" + show(edits),
            where="in params.yaml.",
            expected="Put that in conf/, or in `dvc exp run -S key=value`.",
            todo="Restore params.yaml:  make params",
        )


def _refuse_old_template(root: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    """DVC has read dvc.yaml with the values of before, and would run stages or write paths that are no more."""
    changes = differences(interpolated_values(root, before), interpolated_values(root, after))
    if changes:
        raise SettingsError(
            "paths or stages in dvc.yaml depend on values that have just changed:" + show(changes),
            where="in dvc.yaml.",
            todo="params.yaml is right now, run it once more:  dvc repro",
        )
