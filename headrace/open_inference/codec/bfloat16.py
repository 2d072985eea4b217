"""BF16, the upper half of an FP32: it travels as two bytes and is held as float32, which holds all of its values."""

from __future__ import annotations

import numpy as np

SIZE = 2


def widened(raw: memoryview | bytes) -> np.ndarray:
    """Return little-endian BF16 as float32, flat; exact.

    >>> widened(b"\\xc0\\x3f")
    array([1.5], dtype=float32)
    """
    return (np.frombuffer(raw, dtype="<u2").astype("<u4") << 16).view("<f4")


def narrowed(array: np.ndarray) -> np.ndarray:
    """Return float32 as the bits of the nearest BF16, uint16, ties to even; what is too large becomes infinity.

    >>> narrowed(np.array([1.5, 1e39], dtype="f8"))
    array([16320, 32640], dtype=uint16)
    """
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
    upper = (bits >> 16).astype("<u2")
    # A NaN whose marks are all in the lower half would be cut, or rounded, to infinity.
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    rounded = ((bits + 0x7FFF + (upper & 1)) >> 16).astype("<u2")
    return np.where(nan, upper | 0x40, rounded)
