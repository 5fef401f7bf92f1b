"""Point-in-time features of thousands of random histories, on both stores, are what a double loop finds."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore
from histories import ASKED, FEATURES, OF_ALL, Asked, History, Label, definitions, drawn, moments, tame, wanted, write
from offline_stores import BOTH, OFFLINE_STORES, feature_store

N_HISTORIES = 2500


@pytest.fixture(scope="module")
def histories() -> list[History]:
    """Several keys, nulls, ties, backfills, corrections, values that expire, labels before and after everything."""
    return drawn(N_HISTORIES)


@pytest.fixture(scope="module")
def folder(histories: list[History], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The histories in files."""
    path = tmp_path_factory.mktemp("histories")
    write(path, histories, nanoseconds=7)
    return path


def labels_of(histories: list[History]) -> list[tuple[int, Label]]:
    """All label rows with the number of their history, so that equal ones of two histories are not neighbours."""
    rows = [(number, label) for number, history in enumerate(histories) for label in history.labels]
    return sorted(rows, key=lambda row: (row[1].moment, row[0] % 7))


def label_table(labels: list[tuple[int, Label]]) -> pa.Table:
    """The label rows as a frame's columns."""
    return pa.table(
        {
            "event_timestamp": moments([label.moment for _, label in labels]),
            "history": pa.array([number for number, _ in labels], pa.int64()),
            "shop": pa.array([label.shop for _, label in labels], pa.int64()),
            "item": pa.array([label.item for _, label in labels], pa.string()),
            "near": pa.array([label.near for _, label in labels], pa.int64()),
            "place": pa.arange(0, len(labels)),
        }
    )


def answer(store: FeatureStore, labels: list[tuple[int, Label]], **more: Any) -> pa.Table:
    """All features of all label rows; integer columns with nulls stay integers."""
    frame = label_table(labels).to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    job = store.get_historical_features(frame, store.get_feature_service("all"), full_feature_names=True, **more)
    found: pa.Table = job.to_arrow()
    return found


def opened(folder: Path, offline_store: dict[str, Any]) -> FeatureStore:
    """A store with all views registered."""
    store = feature_store(folder, offline_store)
    store.apply(definitions())
    return store


def values(table: pa.Table, asked: Asked) -> list[str]:
    """One view's features, a text a row, so that nan is equal to nan and 0.0 is not -0.0."""
    columns = [table[f"{asked.view}__{name}"].to_pylist() for name in FEATURES]
    return [str(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("created_counts", [True, False], ids=["known", "all"])
@pytest.mark.parametrize("kind", BOTH)
def test_each_label_row_gets_what_a_search_finds(
    histories: list[History], folder: Path, kind: str, created_counts: bool, request: pytest.FixtureRequest
) -> None:
    """Once, in order, with its own columns untouched; six views at once, one of them under another entity's name."""
    if kind == "spark":
        request.getfixturevalue("java")
    store = opened(folder, OFFLINE_STORES[kind] | {"filter_by_created_timestamp": created_counts})
    labels = labels_of(histories)
    table = answer(store, labels)
    assert table.select(label_table(labels).column_names).equals(label_table(labels))
    for asked in ASKED:
        found = values(table, asked)
        for (number, label), value in zip(labels, found, strict=True):
            history = OF_ALL if asked.view == "of_all" else histories[number]
            assert value == str(wanted(history, label, asked, created_counts=created_counts)), (asked, label, history)
        assert 300 < found.count(str((None, None, None))) < len(found) - 300, asked


# Feast's stores, and where they are right: Dask loses values beside those that were created too late when a view has
# two keys, and takes the first of two values of one event when it has none; `duckdb` knows no join key maps.
STOCK = {"file": ("plain", "corrected", "any"), "duckdb": ("plain", "corrected", "pairs", "any", "of_all")}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Merging dataframes with merge column data type mismatches")
@pytest.mark.parametrize("kind", STOCK)
def test_where_feasts_own_stores_are_right_the_answer_is_the_same(
    histories: list[History], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask loses label rows and makes floats of integers; every value of the rows that it keeps is equal."""
    # The stock duckdb store looks for relative paths where it is started.
    monkeypatch.chdir(tmp_path)
    histories = [tame(history) for history in histories[:500]]
    write(tmp_path, histories, nanoseconds=0)
    labels = labels_of(histories)
    theirs = answer(opened(tmp_path, {"type": kind}), labels, filter_by_created_timestamp=True)
    ours = answer(opened(tmp_path, OFFLINE_STORES["duckdb"]), labels).take(theirs["place"])
    assert theirs.num_rows > 300
    for asked in ASKED:
        if asked.view in STOCK[kind]:
            assert by_pandas(ours, asked) == by_pandas(theirs, asked)


def by_pandas(table: pa.Table, asked: Asked) -> list[str]:
    """One view's features as pandas has them: an integer beside nulls is a float, and nan is null."""
    frame = table.select([f"{asked.view}__{name}" for name in FEATURES]).to_pandas()
    return [str(row) for row in frame.astype({f"{asked.view}__number": float}).itertuples(index=False, name=None)]
