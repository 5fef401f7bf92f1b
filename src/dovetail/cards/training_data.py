"""The training data of two versions, held against each other."""

from collections.abc import Iterator

import pandas as pd

from dovetail.cards.sides import Side
from dovetail.errors import DovetailError
from dovetail.files import read_parquet
from dovetail.lineage import INPUT_PREFIX
from dovetail.pages.records import Drifted, Unknown
from dovetail.science.drift import ColumnDrift, comparable, is_number, judge, obstacle
from dovetail.science.splits import input_columns
from dovetail.settings.dvc_files import dvc_hash
from dovetail.settings.schema import UseCase
from dovetail.settings.workspace import Workspace
from dovetail.tools import data_versions

TRAIN = "data/training_set/train.parquet"
# As many rows of each as the drift report takes.
MAX_ROWS = 20_000


def drift(own: Side, champion: Side, usecase: UseCase, workspace: Workspace) -> Drifted | Unknown:
    """The version's training part against the champion's, column by column, as the drift report compares.

    DVC's cache gets from the remote what it lacks of them.
    """
    hashes = [side.tag(INPUT_PREFIX + TRAIN) for side in (own, champion)]
    if None in hashes:
        return Unknown(f"{(champion if hashes[0] else own).version} does not say which data it was trained on")
    try:
        now = _part(str(hashes[0]), workspace)
        if hashes[0] == hashes[1]:
            return Drifted(len(now), len(now), (), is_same=True)
        before = _part(str(hashes[1]), workspace)
    except DovetailError as error:
        said = " ".join([*error.what.split(), *error.expected.split()])
        return Unknown(said, error.todo.removeprefix("Bring it back:  "))
    return Drifted(len(now), len(before), tuple(_moves(before, now, usecase)), is_same=False)


def _part(md5: str, workspace: Workspace) -> pd.DataFrame:
    """The training part of that hash: the workspace's, or that in DVC's cache.

    Raises:
        DataVersionError: it is not to be had, or was changed.
    """
    path = workspace.read(TRAIN)
    if dvc_hash(path) != md5:
        data_versions.demand(workspace.root, {TRAIN: md5})
        path = data_versions.object_path(data_versions.cache_folder(workspace.root), md5)
    frame: pd.DataFrame = read_parquet(path).to_pandas()
    return frame


def _moves(before: pd.DataFrame, now: pd.DataFrame, usecase: UseCase) -> Iterator[ColumnDrift]:
    # Evidently takes seconds to import, and most versions have the champion's data.
    from dovetail.tools import drift_reports

    label = usecase.label.column
    before, now = (part.assign(**{label: part[label].astype(int).astype(str)}) for part in (before, now))
    for name in [*input_columns(dict.fromkeys([*before, *now]), usecase.label), label]:
        reference, current = before.get(name), now.get(name)
        distance: float | str = obstacle(reference, current, usecase.drift)
        if not distance and reference is not None and current is not None:
            values = comparable(reference, MAX_ROWS), comparable(current, MAX_ROWS)
            distance = drift_reports.distance(*values, is_number(reference))
        yield judge(name, reference, current, distance, usecase.drift)
