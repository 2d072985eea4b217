"""How loops become machine code: by Numba, those over arrays when their module is first imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from types import FunctionType, ModuleType
from typing import Any, cast

import numba
import numpy as np

from headrace.features.identity import function_identity
from headrace.features.on_demand import is_elementwise

#: What a loop reads: arrays of any layout, which it must not write to.
LONGS, DOUBLES, FLOATS = (
    numba.types.Array(of, 1, "A", readonly=True) for of in (numba.int64, numba.float64, numba.float32)
)
#: Rows of words, one after another, which it must not write to.
ROWS = numba.types.Array(numba.int64, 1, "C", readonly=True)
#: Records as words, one after another, which it must not write to.
WORDS = numba.types.Array(numba.int64, 2, "C", readonly=True)
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
        try:
            return numba.njit(signature, nogil=True, error_model="numpy", cache=True)(loop)
        except RuntimeError:  # there is no such place: a read-only root without a home
            return numba.njit(signature, nogil=True, error_model="numpy")(loop)

    return compile_


def tuple_of(kind: type, *fields: Any) -> Any:
    """Return the type of a NamedTuple whose fields are of these types."""
    return numba.types.NamedTuple(fields, kind)


@cache
def loop_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an elementwise function as a loop over float64 arrays, one per argument, that gives float64; others as
    they are.

    What the function calls is compiled with it where it is elementwise too. Raises TypeError, with Numba's reason,
    for a function that has no loop.
    """
    if not is_elementwise(function):
        return function
    written, arity = _written(function), len(signature(function).parameters)
    kind = numba.float64(*[numba.float64] * arity)
    try:
        return _ufunc(numba.vectorize([kind], nopython=True, cache=True)(written))
    except RuntimeError:  # see compiled
        return _ufunc(numba.vectorize([kind], nopython=True)(written))
    except numba.errors.NumbaError as wrong:
        raise TypeError(
            f"function {function.__qualname__!r} is declared elementwise and has no loop: {wrong}"
        ) from wrong


def _ufunc(loop: Any) -> Callable[..., Any]:
    # NumPy's own: Numba's wrapper around it takes twice as long as the loop over one row.
    return cast(Callable[..., Any], loop.ufunc)


@numba.njit(error_model="numpy")
def _either(condition: Any, one: Any, other: Any) -> Any:
    return one if condition else other


def _of_numbers() -> ModuleType:
    """Return NumPy for functions of single numbers: of those, Numba's own `where` makes arrays, sixty times as slow."""
    module = ModuleType("numpy")
    vars(module).update(vars(np), where=_either)
    return module


_NUMPY = _of_numbers()


def _written(function: Any) -> Any:
    # The compiled form is kept by the function's name. With its identity in it, a form that was compiled with another
    # helper or constant is not taken for this one.
    known = function.__globals__
    used = [name for name in function.__code__.co_names if is_elementwise(known.get(name))]
    called = {name: numba.njit(_written(known[name]), error_model="numpy") for name in used}
    called |= {name: _NUMPY for name in function.__code__.co_names if known.get(name) is np}
    written = FunctionType(
        function.__code__, known | called, function.__name__, function.__defaults__, function.__closure__
    )
    written.__qualname__ = f"{function.__qualname__}_of_numbers_{function_identity(function)[:16]}"
    written.__module__ = function.__module__
    return written
