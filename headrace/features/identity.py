"""What makes two declarations the same: hashes of values and of functions.

A function is known by its syntax tree, so that formatting, comments, docstrings and the
file it lies in do not change it, together with the functions, constants and defaults it
refers to. NumPy and the standard library are known by name only. What cannot be hashed is
refused: a fingerprint that does not see a change is worse than none.
"""

from __future__ import annotations

import ast
import builtins
import dis
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

_UNSEEN = frozenset({"ctx", "type_comment", "kind", "type_params", "returns", "annotation", "decorator_list"})
_FOREIGN = sys.stdlib_module_names | {"numpy"}


def digest(value: Any) -> str:
    """Return the sha256, in hex, of a value made of plain Python data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def function_identity(function: Callable[..., Any]) -> str:
    """Return a hash of a function's meaning: its syntax tree and what it refers to.

    Raises ValueError where the source cannot be read, as for a function typed at a prompt,
    and where it refers to something that has no meaning of its own to hash.
    """
    return digest(_meaning(function, {}, "the function itself"))


def _meaning(value: Any, met: dict[int, int], where: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return [type(value).__name__, *(_meaning(item, met, where) for item in value)]
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted(digest(_meaning(item, met, where)) for item in value)]
    if isinstance(value, dict):
        return ["dict", *([_meaning(key, met, where), _meaning(item, met, where)] for key, item in value.items())]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind != "O":
        return ["array", value.dtype.str, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, functools.partial):
        return ["partial", *(_meaning(part, met, where) for part in (value.func, value.args, value.keywords))]
    if isinstance(value, ModuleType):
        return ["module", value.__name__]
    if isinstance(value, FunctionType) and not is_foreign(value.__module__):
        return _of_function(value, met)
    if isinstance(getattr(value, "identity", None), str):  # an on-demand feature, called by another one
        return value.identity
    if isinstance(value, type) or (callable(value) and is_foreign(_home(value))):
        return ["named", f"{_home(value)}.{value.__qualname__}"]
    raise ValueError(
        f"{where} is a {type(value).__name__}, which a fingerprint cannot see into: "
        "needs a function, a number, text, an array, or a tuple of these"
    )


def _of_function(function: FunctionType, met: dict[int, int]) -> Any:
    if id(function) in met:
        return ["again", met[id(function)]]
    met[id(function)] = len(met)
    node = node_of(function)
    said = f"in function {function.__qualname__!r},"
    uses = {name: _meaning(value, met, f"{said} {name!r}") for name, value in uses_of(function, node)}
    defaults = [function.__defaults__, function.__kwdefaults__]
    return [_shape(node), uses, _meaning(defaults, met, f"{said} a default")]


def uses_of(function: FunctionType, node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield what a function reads from outside itself: globals, attributes of our own modules, closed-over values."""
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__:
            yield name, function.__globals__[name]
        elif name != function.__name__ and not hasattr(builtins, name):
            raise ValueError(f"function {function.__qualname__!r} refers to {name!r}, which is not defined before it")
    for attribute in (part for part in ast.walk(node) if isinstance(part, ast.Attribute)):
        owner = _resolve(attribute.value, function)
        if isinstance(owner, ModuleType) and not is_foreign(owner.__name__) and hasattr(owner, attribute.attr):
            yield ast.unparse(attribute), getattr(owner, attribute.attr)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        yield name, cell.cell_contents


def _resolve(node: ast.expr, function: FunctionType) -> Any:
    if isinstance(node, ast.Name):
        return function.__globals__.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _resolve(node.value, function)
        return getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
    return None


def _global_names(code: CodeType) -> set[str]:
    own = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    inner = (_global_names(constant) for constant in code.co_consts if inspect.iscode(constant))
    return own.union(*inner)


def _home(value: Any) -> str:
    return getattr(value, "__module__", None) or ("numpy" if isinstance(value, np.ufunc) else "builtins")


def is_foreign(module: str) -> bool:
    """Tell whether a module is known by name only: the standard library's and NumPy's."""
    return module.partition(".")[0] in _FOREIGN


def node_of(function: FunctionType) -> ast.AST:
    """Return a function's own node, of the file it was read from; ValueError where there is none."""
    code = function.__code__
    try:
        tree = ast.parse("".join(inspect.findsource(function)[0]))
    except (OSError, SyntaxError):
        tree = ast.Module(body=[], type_ignores=[])
    for node in ast.walk(tree):
        if _is_of(node, code):
            return node
    raise ValueError(
        f"the source of {function.__qualname__!r} cannot be read, a fingerprint needs it: define it in a file"
    )


def _is_of(node: ast.AST, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        body = node.body
        place = (body.lineno, body.end_lineno, body.col_offset, body.end_col_offset)
        return code.co_name == "<lambda>" and place in set(code.co_positions())
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return code.co_name == node.name and code.co_firstlineno == first
    return False


def _shape(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if name not in _UNSEEN}
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node) is not None:
            fields["body"] = node.body[1:]
        return [type(node).__name__, {name: _shape(value) for name, value in fields.items() if value not in (None, [])}]
    if isinstance(node, list):
        return [_shape(item) for item in node]
    return repr(node)
