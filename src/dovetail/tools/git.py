"""What git says about the code: the commit, and whether the files are still the commit's."""

import subprocess
from pathlib import Path

from dovetail.errors import WorkspaceError

# Written by the pipeline while it runs: results, not causes.
_RESULTS = (":!dvc.lock", ":!metrics", ":!plots", ":!params.yaml")


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


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "--no-optional-locks", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout
