"""From history to the stream, without gap or overlap: what a store knows of the history it was filled from.

A store is filled with absolute records, so an interrupted filling is begun anew, from the same
files. Until it is complete nothing may be streamed into it. From then on events are told apart so:

- Where the files say at which offset each event lies, the stream starts after the last of each partition.
- Otherwise it starts at the first event produced within the stream's horizon of the history's end,
  and leaves out what the history holds. What happened before that horizon is taken to be in the
  history; what happened within it is, where its id is. Without an id, every event that happened
  before the history's end is taken to be in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from feature_pipelines.duplicates import ids_of
from headrace.features.columns import NO_TIME
from headrace.features.streams import Stream
from headrace.stores.online import Transaction, WritableStore

#: The counter of events that were left out because the history holds them.
IN_HISTORY = "in the history already"


@dataclass(frozen=True, slots=True)
class Handover:
    """What a store was filled from, `complete` once all of it is there; times are epoch milliseconds."""

    history: str
    complete: bool = False
    until_ms: int = NO_TIME  # after the history's newest event; NO_TIME where it has none
    before_ms: int = NO_TIME  # what happened before this is in the history; NO_TIME where offsets tell

    def record(self, change: Transaction, stream: Stream) -> None:
        """Keep this in the store, in place of what it held."""
        name = _journal(stream)
        held = [number for number, _ in change.journal(name, 0)]
        change.append(name, json.dumps(asdict(self)).encode())
        change.forget(name, held)


def handover(store: WritableStore, stream: Stream) -> Handover | None:
    """Return what a store was filled from, or begun to be; None where it was not."""
    with store.transaction(stream.name, {}) as change:
        entries = change.journal(_journal(stream), 0)
    return Handover(**json.loads(entries[-1][1])) if entries else None


@dataclass(frozen=True, slots=True)
class Boundary:
    """Where history ends and the stream begins; without a history every event is the stream's."""

    until_ms: int = NO_TIME
    before_ms: int = NO_TIME
    ids: np.ndarray = field(
        default_factory=lambda: _keys(np.zeros((0, 2), dtype=np.uint64))
    )  # from before_ms on, sorted

    @classmethod
    def of(cls, store: WritableStore, stream: Stream) -> Boundary:
        """Return the boundary of a store that is to be streamed into; ValueError where it is half filled."""
        held = handover(store, stream)
        if held is None:
            return cls()
        if not held.complete:
            raise ValueError(
                f"the store was being filled from the history of {stream.name} and is not complete: "
                "run `headrace pipeline bootstrap` with the same history again"
            )
        with store.transaction(stream.name, {}) as change:
            entries = change.journal(_ids_journal(stream), 0)
        ids = np.frombuffer(b"".join(entry for _, entry in entries), dtype=np.uint64).reshape(-1, 2)
        return cls(held.until_ms, held.before_ms, np.sort(_keys(ids)))

    def holds(self, stream: Stream, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell which decoded events are in the history, bool [n]."""
        times = columns[stream.time]
        if self.before_ms == NO_TIME:
            return np.zeros(times.size, dtype=bool)
        if not stream.id:
            return times < self.until_ms
        held = times < self.before_ms
        near = np.flatnonzero(~held & (times < self.until_ms))
        if near.size:
            ids, rows = ids_of(columns[stream.id][near])
            known = np.ones(near.size, dtype=bool)
            known[slice(None) if rows is None else rows] = self._knows(_keys(ids))
            held[near] = known
        return held

    def _knows(self, ids: np.ndarray) -> np.ndarray:
        if not self.ids.size:
            return np.zeros(ids.size, dtype=bool)
        found: np.ndarray = self.ids[np.minimum(np.searchsorted(self.ids, ids), self.ids.size - 1)] == ids
        return found


def keep_ids(change: Transaction, stream: Stream, ids: np.ndarray) -> None:
    """Keep ids (uint64 [n, 2]) of the end of the history, which are known however the stream's partitions run apart."""
    change.append(_ids_journal(stream), np.ascontiguousarray(ids).tobytes())


def _keys(ids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(ids).view("S16").ravel()


def identity(files: Sequence[Path]) -> str:
    """Return what a history is known by: the names, sizes and times of change of its files."""
    about = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return sha256(json.dumps(about).encode()).hexdigest()[:16]


def _ids_journal(stream: Stream) -> str:
    return f"history-ids/{stream.name}"


def _journal(stream: Stream) -> str:
    return f"history/{stream.name}"
