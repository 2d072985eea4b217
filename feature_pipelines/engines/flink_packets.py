"""What travels between Flink's operators: parts of batches, and how a writer knows that a batch is whole.

A batch of events is split into chunks, one for each bucket that has events in it; each is
folded somewhere and comes to the writer as what it changed. Beside them comes one summary of the
batch, with the events that could not be decoded. Flink moves all of it as byte arrays; nothing
in them is run when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines.keyed import Folded
from feature_pipelines.engines.packets import letters_of_bytes, letters_to_bytes

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
