"""How loops become machine code: by Numba, those over arrays when their module is first imported."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np

from headrace import kept_loops

#: Every module that has loops over arrays.
MODULES = (
    "headrace.features.kernels",
    "headrace.features.merging",
    "headrace.open_inference.codec.json_loops",
    "headrace.stores.packed_kernels",
    "headrace.stores.packed_reading",
)
#: Where loops that were made ahead are taken from, if any were.
KEPT = kept_loops.use(numba.config, os.environ)

#: What a loop reads: arrays of any layout, which it must not write to.
LONGS, DOUBLES, FLOATS = (
    numba.types.Array(of, 1, "A", readonly=True) for of in (numba.int64, numba.float64, numba.float32)
)
#: Rows of words, one after another, which it must not write to.
ROWS = numba.types.Array(numba.int64, 1, "C", readonly=True)
#: Records as words, one after another, which it must not write to.
WORDS = numba.types.Array(numba.int64, 2, "C", readonly=True)
#: A text's bytes, which it must not write to.
TEXT = numba.types.Array(numba.uint8, 1, "C", readonly=True)
#: What a loop writes.
OUT_LONGS, OUT_DOUBLES, OUT_BOOLS = numba.int64[::1], numba.float64[::1], numba.bool_[::1]
OUT_WORDS, OUT_TABLE, OUT_FLOATS = numba.int64[:, ::1], numba.float64[:, ::1], numba.float32[:, :]
LONG, DOUBLE, BOOL = numba.int64, numba.float64, numba.bool_


def compiled(*arguments: Any, returns: Any = numba.void) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a loop for arguments of these types; without any, for those that other loops call it with.

    The result is kept on disk where there is a place for it. Arithmetic is IEEE's, in the order in which it is written.
    """
    signature = returns(*arguments) if arguments else None

    def compile_(loop: Callable[..., Any]) -> Callable[..., Any]:
        _name_by_what_it_holds(loop, arguments)
        try:
            return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(loop)
        except RuntimeError:  # there is no such place: a read-only root without a home
            return numba.njit(signature, nogil=True, error_model="numpy")(loop)

    return compile_


def _name_by_what_it_holds(loop: Callable[..., Any], arguments: tuple[Any, ...] = ()) -> None:
    """Give a loop another name wherever something that is compiled into it from other files has changed.

    That is the loops it calls, constants, and the order of the fields of tuples. What is kept on disk is kept by the
    loop's name, and Numba looks for changes in the loop's own file alone.
    """
    known = {name: loop.__globals__.get(name) for name in loop.__code__.co_names}
    held = {f"{name} {value!r}" for name, value in known.items() if isinstance(value, _PLAIN)}
    held |= {f"{kind} {kind.fields}" for kind in arguments if isinstance(kind, numba.types.NamedTuple)}
    for value in known.values():
        called: Any = getattr(value, "py_func", None)
        if called in _HELD:
            held |= _HELD[called] | {_text_of(called.__code__.co_filename)}
        held |= {f"{value} {fields}"} if (fields := getattr(value, "_fields", None)) else set()
    _HELD[loop] = held
    if held:
        loop.__qualname__ += "_" + sha256("\n".join(sorted(held)).encode()).hexdigest()[:12]


@cache
def _text_of(file: str) -> str:
    return sha256(Path(file).read_bytes()).hexdigest() if Path(file).is_file() else ""


_PLAIN = (int, float, str, bytes, tuple, np.generic)
_NEW = 10_000  # objects that are looked through at once, in a millisecond at most
_HELD: dict[Any, set[str]] = {}  # of each loop, what it holds that can change elsewhere


def inlined(step: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function part of each loop that calls it, whatever its size, for the types it is called with."""
    _name_by_what_it_holds(step)
    return numba.njit(step, error_model="numpy", forceinline=True)


def vectorised(function: Callable[..., Any], arity: int) -> Callable[..., Any]:
    """Compile a function of so many numbers as a loop over float64 arrays; TypeError says why one cannot be.

    It is one of NumPy's own: Numba's wrapper around that takes longer than a loop over one row.
    """
    kind = numba.float64(*[numba.float64] * arity)
    try:
        return _ufunc(numba.vectorize([kind], nopython=True, cache=True)(function))
    except RuntimeError:  # see compiled
        return _ufunc(numba.vectorize([kind], nopython=True)(function))
    except numba.errors.NumbaError as wrong:
        raise TypeError(str(wrong)) from wrong


def _ufunc(loop: Any) -> Callable[..., Any]:
    return cast(Callable[..., Any], loop.ufunc)


def load(*modules: str) -> None:
    """Import modules of loops now, and not when one is first needed: it takes half a second, or seconds once.

    What is loaded by then is left out of garbage collection: a look at all of it stops a process for 60 ms. And what
    is new is looked through less often: a read of 500 keys makes 2000 views, none of which is garbage.
    """
    for name in modules:
        import_module(name)
    gc.collect()  # what is garbage by now would never be freed
    gc.freeze()
    gc.set_threshold(_NEW, *gc.get_threshold()[1:])


def compile_all() -> None:
    """Make machine code of every loop of this package, unless it is kept on disk already."""
    load(*MODULES)


def tuple_of(kind: type, *fields: Any) -> Any:
    """Return the type of a NamedTuple whose fields are of these types."""
    return numba.types.NamedTuple(fields, kind)
