"""What is said about wrong settings: all of it, with keys, files and the nearest right names."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dovetail.errors import SettingsError
from dovetail.settings.composition import compose
from dovetail.settings.validation import validate_pipeline, validate_profile

CONF = Path(__file__).parents[3] / "conf"
OPTIONS = [(file.parent.name, file.stem) for file in sorted(CONF.glob("*/*.yaml"))]
PROFILE: dict[str, Any] = {
    "name": "local",
    "connections": {"operational": "postgresql://user:hunter2@host/db"},
    "feature_store": "feature_store.yaml",
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db", "artifact_location": None},
    "predictions": "predictions",
}


def refusal(*overrides: str) -> str:
    """What is said about conf/ with these overrides."""
    with pytest.raises(SettingsError) as caught:
        validate_pipeline(compose(CONF, *overrides), CONF)
    return str(caught.value)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_bears_its_files_name(group: str, option: str) -> None:
    """Each option of conf/ is valid, and its `name` is its file's: overrides and `adopt` find the file by it."""
    assert f"name: {option}\n" in (CONF / group / f"{option}.yaml").read_text()
    if group != "profile":
        assert getattr(validate_pipeline(compose(CONF, f"{group}={option}"), CONF), group).name == option


def test_all_problems_are_told_at_once() -> None:
    """Wrong types, unknown keys and missing keys of several files come in one message."""
    said = refusal(
        "model=logistic", "model.C=high", "+model.c_max=1", "~model.max_iter", "+sed=1", "+usecase.gate.margn=1"
    )
    assert said == "\n".join(
        [
            "5 settings are wrong",
            "  - usecase.gate.margn: unknown key; did you mean 'margin'?  [conf/usecase/flights.yaml]",
            "  - model.C: Input should be a valid number (got 'high')  [conf/model/logistic.yaml]",
            "  - model.max_iter: missing  [conf/model/logistic.yaml]",
            "  - model.c_max: unknown key; known here: name, C, max_iter, seed  [conf/model/logistic.yaml]",
            "  - sed: unknown key; did you mean 'seed'?  [conf/pipeline.yaml]",
            "  in conf/, or in an override of it.",
            "  Correct it there, not in params.yaml, and type the same command again.",
        ]
    )


def test_a_misspelt_key_deep_in_a_mapping_is_told_with_its_neighbours() -> None:
    """The right names come from the very place of the wrong one, also inside a mapping of sources and columns."""
    said = refusal(
        "+usecase.sources.x={kind:csv,path:x,key:[a],max_quarantined:0,columns:{a:{type:string,nulable:true}}}"
    )
    assert "  - usecase.sources.x.columns.a.nulable: unknown key; did you mean 'nullable'?  [conf/usecase/" in said


def test_a_model_that_does_not_exist_is_told_with_those_that_do() -> None:
    """A name that no model has is answered with the names that there are."""
    said = refusal("model.name=forest")
    assert "'hist_gradient_boosting', 'logistic', 'baseline'" in said


@pytest.mark.parametrize("value", ["true", "'5'", "1.5"])
def test_a_value_of_another_type_is_not_converted(value: str) -> None:
    """A boolean, a text or a fraction is no count."""
    assert "model.max_iter: Input should be a valid integer" in refusal(f"model.max_iter={value}")


def test_a_number_is_no_date() -> None:
    """A date without its dashes is refused, and not taken as seconds since 1970."""
    assert "usecase.until: Input should be a valid datetime (got 20131201)" in refusal("usecase.until=20131201")


def test_many_and_long_problems_are_cut() -> None:
    """Ten problems are shown, the rest is counted; of a long value the first forty characters."""
    said = refusal(f"model.max_iter={'x' * 100}", *(f"+wrong_{number}=1" for number in range(11)))
    assert f"(got '{'x' * 38}…)" in said
    assert "  - and 2 more\n" in said
    assert said.startswith("12 settings are wrong\n")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            ["usecase.split.train.end=2012-12-31"],
            "usecase.split.train.end: must be after usecase.split.train.start (2013-01-01 00:00), got 2012-12-31 00:00",
        ),
        (
            ["usecase.split.train.end=2013-07-02"],
            "usecase.split.validation.start: must be at least 48 hours (usecase.label.maturity_hours) after"
            " usecase.split.train.end (2013-07-02 00:00), got 2013-07-03 00:00",
        ),
        (
            ["usecase.evaluation.block_hours=168"],
            "usecase.evaluation.block_hours: must leave the holdout 10 blocks or more, or be null: an interval of"
            " 8.43 says little",
        ),
        (
            ["usecase.until=2013-09-30"],
            "usecase.split.holdout.end: must not be after usecase.until (2013-09-30 00:00), got 2013-10-01 00:00",
        ),
    ],
)
def test_dates_that_contradict_each_other_are_refused(overrides: list[str], problem: str) -> None:
    """An empty part, a gap shorter than the labels' maturity and a holdout that does not exist yet are told by key."""
    dates = ["usecase.until=2013-12-01", "usecase.label.maturity_hours=48"]
    starts = {"train": ("2013-01-01", "2013-07-01"), "validation": ("2013-07-03", "2013-08-01")}
    starts["holdout"] = ("2013-08-03", "2013-10-01")
    for part, (start, end) in starts.items():
        dates += [f"usecase.split.{part}.start={start}", f"usecase.split.{part}.end={end}"]
    assert f"\n  - {problem}  [conf/usecase/flights.yaml]\n" in refusal(*dates, *overrides)


@pytest.mark.parametrize(("written", "mode"), [("off", "off"), ("'off'", "off"), ("dry_run", "dry_run")])
def test_a_gate_is_off_however_yaml_spells_it(tmp_path: Path, written: str, mode: str) -> None:
    """YAML 1.1 calls a bare `off` false, and params.yaml keeps it so."""
    values = compose(CONF)
    values["usecase"]["gate"]["mode"] = yaml.safe_load(written)
    assert validate_pipeline(values, CONF).usecase.gate.mode == mode
    with pytest.raises(SettingsError, match=r"usecase\.gate\.mode: Input should be 'enforce', 'dry_run' or 'off'"):
        validate_pipeline(
            {**values, "usecase": values["usecase"] | {"gate": values["usecase"]["gate"] | {"mode": True}}}, CONF
        )


def test_all_that_is_wrong_with_a_behaviour_is_told_by_key() -> None:
    """Its own keys, and that it changes one thing in one way."""
    said = refusal(
        "+usecase.gate.behaviour.a={change:{hour:{ad:1}},expect:rise,share:1,tolerance:0}",
        "+usecase.gate.behaviour.b={change:{hour:{add:1,set:2}},expect:rise,share:1,tolerance:0}",
        "usecase.gate.behaviour.one_mile_more.share=2",
    )
    assert (
        "  - usecase.gate.behaviour.a.change.hour.ad: unknown key; did you mean 'add'?  [conf/usecase/flights.yaml]\n"
        in said
    )
    assert (
        "  - usecase.gate.behaviour.b.change.hour: Value error, give one of add, multiply and set; given: add, set  ["
        in said
    )
    assert "  - usecase.gate.behaviour.one_mile_more.share: Input should be less than or equal to 1 (got 2)  [" in said


def test_a_profile_may_leave_the_artifact_location_to_the_server() -> None:
    """A null artifact_location is allowed."""
    assert validate_profile(PROFILE, CONF).mlflow.artifact_location is None


def test_a_profile_computes_feature_tables_on_duckdb_unless_it_says_spark() -> None:
    """Left out, the engine is DuckDB; another name is refused."""
    assert validate_profile(PROFILE, CONF).feature_engine == "duckdb"
    assert validate_profile(PROFILE | {"feature_engine": "spark"}, CONF).feature_engine == "spark"
    with pytest.raises(SettingsError, match=r"profile\.feature_engine: Input should be 'duckdb' or 'spark'"):
        validate_profile(PROFILE | {"feature_engine": "ray"}, CONF)


def test_a_profiles_values_are_never_shown() -> None:
    """A wrong profile is told by its keys: its values may hold secrets."""
    with pytest.raises(SettingsError) as caught:
        validate_profile(PROFILE | {"predictions": 1, "feature_store": ["hunter2"], "mlfow": "hunter2"}, CONF)
    said = str(caught.value)
    assert "  - profile.predictions: Input should be a valid string  [conf/profile/local.yaml]\n" in said
    assert "  - profile.mlfow: unknown key; did you mean 'mlflow'?  [conf/profile/local.yaml]\n" in said
    assert "hunter2" not in said
