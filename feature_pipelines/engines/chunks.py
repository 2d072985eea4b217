"""Chunks of events: a batch decoded and split by the buckets that its keys are spread over.

A bucket is some keys of a group. A chunk holds events of one partition for one bucket, as
arrays, and travels as bytes. An event belongs to one bucket of each group: a group is a flow of its
own, keyed by its own key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines import frames
from feature_pipelines.events import decode
from feature_pipelines.sources import Batch
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup

#: How many buckets a group's keys are spread over where nobody says otherwise: more allow more workers and
#: smaller pieces of state, fewer fold more events at once.
BUCKETS = 32
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio, as in Fibonacci hashing


@dataclass(frozen=True, slots=True)
class Chunk:
    """Accepted events of one partition for one bucket of a group, in order of arrival.

    `columns` are the group's own and the stream's id, [n] each; `originals` are the events'
    bytes, empty where the source can be asked for them again.
    """

    group: str
    bucket: int
    partition: str
    offsets: np.ndarray  # int64 [n]
    columns: Mapping[str, np.ndarray]
    originals: tuple[bytes, ...] = ()

    @property
    def key(self) -> str:
        """The name of the bucket, by which an engine routes and keeps state."""
        return f"{self.group}/{self.bucket}"

    def to_bytes(self) -> bytes:
        """Return the chunk as bytes; see `of_bytes`."""
        own = {"offset ": self.offsets, **self.columns}  # no column of a stream is named with a space at its end
        if self.originals:
            own["original "] = np.array(self.originals, dtype=object)
        return frames.to_bytes(own, f"{self.bucket} {self.group} {self.partition}")

    @classmethod
    def of_bytes(cls, data: bytes) -> Chunk:
        """Return the chunk that `to_bytes` made bytes of."""
        columns, about = frames.of_bytes(data)
        bucket, group, partition = about.split(" ", 2)
        offsets, originals = columns.pop("offset "), columns.pop("original ", ())
        return cls(group, int(bucket), partition, offsets, columns, tuple(originals))


def split(
    stream: Stream,
    groups: Sequence[WindowedGroup],
    batch: Batch,
    now_ms: int,
    *,
    buckets: int = BUCKETS,
    originals: bool = False,
) -> tuple[list[Chunk], list[DeadLetter]]:
    """Decode a batch of one partition; return its events by bucket of each group, and those that cannot be decoded.

    With `originals` the events carry their bytes with them, for sources that cannot go back.
    """
    events = decode(stream, batch.raw, batch.count, now_ms)
    events.reasons.update(batch.unreadable)
    letters = [
        DeadLetter(*batch.origin(at), reason, batch.original(at)) for at, reason in sorted(events.reasons.items())
    ]
    read = np.flatnonzero(events.accepted).tolist()
    if not read:
        return [], letters
    whole = Chunk(
        group="",
        bucket=0,
        partition=batch.origin(0)[0],
        offsets=_offsets(batch)[read],
        columns=events.columns,
        originals=tuple(batch.original(at) for at in read) if originals else (),
    )
    return [part for group in groups for part in spread(stream, group, whole, buckets)], letters


def _offsets(batch: Batch) -> np.ndarray:
    (start,), (end,) = batch.start.values(), batch.end.values()
    if end - start == batch.count:
        return np.arange(start, end)
    return np.array([batch.origin(at)[1] for at in range(batch.count)], dtype=np.int64)  # some hold no events


def spread(stream: Stream, group: WindowedGroup, chunk: Chunk, buckets: int) -> list[Chunk]:
    """Return one chunk for each bucket of a group that events of `chunk` belong to, each in order of arrival."""
    place = bucket_of(chunk.columns[group.key], buckets)
    order = np.argsort(place, kind="stable")
    names = dict.fromkeys((group.key, group.time, group.value, *group.last, *([stream.id] if stream.id else [])))
    parts = []
    for mine in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        parts.append(
            Chunk(
                group=group.name,
                bucket=int(place[mine[0]]),
                partition=chunk.partition,
                offsets=chunk.offsets[mine],
                columns={name: chunk.columns[name][mine] for name in names},
                originals=tuple(chunk.originals[at] for at in mine.tolist()) if chunk.originals else (),
            )
        )
    return parts


def bucket_of(keys: np.ndarray, buckets: int) -> np.ndarray:
    """Return the bucket of each key, int64 [n]; the same key is always in the same one of so many."""
    if keys.dtype.kind in "iu":
        mixed = (keys.astype(np.uint64) * _GOLDEN) >> np.uint64(32)
        return (mixed % np.uint64(buckets)).astype(np.int64)
    distinct, of = np.unique(keys, return_inverse=True)
    return np.array([crc32(str(key).encode()) % buckets for key in distinct], dtype=np.int64)[of]
