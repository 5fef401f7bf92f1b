"""Processes that move aliases, for test_promotions.py: `python promotion_processes.py WHAT URI`.

MLflow takes seconds to import, so it is imported once, and every process is a fork.
"""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from itertools import count

from mlflow import MlflowClient

from dovetail import locks
from dovetail.contracts.journal import CHAMPION, PASSED, PROMOTE, REGISTER
from dovetail.contracts.model_folders import to_tag
from dovetail.lineage import MODEL_FILES
from dovetail.settings.schema import MLflow
from dovetail.tools import experiments, journal

CHALLENGER = "challenger"
TRACKING = MLflow(tracking_uri=sys.argv[2], artifact_location=None)
# What changes something in MLflow, as its client has it.
WRITES = [name for name in dir(MlflowClient) if name.split("_")[0] in ("create", "set", "delete", "update", "log")]


def forked(work: Callable[[], object]) -> int:
    """The process in which the work is done."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - said, and told by the exit code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def status(child: int) -> int:
    """How the process ended: its exit code, or less than zero for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def registered(client: MlflowClient, name: str, n_versions: int) -> None:
    """A registered model with so many versions, each with files of its own."""
    client.create_registered_model(name)
    run = client.create_run("0").info  # a server asks where a version comes from
    for number in range(1, n_versions + 1):
        tags = {MODEL_FILES: to_tag({"model.skops": f"{number:064d}"})}
        client.create_model_version(name, source=f"{run.artifact_uri}/model", run_id=run.run_id, tags=tags)


def alias(client: MlflowClient, name: str, alias: str) -> int | None:
    """Where it is, by the registry itself."""
    held = client.get_registered_model(name).aliases.get(alias)
    return None if held is None else int(held)


def promote(client: MlflowClient, name: str, version: int, over: int | None) -> bool:
    """Whether the version is champion now; not when another one than `over` was."""
    with journal.turn(client, TRACKING, name) as turn:
        if turn.aliases.get(CHAMPION) != over:
            return False
        turn.move(CHAMPION, version, act=PROMOTE, who=f"process {version}", why="better", evidence={"gate": PASSED})
        return True


def at_once() -> None:
    """Ten processes promote ten versions, each over the champion that it has seen; whoever is beaten looks again."""
    assert status(forked(lambda: registered(experiments.connect(TRACKING), "flights", 10))) == 0
    (waits, goes), (hears, says) = os.pipe(), os.pipe()

    def compete(version: int) -> None:
        os.close(goes)
        client = experiments.connect(TRACKING)
        seen = alias(client, "flights", CHAMPION)
        os.write(says, b"!")
        os.read(waits, 1)  # ends when the parent closes its end
        while not promote(client, "flights", version, seen):
            print(f"{version} was beaten to it", flush=True)
            seen = alias(client, "flights", CHAMPION)

    children = [forked(lambda version=version: compete(version)) for version in range(1, 11)]
    ready = b""
    while len(ready) < 10:
        ready += os.read(hears, 10)
    os.close(goes)
    assert [status(child) for child in children] == [0] * 10


def everything(name: str) -> None:
    """Register 1, promote 1 and 2, recall 1: whatever of it is not done yet."""
    client = experiments.connect(TRACKING)
    if alias(client, name, CHAMPION) is None:
        with journal.turn(client, TRACKING, name) as turn:
            if turn.aliases.get(CHALLENGER) != 1:
                turn.move(CHALLENGER, 1, act=REGISTER, who="stage", why="registered")
        promote(client, name, 1, None)
    if alias(client, name, CHAMPION) == 1:
        promote(client, name, 2, 1)
    with journal.turn(client, TRACKING, name) as turn:
        key = turn.history.positions()[CHALLENGER].key
        if key and not turn.history.recall_of(key):
            turn.recall(1, who="person", why="wrong unit")
        turn.take_aliases(1, who="person", why="wrong unit")


def kill_before(nth: int) -> None:
    """This process dies when it is about to change MLflow for the n-th time."""
    left = iter(range(nth - 1))
    for name in WRITES:
        really = getattr(MlflowClient, name)

        def write(self, *args, _really=really, **kwargs):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return _really(self, *args, **kwargs)

        setattr(MlflowClient, name, write)


def killed_everywhere() -> None:
    """A process is killed before each of its writes in turn; the next command finds order, and can finish."""

    def first(name: str, nth: int) -> None:
        registered(experiments.connect(TRACKING), name, 2)
        kill_before(nth)
        everything(name)

    def next_command(name: str) -> None:
        client = experiments.connect(TRACKING)
        history = journal.look(client, TRACKING, name)
        assert (history.flaws, history.open) == ((), None)
        aliases = {key: int(version) for key, version in client.get_registered_model(name).aliases.items()}
        assert {key: line.after for key, line in history.positions().items() if line.after} == aliases
        everything(name)
        history = journal.look(client, TRACKING, name)
        assert (history.flaws, history.open) == ((), None)
        done = [str(line) for line in history.lines if line.counts]
        assert done == [
            "challenger: none -> 1, register",
            "champion: none -> 1, promote",
            "champion: 1 -> 2, promote",
            "version 1, recall",
            "challenger: 1 -> none, recall",
        ], done
        model = client.get_registered_model(name)
        assert {key: int(version) for key, version in model.aliases.items()} == {CHAMPION: 2}
        assert [key for key in model.tags if "turn" in key] == []
        print(name, len(history.lines), "lines")

    for nth in count(1):
        name = f"killed_{nth}"
        ended = status(forked(lambda name=name, nth=nth: first(name, nth)))
        assert ended in (0, -signal.SIGKILL)
        assert status(forked(lambda name=name: next_command(name))) == 0, name
        if ended == 0:
            return


def hold() -> None:
    """Says `holding` when a promotion is intended and not carried out yet, and goes on a second later."""
    really = MlflowClient.create_run

    def slowly(self, *args, **kwargs):
        run = really(self, *args, **kwargs)
        print("holding", flush=True)
        time.sleep(1)
        return run

    MlflowClient.create_run = slowly
    client = experiments.connect(TRACKING)
    seen = alias(client, "flights", CHAMPION)
    promote(client, "flights", seen % 10 + 1, seen)


if __name__ == "__main__":
    locks.DEAD_SECONDS, locks.TURN_SECONDS = 6.0, 3.0 if sys.argv[1] == "hold" else 30.0
    globals()[sys.argv[1]]()
