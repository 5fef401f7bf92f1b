"""Which rows a model has seen, by what it keeps of their keys."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from dovetail.files import read_parquet, write_parquet
from dovetail.science.training_keys import COLUMN, ENCODING, key_hashes, learned_keys, seen


@given(st.lists(st.text() | st.integers()), st.lists(st.text() | st.integers()))
def test_a_row_is_seen_when_its_key_was_learned(learned: list[str | int], keys: list[str | int]) -> None:
    """And only then; a key that is a number is its text."""
    known = {str(key) for key in learned}
    assert seen(keys, learned_keys(learned)).tolist() == [str(key) in known for key in keys]


def test_what_is_kept_is_sorted_whatever_the_rows_order() -> None:
    """So that the same rows give the same bytes."""
    assert learned_keys(["b", "a", "b"]).equals(learned_keys(["a", "b"]))


def test_a_hash_is_fixed_for_good() -> None:
    """Models that were trained years ago must still be compared: this number may never change."""
    assert key_hashes(["UA1545-2013-01-01T10"]).tolist() == [10044171024848520423]


def test_many_keys_take_little_space(tmp_path: Path) -> None:
    """190,000 keys of any length are 1.2 MB, and come back as they were."""
    table = learned_keys(f"{'long ' * 20}{n}" for n in range(190_000))
    write_parquet(table, tmp_path / "keys.parquet", ENCODING)
    assert (tmp_path / "keys.parquet").stat().st_size < 1_250_000
    back = read_parquet(tmp_path / "keys.parquet")
    assert back.schema.field(COLUMN).type == pa.uint64()
    assert np.array_equal(back[COLUMN].to_numpy(), table[COLUMN].to_numpy())
