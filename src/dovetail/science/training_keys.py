"""The keys of the rows that a model has learned from, compactly, so that anybody can check which rows it has seen.

A key is kept as 64 bits of its hash: six bytes whatever the key is, and nobody's name travels with the model. That an
unseen row is taken for a seen one happens with one holdout of this size in a thousand million.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from dovetail.science.metrics import Numbers

COLUMN = "key_hash"
# Sorted numbers that grow by little: their differences take three quarters of the space.
ENCODING = {COLUMN: "DELTA_BINARY_PACKED"}


def key_hashes(keys: Iterable[Any]) -> Numbers:
    """A number of 64 bits for each key, in their order: BLAKE2b of the key as text."""
    digests = b"".join(hashlib.blake2b(str(key).encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def learned_keys(keys: Iterable[Any]) -> pa.Table:
    """The hashes of these keys, each once, sorted: what is kept with a run."""
    return pa.table({COLUMN: np.unique(key_hashes(keys))})


def seen(keys: Iterable[Any], learned: pa.Table) -> Numbers:
    """For each key whether it is among the learned ones."""
    return np.isin(key_hashes(keys), learned[COLUMN].to_numpy())
