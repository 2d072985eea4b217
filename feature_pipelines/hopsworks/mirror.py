"""A store on this machine whose records are rows in Hopsworks too.

Every transaction's records are sent, and acknowledged, before the transaction is committed: what the
store holds, Hopsworks has. Where a process dies between the two, Hopsworks is ahead by the batch that
was not committed. That batch is read again, changes the same keys, and puts the rows that the store
then holds in their place: rows are absolute, and of one key they arrive in the order of commits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from feature_pipelines.hopsworks.marks import WHOLE, mark, marks
from feature_pipelines.hopsworks.writer import FeatureGroupWriter, Messages
from headrace.features.columns import NO_TIME
from headrace.features.windows import WindowedGroup
from headrace.stores.online import Block, Lookup, Transaction, WritableStore


class MirroredStore:
    """A WritableStore whose transactions also write rows; reads are the store's own.

    `written` counts the rows that were acknowledged by this process.
    """

    def __init__(self, store: WritableStore, writer: FeatureGroupWriter) -> None:
        self.store, self.writer = store, writer
        self.written = 0

    def declare(self, groups: Sequence[WindowedGroup]) -> None:
        """Record the groups to be written; see WritableStore.

        Raises LayoutMismatch, and ValueError for one without a feature group, or with records that lack their rows.
        """
        if lacking := self.writer.lacking(groups):
            raise ValueError(f"no feature group in Hopsworks is given for {', '.join(lacking)}, needs one each")
        self.store.declare(groups)
        marked = marks(self.store)
        topics = {group.name: self.writer.targets[group.name][0].topic for group in groups}
        for group in groups:
            if marked.get(topics[group.name]) != WHOLE and (size := self.store.size(group)):
                raise ValueError(
                    f"the store holds {size:,} keys of group {group.name!r} that were written without Hopsworks: "
                    "run `headrace hopsworks fill` with this store first"
                )
        if new := [topic for topic in topics.values() if topic not in marked]:
            mark(self.store, new, WHOLE)

    @contextmanager
    def transaction(self, source: str, start: Mapping[str, int]) -> Iterator[Transaction]:
        """Begin a change; see WritableStore. Raises StoreUnavailable where a row is not acknowledged."""
        with self.store.transaction(source, start) as change:
            mirrored = _Change(change, self.writer)
            yield mirrored
            self.written += self.writer.write(mirrored.messages)

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup; see OnlineStore."""
        return await self.store.read(lookups, as_of, deadline)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group can be served, else the reason why not."""
        return self.store.readiness(groups)

    def offsets(self, source: str) -> dict[str, int]:
        """Return where each partition of a source stands."""
        return self.store.offsets(source)

    def counts(self, source: str) -> dict[str, int]:
        """Return the counters of a source."""
        return self.store.counts(source)

    def newest(self, source: str) -> int | None:
        """Return the latest instant a source reached."""
        return self.store.newest(source)

    def size(self, group: WindowedGroup) -> int:
        """Return how many keys of a group are held."""
        return self.store.size(group)

    def flush(self) -> None:
        """Return once everything committed survives a loss of power; rows are acknowledged before a commit."""
        self.store.flush()

    def close(self) -> None:
        """Close the store and the connection."""
        try:
            self.writer.close()
        finally:
            self.store.close()


class _Change:
    def __init__(self, change: Transaction, writer: FeatureGroupWriter) -> None:
        self._change, self._writer = change, writer
        self.messages: dict[str, Messages] = {}
        self._read: tuple[np.ndarray, np.ndarray] | None = None  # keys, and their records as they were

    def records(self, group: WindowedGroup, keys: np.ndarray) -> np.ndarray:
        records = self._change.records(group, keys)
        self._read = keys, records.copy()
        return records

    def write(self, group: WindowedGroup, keys: np.ndarray, records: np.ndarray) -> None:
        self._change.write(group, keys, records)
        changed = np.asarray(records["newest_ms"] != NO_TIME)
        if self._read is not None and self._read[0] is keys and self._read[1].dtype == records.dtype:
            changed = changed & _differ(self._read[1], records)
        if not changed.all():
            keys, records = keys[changed], records[changed]
        if keys.size:
            self.messages.setdefault(group.name, {}).update(self._writer.encode(group, keys, records))

    def advance(self, offsets: Mapping[str, int]) -> None:
        self._change.advance(offsets)

    def count(self, counts: Mapping[str, int]) -> None:
        self._change.count(counts)

    def reach(self, instant_ms: int) -> None:
        self._change.reach(instant_ms)

    def journal(self, name: str, after: int) -> list[tuple[int, bytes]]:
        return self._change.journal(name, after)

    def append(self, name: str, entry: bytes) -> int:
        return self._change.append(name, entry)

    def forget(self, name: str, numbers: Sequence[int]) -> None:
        self._change.forget(name, numbers)


def _differ(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    ours, theirs = (np.ascontiguousarray(part).view(np.int64).reshape(len(part), -1) for part in (before, after))
    return np.asarray((ours != theirs).any(axis=1))
