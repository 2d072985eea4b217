"""The records of one group in LMDB: many keys read or written at once inside a transaction."""

from __future__ import annotations

from itertools import repeat
from typing import Any

import lmdb
import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.online import encode_keys
from headrace.stores.packed import packing_of


def fetch(txn: lmdb.Transaction, db: Any, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
    """Return the records of keys, [n] and writable; empty where there is none, or one that is not of the group.

    `db` is the group's database, None where there is none yet. `txn` gives views of pages; what is returned is a copy.
    """
    if db is None:
        return group.empty(len(keys))
    return packing_of(group).decode(rows(txn, db, keys))


def rows(txn: lmdb.Transaction, db: Any, keys: np.ndarray) -> list[bytes | memoryview]:
    """Return what is stored of keys, [n], valid inside the transaction; empty where there is nothing."""
    if db is None:
        return [b""] * len(keys)
    return list(map(txn.get, encode_keys(keys), repeat(b""), repeat(db)))


def put(txn: lmdb.Transaction, db: Any, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> None:
    """Write the records of distinct keys."""
    txn.cursor(db).putmulti(zip(encode_keys(keys), packing_of(group).encode(records), strict=True))
