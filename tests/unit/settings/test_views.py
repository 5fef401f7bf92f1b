"""What a stage may see, and with which arguments a step starts."""

from pathlib import Path

import pytest

from dovetail.errors import SettingsError
from dovetail.settings.composition import compose
from dovetail.settings.entrypoint import full_arguments, view
from dovetail.settings.schema import Pipeline
from dovetail.settings.validation import validate_pipeline

CONF = Path(__file__).parents[3] / "conf"


@pytest.fixture(scope="module")
def settings() -> Pipeline:
    """The settings as shipped."""
    return validate_pipeline(compose(CONF), CONF)


def test_a_view_shows_the_declared_keys(settings: Pipeline) -> None:
    """A whole group, a value and a part of a group are seen as they are."""
    seen = view(settings, ["model", "seed", "usecase.split.train", "usecase.until"])
    assert seen.model == settings.model
    assert seen.seed == settings.seed
    assert seen.usecase.until == settings.usecase.until
    assert seen.usecase.split.train == settings.usecase.split.train


def test_a_view_hides_all_other_keys(settings: Pipeline) -> None:
    """A key beside a declared one is hidden, at every depth, and the error says where to list it."""
    seen = view(settings, ["usecase.split.train"])
    with pytest.raises(SettingsError) as caught:
        _ = seen.usecase.split.holdout
    assert str(caught.value) == (
        "the settings key 'holdout' is hidden from this stage\n"
        "  because dvc.yaml does not list it under the stage's params.\n"
        "  List it there, so that the stage reruns when 'holdout' changes."
    )
    with pytest.raises(SettingsError, match="'label' is hidden"):
        _ = seen.usecase.label
    with pytest.raises(SettingsError, match="'model' is hidden"):
        _ = seen.model


def test_a_view_is_logged_as_what_it_shows(settings: Pipeline) -> None:
    """A view's dump holds the declared keys and no others, whichever order they are listed in."""
    assert view(settings, ["usecase.name", "seed"]).model_dump(mode="json") == {
        "usecase": {"name": settings.usecase.name},
        "seed": settings.seed,
    }


def test_a_group_wins_over_its_parts(settings: Pipeline) -> None:
    """With a group and one of its keys listed, all of the group is seen."""
    assert view(settings, ["usecase.gate", "usecase.gate.margin"]).usecase.gate == settings.usecase.gate


def test_a_view_of_an_unknown_key_is_refused(settings: Pipeline) -> None:
    """A key that dvc.yaml lists and the settings have not is an error with the keys that there are."""
    with pytest.raises(SettingsError, match=r"no settings key 'sed'[\s\S]*Known here: usecase, model, seed"):
        view(settings, ["sed"])


def test_a_step_starts_from_conf_when_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a recorded params.yaml, by hand, the user's arguments stand alone behind the job's name."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert full_arguments(tmp_path, "train", ["-m", "model=logistic"]) == [
        "-m",
        "hydra.job.name=train",
        "model=logistic",
    ]
    assert full_arguments(tmp_path, "train", ["--cfg", "job"]) == ["hydra.job.name=train", "--cfg", "job"]


def test_a_stage_does_not_start_without_a_fresh_params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside DVC, params.yaml must be what the first stage made."""
    monkeypatch.setenv("DVC_STAGE", "train")
    with pytest.raises(SettingsError, match=r"^params\.yaml is not up to date with conf/\n"):
        full_arguments(tmp_path, "train", [])
