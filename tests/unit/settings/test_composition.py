"""conf/ composed, compared, and spelled as overrides."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dovetail.errors import SettingsError
from dovetail.settings.composition import compose, differences, overrides, quote, show
from dovetail.settings.dvc_files import load_params

# Not "$": what is composed holds no interpolation. Not control characters: no setting does.
texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="$") | st.just(" "))
numbers = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False)
scalars = st.none() | st.booleans() | numbers | texts
keys = st.from_regex(r"\A[a-z][a-z0-9_]{0,5}\Z").filter(lambda key: key not in {"true", "false", "null", "nan", "inf"})
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Two models, a seed that the model interpolates, and a mapping that may grow."""
    files = {
        "pipeline.yaml": "defaults:\n  - model: tree\n  - _self_\nseed: 1\nslices: {origin: o}\n",
        "model/tree.yaml": "name: tree\ndepth: 5\nseed: ${seed}\n",
        "model/line.yaml": "name: line\nC: 0.1\nseed: ${seed}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@settings(derandomize=True, max_examples=150, deadline=None)
@given(values)
def test_a_quoted_value_is_read_back_as_itself(value: Any) -> None:
    """Hydra's own parser reads what `quote` wrote."""
    assert OverridesParser.create().parse_override(f"key={quote(value)}").value() == value


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.dictionaries(keys, values, max_size=4))
def test_params_are_read_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, params: Any) -> None:
    """What OmegaConf writes, the quick YAML reader reads: no value changes its type on the way."""
    folder = tmp_path_factory.mktemp("params")
    (folder / "params.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(params)), encoding="utf-8")
    assert load_params(folder) == params


def test_compose_resolves_interpolations(conf: Path) -> None:
    """A composition holds plain values: an override of `seed` reaches the model that interpolates it."""
    assert compose(conf, "seed=7") == {
        "model": {"name": "tree", "depth": 5, "seed": 7},
        "seed": 7,
        "slices": {"origin": "o"},
    }


@pytest.mark.parametrize(
    "given_overrides",
    [
        [],
        ["seed=3"],
        ["model.depth=9"],
        ["model=line"],
        ["model=line", "seed=2", "model.C=0.3"],
        ["model.seed=5"],
        ["++slices.carrier=\"a b, 'c'\""],
        ["~slices.origin", "++slices.dest=null"],
    ],
)
def test_overrides_lead_from_conf_to_an_experiment(conf: Path, given_overrides: list[str]) -> None:
    """The overrides found for an experiment compose to the same settings."""
    params = compose(conf, *given_overrides)
    found = overrides(conf, params)
    assert compose(conf, *found) == params
    assert len(found) == len(given_overrides)


def test_params_from_nowhere_are_refused(conf: Path) -> None:
    """Settings that no override of conf/ gives, like an option that has no file, are an error."""
    with pytest.raises(SettingsError, match="Could not find 'model/forest'"):
        overrides(conf, {"model": {"name": "forest", "seed": 1}, "seed": 1, "slices": {"origin": "o"}})


def test_differences_name_what_is_new_and_what_is_gone() -> None:
    """Changed, added and removed keys are told, equal ones are not."""
    old = {"a": {"same": 1, "changed": 2, "gone": 3}}
    new = {"a": {"same": 1, "changed": 20, "new": [4]}}
    assert show(differences(old, new)) == "\n  a.changed: 2 -> 20\n  a.new: - -> [4]\n  a.gone: 3 -> -"


def test_a_broken_file_is_named(conf: Path) -> None:
    """A file that is no YAML is a settings error that names the file and the line."""
    (conf / "model/tree.yaml").write_text("name: tree\ndepth: [5\n")
    with pytest.raises(SettingsError, match=r"tree\.yaml\", line 2"):
        compose(conf)


def test_an_interpolation_that_leads_nowhere_is_named(conf: Path) -> None:
    """A misspelt `${...}` is a settings error with the key that holds it."""
    (conf / "model/tree.yaml").write_text("name: tree\ndepth: ${sed}\n")
    with pytest.raises(SettingsError, match=r"Interpolation key 'sed' not found[\s\S]*full_key: model\.depth"):
        compose(conf)
