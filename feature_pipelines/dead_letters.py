"""Dead letters: events that could not be counted, kept with the reason and their original bytes.

The file is JSON lines: `partition`, `offset`, `reason`, and the event as `text`, or as
`base64` where it is not UTF-8. Its length is an offset like any other and moves in the
store's transaction, so that after a crash no letter is lost and none is there twice.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

#: The partition under which the length of the file is kept beside the source's offsets.
PARTITION = "dead-letters"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that was not counted."""

    partition: str
    offset: int
    reason: str
    event: bytes


class DeadLetters(Protocol):
    """Where a pipeline's dead letters go; how far they reach is an offset of `partition` in the store."""

    partition: str

    def check_new(self) -> None:
        """Raise ValueError where there are letters that the store never wrote."""
        ...

    def append(self, letters: Sequence[DeadLetter], at: int) -> int:
        """Add letters behind those that reach to `at`, and return how far they reach now."""
        ...


class DeadLetterFile:
    """An append-only file whose valid length the store knows, as the offset of `partition`.

    A file elsewhere than where a store keeps its own goes by its path, so that a store
    that wrote to one file does not take its length for that of another.
    """

    def __init__(self, path: Path, partition: str = "") -> None:
        self.path = path
        self.partition = partition or f"{PARTITION}:{path.resolve()}"

    @classmethod
    def beside(cls, store: Path, stream: str) -> DeadLetterFile:
        """Return the file that a store's directory keeps for a stream."""
        return cls(store / "dead_letters" / f"{stream}.jsonl", PARTITION)

    def check_new(self) -> None:
        """Raise ValueError where a file that the store never wrote to already holds letters."""
        if self.path.exists() and self.path.stat().st_size:
            raise ValueError(
                f"the dead letters {str(self.path)!r} are not empty and this store never wrote to them, "
                "needs a file of its own: name another or move this one away"
            )

    def append(self, letters: Sequence[DeadLetter], at: int) -> int:
        """Write letters at byte `at`, dropping what an interrupted batch left behind it; return the new length.

        A file that was taken away, or cut shorter, is continued at its end.
        """
        if not letters and not self.path.exists():
            return at
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            at = min(at, file.seek(0, os.SEEK_END))
            file.truncate(at)
            file.seek(at)
            file.write(b"".join(map(_line, letters)))
            file.flush()
            if letters:
                os.fsync(file.fileno())
            return file.tell()

    def read(self) -> list[DeadLetter]:
        """Return every letter in the file."""
        if not self.path.exists():
            return []
        return [_letter(orjson.loads(line)) for line in self.path.read_bytes().splitlines()]


def _line(letter: DeadLetter) -> bytes:
    row: dict[str, Any] = {"partition": letter.partition, "offset": letter.offset, "reason": letter.reason}
    try:
        row["text"] = letter.event.decode("utf-8")
    except UnicodeDecodeError:
        row["base64"] = base64.b64encode(letter.event).decode()
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)


def _letter(row: dict[str, Any]) -> DeadLetter:
    event = row["text"].encode() if "text" in row else base64.b64decode(row["base64"])
    return DeadLetter(row["partition"], row["offset"], row["reason"], event)
