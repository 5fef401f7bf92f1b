"""python -m dovetail STEP key=value ...: one table of steps; a step's module is imported when it runs."""

import difflib
import importlib
import os
import sys
import time

from dovetail.errors import DiskFullError, DovetailError, SettingsError, WorkspaceError
from dovetail.files import is_disk_full

STEPS = {
    "stages": {
        "config": "compose conf/ into params.yaml",
        "ingest": "read the sources into typed Parquet",
        "validate": "check each source against its contract",
        "featurize": "compute the feature tables and the label rows",
        "assemble": "join what was known at each label row's moment, and split by time",
        "train": "train a model and its references, recorded as an MLflow run",
        "evaluate": "measure them on the holdout, overall and by slice",
        "register": "make the run a model version, alias challenger",
        "drift": "compare the newest full month with the training part",
    },
    "operations": {
        "apply": "register the feature definitions with Feast",
        "materialize": "bring the newest feature values online",
        "parity": "compare online with offline feature values",
        "impact": "say which models a change of features would hit",
        "compare": "say whether a change came from the data or the model",
        "promote": "put the challenger in the champion's place, if the gate lets it",
        "approve": "say yes to a version, for the journal",
        "reject": "say no to a version, for the journal",
        "rollback": "make an earlier champion the champion again, once it was tried",
        "recall": "take a version out of use for good",
        "history": "say who moved which alias, and why, and whether the journal is whole",
        "score": "predict the newest rows with the champion",
        "trace": "say where a model came from, from any end, and check it",
        "reproduce": "make a model version again at its commit, and compare its predictions",
        "mend": "make again what a receipt names and MLflow has lost",
        "summary": "say what the last run made, and where to look",
        "doctor": "check versions, paths, DVC and MLflow",
    },
    "settings": {
        "params": "params.yaml := conf/, whatever it held",
        "adopt": "conf/ := the experiment in params.yaml",
    },
}
# These work on params.yaml itself, so they cannot start from it as the others do.
ON_PARAMS = {
    "config": "dovetail.settings.params",
    "params": "dovetail.settings.params",
    "adopt": "dovetail.settings.adoption",
}
# Set before any tool is imported: one time zone everywhere (Feast writes local time), nobody is told of our runs, no
# bars for files of a few megabytes, and threads that wait do not spin: on a busy machine that makes a fit three times
# slower.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TZ": "UTC",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "FEAST_TELEMETRY": "False",
    "FEAST_USAGE": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


def usage() -> str:
    """The table of steps, by group."""
    groups = [
        f"{group}\n" + "".join(f"  {name:<12} {text}\n" for name, text in steps.items())
        for group, steps in STEPS.items()
    ]
    return "\n".join(
        [
            "python -m dovetail STEP [key=value ...]\n",
            *groups,
            "All settings of a step, and how to override them:  python -m dovetail STEP --help",
        ]
    )


def run(name: str, arguments: list[str]) -> None:
    """Runs one step of the table.

    Raises:
        SettingsError: there is no such step.
        WorkspaceError: this Python has not got the packages that Dovetail needs.
    """
    group = next((group for group, steps in STEPS.items() if name in steps), None)
    if group is None:
        known = [step for steps in STEPS.values() for step in steps]
        near = difflib.get_close_matches(name, known, n=3)
        raise SettingsError(
            f"there is no step '{name[:40]}'",
            where="on the command line.",
            expected=f"Did you mean {' or '.join(near)}?" if near else "",
            todo="See all steps:  python -m dovetail --help",
        )
    try:
        module = importlib.import_module(ON_PARAMS.get(name, "dovetail.settings.entrypoint"))
    except ModuleNotFoundError as error:
        raise WorkspaceError(
            f"the package '{error.name}' is not installed",
            where=f"in {sys.executable}.",
            todo="Activate the project's environment:  . .venv/bin/activate",
        ) from error
    if name in ON_PARAMS:
        from dovetail.settings.workspace import find_root

        print(getattr(module, name)(find_root()))
    else:
        module.run(f"dovetail.{group}.{name}", arguments)


def _full(error: Exception) -> DiskFullError:
    """The error of a tool that found no space, as ours."""
    return DiskFullError(
        "no space left",
        where=f"{type(error).__module__.partition('.')[0]} could not write; the outputs of other steps are untouched.",
        todo="Free some space and run the same command again:  df -h .",
    )


def main(arguments: list[str]) -> int:
    """The exit code: 0 when it worked, 1 after an error, 2 when the answer was no, 130 after Ctrl-C."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    os.environ.update(ENVIRONMENT)
    time.tzset()
    try:
        run(arguments[0], arguments[1:])
        sys.stdout.flush()
    except DovetailError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has seen enough; what Python still holds back goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 141
    except Exception as error:
        if not is_disk_full(error):
            raise
        print(f"DiskFullError: {_full(error)}", file=sys.stderr)
        return DiskFullError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
