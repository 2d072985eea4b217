"""How a loop over arrays becomes machine code: by Numba, when its module is first imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

#: What a loop reads: arrays of any layout, which it must not write to.
LONGS, DOUBLES = (numba.types.Array(of, 1, "A", readonly=True) for of in (numba.int64, numba.float64))
#: Records as words, one after another, which it must not write to.
WORDS = numba.types.Array(numba.int64, 2, "C", readonly=True)
#: What a loop writes.
OUT_LONGS, OUT_DOUBLES, OUT_BOOLS = numba.int64[::1], numba.float64[::1], numba.bool_[::1]
OUT_WORDS, OUT_TABLE = numba.int64[:, ::1], numba.float64[:, ::1]
LONG = numba.int64


def compiled(*arguments: Any, returns: Any = numba.void) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a loop for arguments of these types; without any, for those that other loops call it with.

    The result is kept on disk where there is a place for it. Arithmetic is IEEE's, in the order in which it is written.
    """
    signature = returns(*arguments) if arguments else None

    def compile_(loop: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(loop)
        except RuntimeError:  # there is no such place: a read-only root without a home
            return numba.njit(signature, nogil=True, error_model="numpy")(loop)

    return compile_


def tuple_of(kind: type, *fields: Any) -> Any:
    """Return the type of a NamedTuple whose fields are of these types."""
    return numba.types.NamedTuple(fields, kind)
