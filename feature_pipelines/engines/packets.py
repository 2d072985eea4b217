"""What changed in a bucket, and dead letters, as bytes: what engines carry from where it is folded to the sink."""

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
    head = f"{folded.events} {folded.duplicates} {len(changed)} {folded.group}".encode()
    return len(head).to_bytes(2, "big") + head + changed + letters_to_bytes(folded.late)


def folded_of_bytes(data: bytes, groups: Sequence[WindowedGroup]) -> Folded:
    """Return what `folded_to_bytes` made bytes of; `groups` are those of the stream."""
    begin = 2 + int.from_bytes(data[:2], "big")
    events, duplicates, size, name = data[2:begin].decode().split(" ", 3)
    end = begin + int(size)
    dtype = next(group.layout.dtype for group in groups if group.name == name)
    changed, _ = frames.of_bytes(data[begin:end], {"record": dtype})
    late, _ = letters_of_bytes(data[end:])
    return Folded(name, changed["key"], changed["record"], late, int(events), int(duplicates))


def letters_to_bytes(letters: Sequence[DeadLetter], about: str = "") -> bytes:
    """Return dead letters as bytes, with a text about them; see `letters_of_bytes`."""
    return frames.to_bytes(
        {
            "partition": np.array([letter.partition for letter in letters], dtype=object),
            "offset": np.array([letter.offset for letter in letters], dtype=np.int64),
            "reason": np.array([letter.reason for letter in letters], dtype=object),
            "event": np.array([letter.event for letter in letters], dtype=object),
        },
        about,
    )


def letters_of_bytes(data: bytes) -> tuple[list[DeadLetter], str]:
    """Return the letters and the text that `letters_to_bytes` made bytes of."""
    columns, about = frames.of_bytes(data)
    rows = zip(*(columns[name].tolist() for name in ("partition", "offset", "reason", "event")), strict=True)
    return [DeadLetter(*row) for row in rows], about
