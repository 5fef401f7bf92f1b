"""python -m dovetail: its table, its errors and its exit codes."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dovetail import __main__ as command_line
from dovetail.errors import GateRefused

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back the variables that a command sets for its process."""
    with monkeypatch.context() as patch:
        for name in command_line.ENVIRONMENT:
            patch.setenv(name, os.environ.get(name, ""))
        yield
    time.tzset()


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python process that has the repository's own code on its path."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)


def test_help_prints_the_table_and_imports_no_tool() -> None:
    """Help names every step by group, and is there at once: neither Hydra nor pydantic is imported."""
    said = python("-X", "importtime", "-m", "dovetail", "--help")
    assert said.returncode == 0
    assert said.stdout.startswith("python -m dovetail STEP [key=value ...]\n\nstages\n  config       compose conf/")
    assert all(f"\n  {name} " in said.stdout for steps in command_line.STEPS.values() for name in steps)
    assert not {"hydra", "pydantic", "yaml", "pandas"} & {
        line.split("|")[-1].strip() for line in said.stderr.splitlines()
    }


def test_the_table_lists_the_stages_of_dvc_yaml() -> None:
    """The stages have the names and the order that they have in dvc.yaml."""
    assert list(command_line.STEPS["stages"]) == list(yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"])


def test_every_command_on_params_has_its_module() -> None:
    """What works on params.yaml itself is found where the table says."""
    for name, module in command_line.ON_PARAMS.items():
        assert importlib.util.find_spec(module) is not None
        assert callable(getattr(importlib.import_module(module), name))


def test_an_unknown_step_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt step is told with the right name, without a traceback, exit code 1."""
    assert command_line.main(["trian"]) == 1
    assert capsys.readouterr().err == (
        "SettingsError: there is no step 'trian'\n"
        "  on the command line.\n"
        "  Did you mean train or trace?\n"
        "  See all steps:  python -m dovetail --help\n"
    )


def test_the_gates_refusal_has_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error's own exit code is the command's."""

    def refuse(name: str, arguments: list[str]) -> None:
        raise GateRefused("not better", where="here.", todo="Do better.")

    monkeypatch.setattr(command_line, "run", refuse)
    assert command_line.main(["promote"]) == 2
    assert capsys.readouterr().err == "GateRefused: not better\n  here.\n  Do better.\n"


def test_ctrl_c_ends_without_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Interrupted, a command says nothing and exits 130."""

    def interrupt(name: str, arguments: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "run", interrupt)
    assert command_line.main(["train"]) == 130
    assert capsys.readouterr() == ("", "")


def test_another_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no error of ours comes through as it is."""

    def fail(name: str, arguments: list[str]) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(command_line, "run", fail)
    with pytest.raises(ZeroDivisionError):
        command_line.main(["train"])


def test_every_process_runs_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever zone the user lives in, a step's local time is UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setattr(command_line, "run", lambda name, arguments: None)
    command_line.main(["train"])
    assert time.localtime(0).tm_hour == 0


def test_a_python_without_the_packages_says_to_activate() -> None:
    """The wrong Python on the path is told with the way out, instead of a traceback."""
    said = python("-S", "-m", "dovetail", "train")
    assert said.returncode == 1
    assert said.stderr.startswith("WorkspaceError: the package 'hydra' is not installed\n  in ")
    assert said.stderr.endswith("Activate the project's environment:  . .venv/bin/activate\n")
