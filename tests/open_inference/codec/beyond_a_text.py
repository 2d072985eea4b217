"""Reads bodies that end anywhere, each before several paddings; NUMBA_BOUNDSCHECK=1 ends what looks further."""

from __future__ import annotations

import random
from itertools import product
from typing import Any

import numpy as np

from headrace.open_inference.codec.json_loops import read_lists
from headrace.open_inference.codec.json_numbers import PADDING
from tests.open_inference.codec.json_bodies import READ, STRANGE, VALID, filled

PADDINGS = [part[:PADDING].ljust(PADDING) for part in (b"", b"]" * 8, b"1" * 8, b"[" * 8, b'"data":[1', b"\n,1,1,1]")]
PARTS = [
    b'"data":',
    b"[",
    b"]",
    b",",
    b'"',
    b"1,1,1,1",
    b"null",
    b"nul",
    b"[1,2]",
    b"   ",
    b"e5",
    b".",
    b"-",
    b"0",
    b"1e",
]
SHORT = [b"[", b"]", b",", b"1", b" ", b"n", b"-", b"e", b"."]


def read(text: bytes, padding: bytes) -> Any:
    """Return what the loop says of a text before a padding, and the numbers it wrote."""
    words, found = np.empty(len(text) // 2, np.int64), np.empty((256, 5), np.int64)
    count = read_lists(np.frombuffer(text + padding, np.uint8).copy(), words, words.view(np.float64), found)
    lists = found[:count].tolist()
    return lists, words[: sum(one[3] for one in lists)].tobytes()


def texts(chance: random.Random) -> Any:
    """Yield short texts that begin a list, and longer ones that are cut and filled anywhere."""
    for size in range(5):
        yield from (b'{"data":[' + b"".join(parts) for parts in product(SHORT, repeat=size))
    whole = [*VALID, *READ.values(), *(text for text in map(filled, STRANGE.values()) if len(text) < 2000)]
    for _ in range(20_000):
        text = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(text) + 1)
            end = chance.choice((at, at + 1, at + 5, len(text)))
            text[at:end] = chance.choice((b"", chance.choice(PARTS)))
        yield bytes(text)


def main() -> None:
    """Say that all were read alike."""
    for text in texts(random.Random(11)):
        expected = read(text, PADDINGS[0])
        for padding in PADDINGS[1:]:
            assert read(text, padding) == expected, (text, padding)
    print("alike")


if __name__ == "__main__":
    main()
