"""What travels between Flink's operators beside chunks of events: what changed in a bucket, and refused events.

Flink moves them as byte arrays; nothing in them is run when they are read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines import frames
from feature_pipelines.engines.keyed import Folded
from headrace.features.windows import WindowedGroup


def folded_to_bytes(folded: Folded) -> bytes:
    """Return what changed in a bucket as bytes; see `folded_of_bytes`."""
    changed = frames.to_bytes({"key": folded.keys, "record": folded.records})
    late = letters_to_bytes(folded.late, folded.events)
    about = f"{folded.group} {folded.duplicates} {len(changed)}".encode()
    return len(about).to_bytes(2, "big") + about + changed + late


def folded_of_bytes(data: bytes, groups: Sequence[WindowedGroup]) -> Folded:
    """Return what `folded_to_bytes` made bytes of; `groups` are those of the stream."""
    begin = 2 + int.from_bytes(data[:2], "big")
    name, duplicates, size = data[2:begin].decode().rsplit(" ", 2)
    end = begin + int(size)
    dtype = next(group.layout.dtype for group in groups if group.name == name)
    changed, _ = frames.of_bytes(data[begin:end], {"record": dtype})
    late, events = letters_of_bytes(data[end:])
    return Folded(name, changed["key"], changed["record"], late, events, int(duplicates))


def letters_to_bytes(letters: Sequence[DeadLetter], events: int) -> bytes:
    """Return dead letters, and how many events they are among, as bytes."""
    columns = {
        "partition": np.array([letter.partition for letter in letters], dtype=object),
        "offset": np.array([letter.offset for letter in letters], dtype=np.int64),
        "reason": np.array([letter.reason for letter in letters], dtype=object),
        "event": np.array([letter.event for letter in letters], dtype=object),
    }
    return frames.to_bytes(columns, str(events))


def letters_of_bytes(data: bytes) -> tuple[list[DeadLetter], int]:
    """Return what `letters_to_bytes` made bytes of."""
    columns, events = frames.of_bytes(data)
    rows = zip(*(columns[name].tolist() for name in ("partition", "offset", "reason", "event")), strict=True)
    return [DeadLetter(*row) for row in rows], int(events)
