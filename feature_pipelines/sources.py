"""Where events come from. A source is read in batches and can go back to any offset.

An offset counts the events read from a partition. A file is one partition; its name holds a
digest of the file's beginning, end and length, so that another file never continues where
this one stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from feature_pipelines.files import EventFile, SourceError, open_events
from headrace.features.instants import epochs_ms
from headrace.features.streams import Stream

ORDERS = ("time", "file")
Stored = Callable[[], Mapping[str, int]]
_DIGESTED = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive events of one partition or several, not yet decoded."""

    count: int
    raw: Mapping[str, Sequence[Any] | np.ndarray]  # column -> [count]
    start: Mapping[str, int]  # partition -> offset of its first event here
    end: Mapping[str, int]  # partition -> offset after its last event here
    unreadable: Mapping[int, str]  # event -> why it has no columns at all
    original: Callable[[int], bytes]
    origin: Callable[[int], tuple[str, int]]  # event -> its partition and offset
    produced_ms: Callable[[], np.ndarray] | None = None  # when each event was produced, int64 [count], where known


class Source(Protocol):
    """A stream's events in order, with offsets to return to."""

    total: int | None  # events in all, None where there is no end
    at: int  # events already read

    @property
    def ended(self) -> bool:
        """Whether every event was returned; of a source without an end never."""
        ...

    def follow(self, stored: Stored) -> None:
        """Read from the offsets that `stored()` returns, now and whenever partitions come to be read here."""
        ...

    def seek(self, offsets: Mapping[str, int]) -> None:
        """Go to these offsets; a partition that is not named is read from its beginning."""
        ...

    def poll(self, limit: int) -> Batch | None:
        """Return up to `limit` further events; None where there are none now."""
        ...

    def lag(self) -> dict[str, int]:
        """Return how many events of each partition are not read yet, as far as it is known."""
        ...

    def acknowledge(self) -> None:
        """Let others know that everything returned so far is in the store."""
        ...

    def close(self) -> None:
        """Release what the source holds open."""
        ...


class FileSource:
    """Events of a Parquet, CSV or JSON lines file, in file order or in order of event time.

    In time order events without a readable time come first, and events of one instant stay in file order.
    """

    def __init__(self, path: Path | str, stream: Stream, *, order: str = "time") -> None:
        if order not in ORDERS:
            raise ValueError(f"order is {order!r}, needs 'time' or 'file'")
        self._file = open_events(Path(path), stream.names)
        self.absent = tuple(name for name in stream.names if name not in self._file.columns)
        self._order = _by_time(self._file, stream.time) if order == "time" else None
        self._name = Path(path).name
        self._file_id = f"{self._name}@{_digest(Path(path))}"
        self.partition = f"{self._file_id}/{order}"
        self.total: int | None = self._file.count
        self.at = 0

    @property
    def ended(self) -> bool:
        """Whether every event was returned."""
        return self.at >= self._file.count

    def follow(self, stored: Stored) -> None:
        """Read from where the store stands; see `seek`."""
        self.seek(stored())

    def seek(self, offsets: Mapping[str, int]) -> None:
        """Go to the file's offset among `offsets`, to its beginning where it is not named.

        Raises SourceError where events would be counted twice: the file was begun in the other
        order, or a file of its name but other contents (such as itself before it grew) was begun.
        """
        for other in ORDERS:
            if offsets.get(f"{self._file_id}/{other}") and not offsets.get(self.partition):
                raise SourceError(
                    f"{self.partition.partition('@')[0]!r} was begun in {other} order, needs to be continued so: "
                    "its events would be counted twice"
                )
        begun = [name for name, at in offsets.items() if at and name.startswith(f"{self._name}@")]
        if begun and not any(name.startswith(f"{self._file_id}/") for name in begun):
            raise SourceError(
                f"{self._name!r} was streamed into this store with other contents, and would be counted from its "
                "beginning: name it otherwise if all its events are new, or stream the new ones from another file"
            )
        self.at = offsets.get(self.partition, 0)

    def poll(self, limit: int) -> Batch | None:
        """Return the next events, None at the end of the file."""
        start, end = self.at, min(self.at + limit, self._file.count)
        if start >= end:
            return None
        self.at = end
        index = np.arange(start, end) if self._order is None else self._order[start:end]
        raw, unreadable = self._file.read(index)
        return Batch(
            count=end - start,
            raw=raw,
            start={self.partition: start},
            end={self.partition: end},
            unreadable=unreadable,
            original=lambda event: self._file.original(int(index[event])),
            origin=lambda event: (self.partition, start + event),
        )

    def lag(self) -> dict[str, int]:
        """Return how many events are not read yet."""
        return {self.partition: self._file.count - self.at}

    def acknowledge(self) -> None:
        """Nobody else follows a file."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _by_time(file: EventFile, time: str) -> np.ndarray | None:
    at = epochs_ms(file.column(time))
    if (at[1:] >= at[:-1]).all():
        return None
    return np.argsort(at, kind="stable")


def _digest(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_DIGESTED)
        file.seek(max(0, size - _DIGESTED))
        return sha256(b"%d|" % size + head + file.read()).hexdigest()[:16]
