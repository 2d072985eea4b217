"""From history to the stream, without gap or overlap: what a store knows of the history it was filled from.

A store is filled with absolute records, so an interrupted filling is begun anew, from the same
files. Until it is complete nothing may be streamed into it. From then on events are told apart so:

- Where the files say at which offset each event lies, the stream starts after the last of each partition.
- Otherwise it starts at the first event produced within the stream's horizon of the history's end,
  and leaves out what the history holds. An event with an id is known by it within the horizon, and
  what happened earlier is taken to be in the history; so is every event without an id that
  happened before the history's end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

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

    def holds(self, stream: Stream, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell which decoded events are in the history for their time, bool [n]; an id may yet tell of others."""
        times = columns[stream.time]
        if self.before_ms == NO_TIME:
            return np.zeros(times.size, dtype=bool)
        held = times < self.before_ms
        if stream.id and columns[stream.id].dtype == object:
            held |= (times < self.until_ms) & (columns[stream.id] == None)  # noqa: E711  element by element
        return held

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


def complete_handover(store: WritableStore, stream: Stream) -> Handover:
    """Return what a store that is to be streamed into was filled from; ValueError where it is half filled."""
    held = handover(store, stream) or Handover("", complete=True)
    if not held.complete:
        raise ValueError(
            f"the store was being filled from the history of {stream.name} and is not complete: "
            "run `headrace pipeline bootstrap` with the same history again"
        )
    return held


def identity(files: Sequence[Path]) -> str:
    """Return what a history is known by: the names, sizes and times of change of its files."""
    about = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return sha256(json.dumps(about).encode()).hexdigest()[:16]


def _journal(stream: Stream) -> str:
    return f"history/{stream.name}"
