"""One write transaction of the store on disk: records, offsets, counters and journals, all or none of them.

Keys of the database about the store are `group`, `offset`, `count` or `newest`, then a name or a
source with a partition or reason, parted by zero bytes. A journal's keys are a digest of its name and
an entry's number, big-endian; the highest key holds the last number given out, so that a
journal with nothing new is one step of a cursor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Protocol

import lmdb
import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores import records as rows
from headrace.stores.online import OffsetMismatch

_LAST = b"\xff" * 8  # above every number
_BEFORE = 2**63  # instants before 1970 are negative


class Databases(Protocol):
    """What a change needs of its store: its databases, opened before the transaction began."""

    about: Any
    journals: Any

    def opened(self, group: WindowedGroup) -> Any:
        """Return the database of a declared group; LookupError otherwise."""
        ...


@dataclass(slots=True)
class Change:
    """One write transaction; records are read inside it, so they are never another process's past."""

    dbs: Databases
    txn: lmdb.Transaction
    source: str

    def check(self, start: Mapping[str, int]) -> None:
        """Raise OffsetMismatch where the store does not stand at `start`."""
        stored = {partition: self._number(offset_key(self.source, partition)) for partition in start}
        if stored != dict(start):
            raise OffsetMismatch(stored)

    def advance(self, offsets: Mapping[str, int]) -> None:
        """Say where partitions stand after this change; see Transaction, as for all below."""
        for partition, at in offsets.items():
            self.txn.put(offset_key(self.source, partition), at.to_bytes(8, "big"), db=self.dbs.about)

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to counters."""
        for reason, more in counts.items():
            key = count_key(self.source, reason)
            self.txn.put(key, (self._number(key) + more).to_bytes(8, "big"), db=self.dbs.about)

    def reach(self, instant_ms: int) -> None:
        """Say that an event of this instant was counted."""
        key, at = newest_key(self.source), _instant(instant_ms)
        if at > bytes(self.txn.get(key, b"", db=self.dbs.about)):
            self.txn.put(key, at, db=self.dbs.about)

    def records(self, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
        """Return the records of distinct keys, writable."""
        return group.own(rows.fetch(self.txn, self.dbs.opened(group), group, keys))

    def write(self, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> None:
        """Put the records of distinct keys."""
        rows.put(self.txn, self.dbs.opened(group), group, keys, records)

    def journal(self, name: str, after: int) -> list[tuple[int, bytes]]:
        """Return the entries numbered above `after`, in order."""
        prefix = _prefix(name)
        cursor = self.txn.cursor(self.dbs.journals)
        found: list[tuple[int, bytes]] = []
        if not cursor.set_range(prefix + (max(after, 0) + 1).to_bytes(8, "big")):
            return found
        last = prefix + _LAST
        for at, entry in cursor:
            if (key := bytes(at)) >= last:
                break
            found.append((int.from_bytes(key[len(prefix) :], "big"), bytes(entry)))
        return found

    def append(self, name: str, entry: bytes) -> int:
        """Add an entry to a journal and return its number."""
        prefix = _prefix(name)
        number = int.from_bytes(self.txn.get(prefix + _LAST, b"", db=self.dbs.journals), "big") + 1
        self.txn.put(prefix + number.to_bytes(8, "big"), entry, db=self.dbs.journals)
        self.txn.put(prefix + _LAST, number.to_bytes(8, "big"), db=self.dbs.journals)
        return number

    def forget(self, name: str, numbers: Sequence[int]) -> None:
        """Remove entries; numbers that hold none are passed over."""
        prefix = _prefix(name)
        for number in numbers:
            self.txn.delete(prefix + int(number).to_bytes(8, "big"), db=self.dbs.journals)

    def _number(self, key: bytes) -> int:
        return int.from_bytes(self.txn.get(key, b"", db=self.dbs.about), "big")


def offset_key(source: str, partition: str = "") -> bytes:
    """Return the key of a partition's offset; without a partition the prefix of a source's."""
    return b"offset\0" + source.encode() + b"\0" + partition.encode()


def count_key(source: str, reason: str = "") -> bytes:
    """Return the key of a counter; without a reason the prefix of a source's."""
    return b"count\0" + source.encode() + b"\0" + reason.encode()


def newest_key(source: str) -> bytes:
    """Return the key of the latest instant a source reached."""
    return b"newest\0" + source.encode()


def instant_of(stored: bytes) -> int:
    """Return an instant in epoch milliseconds as it was stored: in an order of bytes that is that of time."""
    return int.from_bytes(stored, "big") - _BEFORE


def _instant(ms: int) -> bytes:
    return (ms + _BEFORE).to_bytes(8, "big")


@lru_cache(maxsize=64)
def _prefix(journal: str) -> bytes:
    return sha256(journal.encode()).digest()[:16]
