"""How an elementwise function becomes a loop over arrays; Numba compiles it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from headrace.compiled import inlined, vectorised
from headrace.features.identity import function_identity
from headrace.features.on_demand import is_elementwise


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
    try:
        return vectorised(written, arity)
    except TypeError as wrong:
        raise TypeError(
            f"function {function.__qualname__!r} is declared elementwise and has no loop: {wrong}"
        ) from wrong


def _either(condition: Any, one: Any, other: Any) -> Any:
    return one if condition else other


def _of_numbers() -> ModuleType:
    """Return NumPy for functions of single numbers: of those, Numba's own `where` makes arrays, sixty times as slow."""
    module = ModuleType("numpy")
    vars(module).update(vars(np), where=inlined(_either))
    return module


_NUMPY, _NUMPY_ID = _of_numbers(), function_identity(_either)[:8]


def _written(function: Any) -> Any:
    # The compiled form is kept by the function's name. With its identity in it, a form that was compiled with another
    # helper or constant is not taken for this one.
    known = function.__globals__
    used = [name for name in function.__code__.co_names if is_elementwise(known.get(name))]
    called = {name: inlined(_written(known[name])) for name in used}
    called |= {name: _NUMPY for name in function.__code__.co_names if known.get(name) is np}
    written = FunctionType(
        function.__code__, known | called, function.__name__, function.__defaults__, function.__closure__
    )
    written.__qualname__ = f"{function.__qualname__}_{_NUMPY_ID}_{function_identity(function)[:16]}"
    written.__module__ = function.__module__
    return written
