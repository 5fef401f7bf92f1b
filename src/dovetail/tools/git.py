"""What git says about the code and who works on it, and clean checkouts of commits beside the one at work."""

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from dovetail import leases
from dovetail.errors import WorkspaceError

# Written by the pipeline while it runs: results, not causes.
_RESULTS = (":!dvc.lock", ":!metrics", ":!plots", ":!params.yaml")
# Set inside a git hook, these would lead a command elsewhere than to the folder it is run in.
_LEADS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
_PREFIX = "dovetail-worktree-"
_LOCK = "lock"
_AT_ONCE = 500  # commits in one search


class Commit(NamedTuple):
    """A commit: its hash, who made it and when (ISO 8601, with his zone), and the first line of what he said."""

    commit: str
    author: str
    at: str
    subject: str

    def __str__(self) -> str:
        return f"“{self.subject[:60]}”, {self.at[:10]}, {self.author.partition(' <')[0]}"


def state(root: Path) -> tuple[str, bool]:
    """The commit that is checked out, and whether a file that git tracks, or a new one in the code, differs from it.

    Settings and data have hashes of their own: params.yaml and dvc.lock do not count.

    Raises:
        WorkspaceError: there is no git repository, or it has no commit yet.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD").strip()
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise WorkspaceError(
            "there is no git commit to name the code by",
            where=f"in {root}",
            todo="Make one:  git init && git add -A && git commit -m 'Start'",
        ) from error
    changed = _git(root, "status", "--porcelain", "--", ".", *_RESULTS)
    return commit, bool(changed.strip())


def resolve(root: Path, revision: str) -> str:
    """The commit, as 40 hexadecimal digits, that the branch, tag, short hash or other revision names.

    Raises:
        WorkspaceError: the repository has no such commit.
    """
    try:
        return _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except subprocess.CalledProcessError as error:
        raise WorkspaceError(
            f"git knows no commit '{revision[:60]}'",
            where=f"in the repository of {root}; it may be one that was never pushed to it, or never fetched.",
            todo="Fetch what there is, and see the commits:  git fetch --all --tags && git log --oneline --all",
        ) from error


def show(root: Path, revision: str, path: str) -> bytes:
    """What a file, by its path from `root`, holds at a revision.

    Raises:
        WorkspaceError: the revision is unknown, or has no such file.
    """
    commit = resolve(root, revision)
    try:
        return _run(root, "show", f"{commit}:./{path}")
    except subprocess.CalledProcessError as error:
        raise WorkspaceError(
            f"commit {commit[:10]} has no file {path}",
            where=f"in the repository of {root}.",
            todo=f"See when it had one:  git log --oneline --all -- {path}",
        ) from error


def snapshot(root: Path) -> str:
    """A commit, of no branch, of the files of `root` as they are now, new ones too, ignored ones not.

    The same files on the same commit give the same one. Neither the index nor a branch moves.
    """
    who = {f"GIT_{who}_{what}": "dovetail" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    when = {f"GIT_{who}_DATE": "2000-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}
    with tempfile.TemporaryDirectory(prefix="dovetail-index-") as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        for command in (["read-tree", "HEAD"], ["add", "--all", "--", "."]):
            _run(root, *command, **index)
        tree = _run(root, "write-tree", **index).decode().strip()
    return _run(root, "commit-tree", tree, "-p", "HEAD", "-m", "The workspace", **who, **when).decode().strip()


def fill(checkout: Path, revision: str) -> None:
    """Give a clean checkout the files of a revision; its commit stays, so where they differ it has changes."""
    _git(checkout, "read-tree", "--reset", "-u", revision)


def blobs(root: Path, revision: str, folders: Sequence[str]) -> dict[str, str]:
    """Path -> git's name of its content, of the files under the folders at a revision, or of a tree."""
    listed = _git(root, "ls-tree", "-r", "-z", revision, "--", *folders)
    return {path: head.split()[2] for head, _, path in (line.partition("\t") for line in listed.split("\0") if line)}


def describe(root: Path, commit: str) -> Commit | None:
    """What a commit says of itself; None when the repository has not got it."""
    try:
        said = _git(root, "show", "--no-patch", "--format=%H%x00%an <%ae>%x00%aI%x00%s", f"{commit}^{{commit}}")
    except subprocess.CalledProcessError:
        return None
    return Commit(*said.rstrip("\n").split("\0", 3))


def holding(root: Path, text: str, path: str) -> list[str]:
    """The commits, of any branch and the newest first, in which the file, by its path from `root`, holds the text.

    Only commits that changed the file are looked at.
    """
    commits = _git(root, "rev-list", "--all", "--", path).split()
    found: list[str] = []
    for first in range(0, len(commits), _AT_ONCE):
        asked = ["grep", "--files-with-matches", "--fixed-strings", "-e", text, *commits[first : first + _AT_ONCE]]
        try:
            lines = _git(root, *asked, "--", path).splitlines()
        except subprocess.CalledProcessError:  # there is none
            continue
        found += [line.partition(":")[0] for line in lines]
    return found


def identity(root: Path) -> str:
    """Who is at work, as `Name <address>`: from git's settings, or GIT_AUTHOR_* and GIT_COMMITTER_*; never a guess.

    Raises:
        WorkspaceError: git knows nobody.
    """
    for who in ("AUTHOR", "COMMITTER"):
        try:
            said = _git(root, "-c", "user.useConfigOnly=true", "var", f"GIT_{who}_IDENT")
        except (subprocess.CalledProcessError, FileNotFoundError):
            continue
        return said.rpartition(">")[0] + ">"
    raise WorkspaceError(
        "git does not know who you are, and the journal of a model has to say who moved it",
        where=f"in {root}; nothing was moved.",
        expected="Say it once:",
        todo="git config --global user.name 'Your Name' && git config --global user.email you@example.com",
    )


def identity_or_user(root: Path) -> str:
    """Who is at work, as `identity` says or, where git knows nobody, as this machine does: for what runs unattended."""
    try:
        return identity(root)
    except WorkspaceError:
        return f"{os.environ.get('USER', f'user {os.getuid()}')}@{socket.gethostname()} (git knows nobody)"


@contextmanager
def worktree(root: Path, commit: str) -> Iterator[Path]:
    """What `root` is at the commit: a clean checkout in a temporary folder, gone when the block ends, however it ends.

    It shares the repository's commits and nothing else: no change, no ignored file, no data, no hook. What a process
    that was killed with -9 has left is removed by the next one.

    Raises:
        WorkspaceError: git cannot check the commit out.
    """
    inside = _git(root, "rev-parse", "--show-prefix").strip()
    _clear_abandoned(root)
    with leases.ending_on_signals(), tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        place = Path(folder, "checkout")  # git makes it
        with Path(folder, _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                _check_out(root, commit, place)
                yield place / inside
            finally:
                _remove(root, place)


def _check_out(root: Path, commit: str, place: Path) -> None:
    try:
        # A hook of DVC's would fetch and check out data, and one of Git LFS' its files.
        _git(root, "-c", f"core.hooksPath={os.devnull}", "worktree", "add", "--detach", str(place), commit)
    except subprocess.CalledProcessError as error:
        raise WorkspaceError(
            f"git cannot check out {commit[:10]}: {error.stderr.decode().strip().splitlines()[-1][:100]}",
            where=f"from {root} into {place}.",
            todo=f"See what is there of it:  git show --stat {commit[:10]}",
        ) from error


def _clear_abandoned(root: Path) -> None:
    for line in _git(root, "worktree", "list", "--porcelain").splitlines():
        place = Path(line.removeprefix("worktree "))
        if line.startswith("worktree ") and place.parent.name.startswith(_PREFIX) and _is_abandoned(place.parent):
            _remove(root, place)
            shutil.rmtree(place.parent, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        # Before its lock, or after its end: one that others see has one.
        return not folder.exists()
    return True


def _remove(root: Path, place: Path) -> None:
    # It fails on what git never made, which goes with its folder.
    subprocess.run(
        ["git", "worktree", "remove", "--force", "--force", str(place)],
        cwd=root, env=_environment(), check=False, capture_output=True,
    )  # fmt: skip


def _git(root: Path, *arguments: str) -> str:
    return _run(root, *arguments).decode(errors="replace")


def _run(root: Path, *arguments: str, **variables: str) -> bytes:
    command = ["git", "--no-optional-locks", *arguments]
    return subprocess.run(command, cwd=root, env=_environment() | variables, check=True, capture_output=True).stdout


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _LEADS}
