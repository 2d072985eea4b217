"""The records of one group in LMDB: many keys read or written at once inside a transaction."""

from __future__ import annotations

from functools import lru_cache
from itertools import repeat
from typing import Any

import lmdb
import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.online import encode_keys


def fetch(txn: lmdb.Transaction, db: Any, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
    """Return the records of keys, [n] and read only; empty where there is none, or one of another width.

    `db` is the group's database, None where there is none yet.
    """
    empty, size = _empty(group), group.layout.size
    if db is None:
        return group.layout.read(empty * len(keys))
    found = list(map(txn.get, encode_keys(keys), repeat(empty), repeat(db)))
    joined = b"".join(found)
    if len(joined) != size * len(found) or any(len(row) != size for row in found):
        joined = b"".join(row if len(row) == size else empty for row in found)
    return group.layout.read(joined)


def put(txn: lmdb.Transaction, db: Any, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> None:
    """Write the records of distinct keys."""
    size = group.layout.size
    flat = memoryview(records.tobytes())
    rows = ((key, flat[at * size : (at + 1) * size]) for at, key in enumerate(encode_keys(keys)))
    txn.cursor(db).putmulti(rows)


@lru_cache(maxsize=64)
def _empty(group: WindowedGroup) -> bytes:
    return group.empty(1).tobytes()
