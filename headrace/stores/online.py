"""The online store: where a request finds the features of its entities.

One read answers every key of a request. A row of a key never seen, or written under
another layout, is missing: its windows are empty and its age is NaN. A store is written
in transactions that also move the offsets of the source they came from, and that are
refused when the source did not start where the store stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np

from headrace.features.windows import WindowedGroup, merge, seen
from headrace.stores.packed import packing_of

_SIGN = np.int64(-(2**63))
_LONGEST_KEY = 511  # bytes; what LMDB takes


class StoreUnavailable(Exception):
    """The store cannot be read now; the text says why."""


class ReadDeadlinePassed(StoreUnavailable):
    """The store gave no answer before the read's deadline."""


class RowsUnread(StoreUnavailable):
    """The store answered, and could not read some of the rows; nothing is known of any."""


class Unreachable(str):
    """A reason not to be ready that says nothing of what the store holds: it cannot be reached now."""

    __slots__ = ()


class StoreFull(StoreUnavailable):
    """The store's disk has no room left: the batch was thrown away, and the store stands where it stood."""


class LayoutMismatch(Exception):
    """The store holds a group under another declaration; the text says what differs."""


class OffsetMismatch(Exception):
    """Another writer has moved the offsets; `stored` says where each partition stands."""

    def __init__(self, stored: Mapping[str, int]) -> None:
        super().__init__(f"the store stands at {dict(stored)}, the batch started elsewhere: seek and read again")
        self.stored = dict(stored)


class StoreGrew(Exception):
    """The store was full in the middle of a batch and has been enlarged: run the batch again."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the store was full and now has room for {size >> 20} MiB: the batch must be run again")


@dataclass(frozen=True, slots=True)
class Lookup:
    """The keys of one group to read, int64 [n] or text [n]."""

    group: WindowedGroup
    keys: np.ndarray


@dataclass(slots=True)
class Block:
    """What a read found for one group, in the order of its keys."""

    values: np.ndarray  # float64 [n, columns], NaN where missing
    found: np.ndarray  # bool [n]
    age_ms: np.ndarray  # float64 [n]: as_of less the newest event, NaN where not found
    exact: np.ndarray  # bool [n]: False where as_of is not after the newest event, the head then off by up to a tile
    stale: np.ndarray | None = None  # bool [n]: kept from before the store failed; None where none is
    default: np.ndarray | None = None  # bool [n]: the store failed and every value is NaN; None where none is


class OnlineStore(Protocol):
    """Reads the features of many entities at once."""

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup, read in one consistent view; `as_of` is int64 [n].

        `deadline` is an instant of the running loop's clock. Raises StoreUnavailable, and
        ReadDeadlinePassed where there was no answer until then.
        """
        ...

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group can be served, else the reason why not."""
        ...

    def close(self) -> None:
        """Release what the store holds open."""
        ...


class PackedStore(Protocol):
    """A store away from here, of which the rows themselves are read: they can be kept, and merged at any instant.

    Caches, breakers and second reads wrap this; `blocks_of` makes of its rows what OnlineStore.read returns.
    """

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return one list per lookup of the rows of its keys, as headrace.stores.packed wrote them.

        A row is empty where the store has no such key. The lists are the caller's, who may ask for a key more
        than once. Raises as OnlineStore.read does; a read that is cancelled leaves nothing behind.
        """
        ...

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group can be served, else the reason why not."""
        ...

    def close(self) -> None:
        """Release what the store holds open."""
        ...


class Transaction(Protocol):
    """One atomic change of tiles and offsets."""

    def records(self, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
        """Return the records of distinct keys, writable; empty where there are none."""
        ...

    def write(self, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> None:
        """Put the records of distinct keys."""
        ...

    def advance(self, offsets: Mapping[str, int]) -> None:
        """Say where the source's partitions stand once this change is committed."""
        ...

    def count(self, counts: Mapping[str, int]) -> None:
        """Add to the source's counters, by reason or kind; see WritableStore.counts."""
        ...

    def reach(self, instant_ms: int) -> None:
        """Say that an event of this instant was counted; see WritableStore.newest."""
        ...

    def journal(self, name: str, after: int) -> list[tuple[int, bytes]]:
        """Return the entries of a journal whose numbers are above `after`, in ascending order of number."""
        ...

    def append(self, name: str, entry: bytes) -> int:
        """Add an entry to a journal and return its number, above every number given out before, from 1 on."""
        ...

    def forget(self, name: str, numbers: Sequence[int]) -> None:
        """Remove entries from a journal; their numbers are not given out again."""
        ...


class WritableStore(OnlineStore, Protocol):
    """A store that a pipeline on this machine writes to."""

    def offsets(self, source: str) -> dict[str, int]:
        """Return where each partition of a source stands."""
        ...

    def counts(self, source: str) -> dict[str, int]:
        """Return the counters of a source: how often each reason or kind was counted by all runs so far."""
        ...

    def newest(self, source: str) -> int | None:
        """Return the latest instant a source was said to have reached, None where it never was."""
        ...

    def size(self, group: WindowedGroup) -> int:
        """Return how many keys of a group are held."""
        ...

    def flush(self) -> None:
        """Return once everything committed so far survives a loss of power."""
        ...

    def transaction(self, source: str, start: Mapping[str, int]) -> AbstractContextManager[Transaction]:
        """Begin a change by a batch that was read from `start` on (a partition never seen stands at 0).

        It is committed when the block ends and thrown away when the block raises. Raises
        OffsetMismatch where the store does not stand at `start`, and StoreGrew where it must be run again.
        """
        ...

    def declare(self, groups: Sequence[WindowedGroup]) -> None:
        """Record the groups to be written; raises LayoutMismatch where one is held under another declaration."""
        ...


def block_of(group: WindowedGroup, records: np.ndarray, as_of: np.ndarray) -> Block:
    """Merge records read for a request into a block."""
    return Block(merge(group, records, as_of), *seen(group, records, as_of))


def blocks_of(lookups: Sequence[Lookup], packed: Sequence[Sequence[bytes]], as_of: np.ndarray) -> list[Block]:
    """Merge the rows of a PackedStore into one block per lookup; a row of another layout is missing."""
    return [Block(*packing_of(wanted.group).read(rows, as_of)) for wanted, rows in zip(lookups, packed, strict=True)]


def encode_keys(keys: np.ndarray) -> list[bytes]:
    """Return keys as 1 to 511 bytes that sort as the keys do: int64 big-endian with the sign flipped, or UTF-8 text.

    Text is ended by a zero byte, so that no key is empty; of very long text the end is a digest.
    """
    if keys.dtype.kind in "iu":
        flipped = keys.astype(np.int64) ^ _SIGN
        return flipped.astype(">i8").view("V8").tolist()
    return [_encode_text(str(key).encode()) for key in keys]


def decode_keys(encoded: Sequence[bytes], *, whole: bool) -> np.ndarray:
    """Return the keys that `encode_keys` made these of: int64 [n] where they are `whole` numbers, else text [n].

    Raises ValueError for a text so long that its end is a digest.
    """
    if whole:
        return np.frombuffer(b"".join(encoded), dtype=">i8").astype(np.int64) ^ _SIGN
    if any(not key.endswith(b"\0") for key in encoded):
        raise ValueError(f"a key is longer than {_LONGEST_KEY - 1} bytes, the text of one that is kept cannot be told")
    return np.array([key[:-1].decode() for key in encoded])


def _encode_text(key: bytes) -> bytes:
    if len(key) < _LONGEST_KEY:
        return key + b"\0"
    digest = sha256(key).hexdigest().encode()
    return key[: _LONGEST_KEY - 1 - len(digest)] + b"\0" + digest


def declaration(group: WindowedGroup) -> dict[str, Any]:
    """Return what a store keeps about a group: its declaration and its layout's fingerprint."""
    return {**group.describe(), "layout": f"{group.layout.fingerprint:016x}"}


def mismatch(group: WindowedGroup, stored: Mapping[str, Any], store: str = "the store") -> str:
    """Say that a store holds a group under another declaration, and how it differs; empty where it does not."""
    ours = declaration(group)
    changed = [name for name in ours if stored.get(name) != ours[name]]
    if not changed:
        return ""
    named = [f"{name} is {stored.get(name)!r} in the store and {ours[name]!r} here" for name in changed[:-1]]
    return (
        f"{store} holds group {group.name!r} under another declaration "
        f"({'; '.join(named) or 'its records are laid out otherwise'}): "
        f"layout {stored.get('layout')} there, {ours['layout']} here; give the group a new name or use another store"
    )


def not_ready(
    groups: Sequence[WindowedGroup],
    declared: Mapping[str, Mapping[str, Any]],
    holds: Callable[[WindowedGroup], bool],
    store: str = "the store",
) -> str | None:
    """Return why groups cannot be served, None where each holds keys under its declaration."""
    for group in groups:
        if group.name in declared and (unlike := mismatch(group, declared[group.name], store)):
            return unlike
        if group.name not in declared or not holds(group):
            return f"{store} holds no key of group {group.name!r}: run its pipeline first"
    return None
