"""How many bytes of requests' bodies one process holds at once: being received, waiting, or being answered.

Each body is within its own limit, and there may be as many as connections. What they have in all is bounded here, so
that large uploads are refused and memory is not used up. Small bodies are always taken: they are not what uses it up.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headrace.open_inference.errors import Overloaded

FULL = "the bodies under way have as many bytes as are held at once, needs fewer: try later"
#: Bytes up to which a body is taken whatever is held.
SMALL = 64 << 10
#: How many of the largest bodies are held at once.
_LARGEST = 16


class BodiesHeld:
    """The bytes held, and how many may be: those of so many of the largest bodies.

    >>> held = BodiesHeld(1 << 20)
    >>> held.take(16 << 20)
    >>> held.full(100_000), held.full(100)
    (False, False)
    >>> held.take(1)
    >>> held.full(100_000), held.full(100)
    (True, False)
    """

    __slots__ = ("most", "size")

    def __init__(self, largest: int = 16 << 20) -> None:
        self.most, self.size = _LARGEST * largest, 0

    def take(self, size: int) -> None:
        """Count bytes that have come."""
        self.size += size

    def free(self, size: int) -> None:
        """Count bytes that are held no more."""
        self.size -= size

    def full(self, size: int) -> bool:
        """Tell whether too much is held for a body of so many bytes, which were counted, to be read on."""
        return self.size > self.most and size > SMALL

    @contextmanager
    def besides(self, size: int) -> Iterator[None]:
        """Hold what became of a body, as when it was compressed; Overloaded where there is no room for it."""
        self.size += size
        try:
            if self.full(size):
                raise Overloaded(FULL)
            yield
        finally:
            self.size -= size
