"""What travels between Flink's operators: parts of batches, and how a writer knows that a batch is whole.

A batch of events is split into chunks, one for each bucket that has events in it; each is
folded somewhere and comes to the writer as what it changed. Beside them comes one summary of the
batch, with the events that could not be decoded. Flink moves all of it as byte arrays; nothing
in them is run when they are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines import frames
from feature_pipelines.engines.keyed import Folded
from headrace.features.windows import WindowedGroup

#: The name of the bucket of a batch, its partition and first offset, and bytes: what travels.
Packet = tuple[str, str, bytes]
SUMMARY = ""  # the bucket of a summary, which belongs to none


@dataclass(frozen=True, slots=True)
class Summary:
    """What a batch was: where it ends, how many events and chunks it had, and which events were refused."""

    partition: str
    end: int
    events: int
    chunks: int
    refused: list[DeadLetter]

    def to_bytes(self) -> bytes:
        """Return the summary as bytes; see `of_bytes`."""
        return letters_to_bytes(self.refused, f"{self.end} {self.events} {self.chunks} {self.partition}")

    @classmethod
    def of_bytes(cls, data: bytes) -> Summary:
        """Return the summary that `to_bytes` made bytes of."""
        refused, about = letters_of_bytes(data)
        end, events, chunks, partition = about.split(" ", 3)
        return cls(partition, int(end), int(events), int(chunks), refused)


@dataclass(slots=True)
class Arrivals:
    """Which batches are not whole yet at the writer, and up to where each partition was read.

    Parts of one bucket arrive in the order of their batches; they are held until some batch is whole, and
    then all are to be written, so that what is written of a bucket keeps that order. When Flink
    takes a checkpoint every batch before it is whole, and nothing is held.
    """

    positions: dict[str, int] = field(default_factory=dict)
    _missing: dict[str, int] = field(default_factory=dict)
    _held: list[Folded] = field(default_factory=list)

    def add(self, batch: str, folded: Folded) -> list[Folded]:
        """Take what changed by one chunk of a batch; return all to be written now."""
        self._held.append(folded)
        return self._less(batch, 1)

    def summarise(self, batch: str, summary: Summary) -> list[Folded]:
        """Take a batch's summary; return all to be written now."""
        self.positions[summary.partition] = max(summary.end, self.positions.get(summary.partition, 0))
        return self._less(batch, -summary.chunks)

    @property
    def whole(self) -> bool:
        """Whether every batch begun is whole, so that all before `positions` is written."""
        return not self._missing

    def _less(self, batch: str, count: int) -> list[Folded]:
        missing = self._missing.pop(batch, 0) - count
        if missing:
            self._missing[batch] = missing
            return []
        held, self._held = self._held, []
        return held


def folded_to_bytes(folded: Folded) -> bytes:
    """Return what changed in a bucket as bytes; see `folded_of_bytes`."""
    about = f"{folded.events} {folded.duplicates} {folded.group}"
    parts = frames.to_bytes({"key": folded.keys}), letters_to_bytes(folded.late, about)
    sizes = b"".join(len(part).to_bytes(8, "big") for part in parts)
    return b"".join((sizes, *parts, folded.records.tobytes()))


def folded_of_bytes(data: bytes, groups: Sequence[WindowedGroup]) -> Folded:
    """Return what `folded_to_bytes` made bytes of; `groups` are those of the stream."""
    keys_end = 16 + int.from_bytes(data[:8], "big")
    late_end = keys_end + int.from_bytes(data[8:16], "big")
    keys, _ = frames.of_bytes(data[16:keys_end])
    late, about = letters_of_bytes(data[keys_end:late_end])
    events, duplicates, name = about.split(" ", 2)
    layout = next(group.layout for group in groups if group.name == name)
    return Folded(name, keys["key"], layout.read(data[late_end:]), late, int(events), int(duplicates))


def letters_to_bytes(letters: Sequence[DeadLetter], about: object = "") -> bytes:
    """Return dead letters, and a text about them, as bytes."""
    columns = {
        "partition": np.array([letter.partition for letter in letters], dtype=object),
        "offset": np.array([letter.offset for letter in letters], dtype=np.int64),
        "reason": np.array([letter.reason for letter in letters], dtype=object),
        "event": np.array([letter.event for letter in letters], dtype=object),
    }
    return frames.to_bytes(columns, str(about))


def letters_of_bytes(data: bytes) -> tuple[list[DeadLetter], str]:
    """Return what `letters_to_bytes` made bytes of."""
    columns, about = frames.of_bytes(data)
    rows = zip(*(columns[name].tolist() for name in ("partition", "offset", "reason", "event")), strict=True)
    return [DeadLetter(*row) for row in rows], about
