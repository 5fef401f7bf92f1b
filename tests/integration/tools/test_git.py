"""Commits, identity and worktrees of real repositories in a temporary folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dovetail.errors import WorkspaceError
from dovetail.operations.approve import approve
from dovetail.operations.promote import promote
from dovetail.operations.recall import recall
from dovetail.operations.reject import reject
from dovetail.operations.rollback import rollback
from dovetail.settings.workspace import Workspace
from dovetail.tools import git

NOBODY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def sh(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a folder of a repository, with two commits; nobody has told git who he is."""
    for name in [name for name in os.environ if name.startswith(("GIT_", "EMAIL"))]:
        monkeypatch.delenv(name)
    for name, value in NOBODY.items():
        monkeypatch.setenv(name, value)
    # git worktree: the temporary folders of this test are seen by it alone.
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "tmp").mkdir()
    project = tmp_path / "repository" / "project"
    project.mkdir(parents=True)
    sh(project.parent, "git", "init", "-q", "-b", "main")
    for text in ("old", "new"):
        (project / "code.py").write_text(text)
        sh(project, "git", "add", "-A")
        sh(project, "git", "-c", "user.name=A", "-c", "user.email=a@dovetail.test", "commit", "-qm", text)
    return project


def worktrees(root: Path) -> list[str]:
    return [line for line in sh(root, "git", "worktree", "list", "--porcelain").splitlines() if line.startswith("work")]


def left_over(root: Path) -> list[Path]:
    return list((root.parents[1] / "tmp").iterdir())


def test_a_revision_is_resolved(root: Path) -> None:
    """Branches, short hashes and relative names lead to the same forty digits."""
    commit = sh(root, "git", "rev-parse", "HEAD")
    assert {git.resolve(root, name) for name in ("main", "HEAD", commit[:7], commit)} == {commit}
    assert git.resolve(root, "HEAD~") == git.resolve(root, f"{commit}^")


@pytest.mark.parametrize("revision", ["no-such-branch", "f" * 40, "HEAD~9", "--all", "", "main:project/code.py"])
def test_an_unknown_revision_is_said(root: Path, revision: str) -> None:
    """With what to type, whatever was given; an option is no revision either."""
    with pytest.raises(WorkspaceError) as caught:
        git.resolve(root, revision)
    assert str(caught.value).startswith(f"git knows no commit '{revision}'\n  in the repository of {root}")
    assert "git fetch --all --tags" in str(caught.value)


def test_a_file_is_shown_as_it_was(root: Path) -> None:
    """By its path from the project's folder, which may be one inside the repository."""
    assert git.show(root, "HEAD~", "code.py") == b"old"
    assert git.show(root, "main", "code.py") == b"new"
    with pytest.raises(WorkspaceError, match=r"commit \w{10} has no file dvc.lock"):
        git.show(root, "main", "dvc.lock")


def test_an_identity_is_said_and_never_guessed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git's own configuration counts, then the environment; the machine's names do not."""
    with pytest.raises(WorkspaceError) as caught:
        git.identity(root)
    assert "git config --global user.email you@example.com" in str(caught.value)
    sh(root, "git", "config", "user.name", "Ada Lovelace")
    with pytest.raises(WorkspaceError):
        git.identity(root)
    sh(root, "git", "config", "user.email", "ada@dovetail.test")
    assert git.identity(root) == "Ada Lovelace <ada@dovetail.test>"
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace Hopper")
    assert git.identity(root) == "Grace Hopper <ada@dovetail.test>"


def test_the_committer_counts_where_there_is_no_author(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a CI sets it; what runs unattended without either says which machine it was."""
    assert git.identity_or_user(root).endswith(" (git knows nobody)")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "CI")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ci@dovetail.test")
    assert git.identity(root) == git.identity_or_user(root) == "CI <ci@dovetail.test>"


@pytest.mark.parametrize("operation", [promote, approve, reject, rollback, recall])
def test_nobody_moves_a_model(operation: Callable[..., None], root: Path) -> None:
    """Each is refused before it has looked at MLflow or the settings: they are not even there."""
    workspace: Any = Workspace(root=root, home=root, out=root, profile=None, is_stage=False)  # type: ignore[arg-type]
    with pytest.raises(WorkspaceError, match="git does not know who you are"):
        operation(None, workspace, None)


def test_a_worktree_is_clean_and_goes(root: Path) -> None:
    """It holds the commit's files and none of the changes, also inside a git hook; nothing is left of it."""
    (root / "code.py").write_text("changed")
    (root / "data.parquet").write_text("untracked")
    (root.parent / ".git/hooks/post-checkout").write_text(f"#!/bin/sh\ntouch {root}/hook\n")
    (root.parent / ".git/hooks/post-checkout").chmod(0o755)
    commit = git.resolve(root, "HEAD~")
    with git.worktree(root, commit) as place:
        assert place.name == "project"
        assert [(path.name, path.read_text()) for path in place.iterdir()] == [("code.py", "old")]
        assert git.state(place) == (commit, False)
        assert len(worktrees(root)) == 2
        (place / "made.txt").write_text("new")
    assert len(worktrees(root)) == 1
    assert left_over(root) == []
    assert (root / "code.py").read_text() == "changed"
    assert not (root / "hook").exists()


def test_a_worktree_goes_after_an_error(root: Path) -> None:
    """The error comes through as it was."""
    with pytest.raises(subprocess.CalledProcessError), git.worktree(root, "HEAD"):
        subprocess.run(["false"], check=True)
    assert (len(worktrees(root)), left_over(root)) == (1, [])


def test_a_commit_that_cannot_be_checked_out_is_said(root: Path) -> None:
    """And leaves nothing."""
    with pytest.raises(WorkspaceError, match="git cannot check out ffffffffff"), git.worktree(root, "f" * 40):
        pass
    assert (len(worktrees(root)), left_over(root)) == (1, [])


@pytest.mark.parametrize(("number", "n_left"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)])
def test_a_killed_process_leaves_nothing_that_stays(root: Path, number: signal.Signals, n_left: int) -> None:
    """A signal that asks removes the worktree; what kill -9 leaves goes when the next one is made, and only then."""
    code = (
        "import sys, time; from pathlib import Path; from dovetail.tools import git\n"
        "with git.worktree(Path(sys.argv[1]), 'HEAD'): print('there', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"there\n"
        with git.worktree(root, "HEAD"):
            assert len(worktrees(root)) == 3  # one of a living process stays
        process.send_signal(number)
    assert len(left_over(root)) == n_left
    assert len(worktrees(root)) == 1 + n_left
    with git.worktree(root, "HEAD"):
        assert len(worktrees(root)) == 2
    assert (len(worktrees(root)), left_over(root)) == (1, [])
