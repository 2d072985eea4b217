"""An online store in this process's memory, under the same contract as the one on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.online import (
    Block,
    LayoutMismatch,
    Lookup,
    OffsetMismatch,
    block_of,
    declaration,
    encode_keys,
    mismatch,
    not_ready,
)


class MemoryStore:
    """Records in dictionaries; one writer at a time, in this process only.

    >>> MemoryStore().offsets("payments")
    {}
    """

    def __init__(self) -> None:
        self._records: dict[str, dict[bytes, bytes]] = {}
        self._offsets: dict[str, dict[str, int]] = {}
        self._declared: dict[str, dict] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._journals: dict[str, dict[int, bytes]] = {}
        self._last: dict[str, int] = {}
        self._newest: dict[str, int] = {}

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup, at once; see OnlineStore."""
        return [block_of(wanted.group, self._read(wanted.group, wanted.keys), as_of) for wanted in lookups]

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return one list of rows per lookup, at once; see PackedStore."""
        held = [self._records.get(wanted.group.name, {}) for wanted in lookups]
        return [[of.get(key, b"") for key in encode_keys(w.keys)] for of, w in zip(held, lookups, strict=True)]

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group holds keys under its declaration, else the reason why not."""
        return not_ready(groups, self._declared, lambda group: bool(self._records.get(group.name)))

    def offsets(self, source: str) -> dict[str, int]:
        """Return where each partition of a source stands."""
        return dict(self._offsets.get(source, {}))

    def counts(self, source: str) -> dict[str, int]:
        """Return the counters of a source."""
        return dict(self._counts.get(source, {}))

    def newest(self, source: str) -> int | None:
        """Return the latest instant a source reached."""
        return self._newest.get(source)

    def size(self, group: WindowedGroup) -> int:
        """Return how many keys of a group are held."""
        return len(self._records.get(group.name, {}))

    def flush(self) -> None:
        """Nothing survives this process."""

    def declare(self, groups: Sequence[WindowedGroup]) -> None:
        """Record the groups to be written; raises LayoutMismatch."""
        for group in groups:
            if group.name in self._declared and (unlike := mismatch(group, self._declared[group.name])):
                raise LayoutMismatch(unlike)
        self._declared |= {group.name: declaration(group) for group in groups}

    @contextmanager
    def transaction(self, source: str, start: Mapping[str, int]) -> Iterator[_Change]:
        """Begin a change; see WritableStore."""
        offsets = self.offsets(source)
        stored = {partition: offsets.get(partition, 0) for partition in start}
        if stored != dict(start):
            raise OffsetMismatch(stored)
        change = _Change(self, self.counts(source))
        yield change
        for name, records in change.written.items():
            self._records.setdefault(name, {}).update(records)
        self._offsets.setdefault(source, {}).update(change.offsets)
        self._counts[source] = change.counts
        self._journals |= change.journals
        self._last |= change.last
        if change.reached:
            self._newest[source] = max([*change.reached, self._newest.get(source, change.reached[0])])

    def close(self) -> None:
        """Nothing is held open."""

    def _read(self, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
        held, size = self._records.get(group.name, {}), group.layout.size
        empty = group.empty(1).tobytes()
        found = (held.get(key, empty) for key in encode_keys(keys))
        return group.layout.read(b"".join(row if len(row) == size else empty for row in found))


class _Change:
    def __init__(self, store: MemoryStore, counts: dict[str, int]) -> None:
        self._store = store
        self.written: dict[str, dict[bytes, bytes]] = {}
        self.offsets: dict[str, int] = {}
        self.counts = counts
        self.journals: dict[str, dict[int, bytes]] = {}
        self.last: dict[str, int] = {}
        self.reached: list[int] = []

    def advance(self, offsets: Mapping[str, int]) -> None:
        self.offsets.update(offsets)

    def count(self, counts: Mapping[str, int]) -> None:
        for reason, more in counts.items():
            self.counts[reason] = self.counts.get(reason, 0) + more

    def reach(self, instant_ms: int) -> None:
        self.reached.append(instant_ms)

    def journal(self, name: str, after: int) -> list[tuple[int, bytes]]:
        held = self.journals.get(name, self._store._journals.get(name, {}))
        return [(number, entry) for number, entry in held.items() if number > after]

    def append(self, name: str, entry: bytes) -> int:
        number = self.last.get(name, self._store._last.get(name, 0)) + 1
        self._journal(name)[number] = bytes(entry)
        self.last[name] = number
        return number

    def forget(self, name: str, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._journal(name).pop(number, None)

    def _journal(self, name: str) -> dict[int, bytes]:
        return self.journals.setdefault(name, dict(self._store._journals.get(name, {})))

    def records(self, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
        records = self._store._read(group, keys).copy()
        written = self.written.get(group.name, {})
        for at, key in enumerate(encode_keys(keys)):
            if key in written:
                records[at] = group.layout.read(written[key])[0]
        return group.own(records)

    def write(self, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> None:
        rows = self.written.setdefault(group.name, {})
        rows.update(zip(encode_keys(keys), (record.tobytes() for record in records), strict=True))
