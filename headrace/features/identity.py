"""What makes two declarations the same: hashes of values and of functions.

A function is known by its syntax tree, so that formatting, comments and docstrings
do not change it, together with the functions and constants it refers to.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

_UNSEEN = frozenset({"ctx", "type_comment", "kind", "type_params", "returns", "annotation", "decorator_list"})


def digest(value: Any) -> str:
    """Return the sha256, in hex, of a value made of plain Python data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def function_identity(function: Callable[..., Any]) -> str:
    """Return a hash of a function's meaning: its syntax tree and what it refers to.

    Raises ValueError where the source cannot be read, as for a function typed at a prompt.
    """
    seen: dict[str, Any] = {}
    _collect(inspect.unwrap(function), seen)
    return digest(seen)


def _collect(function: Any, seen: dict[str, Any]) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if name in seen:
        return
    if not isinstance(function, FunctionType):
        seen[name] = "builtin"
        return
    seen[name] = _shape(_tree(function))
    for used in sorted(_names(function.__code__)):
        value = function.__globals__.get(used)
        if isinstance(value, (bool, int, float, str)):
            seen[f"{name}:{used}"] = repr(value)
        elif isinstance(value, FunctionType) and not isinstance(value, ModuleType):
            _collect(value, seen)
    for used, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        seen[f"{name}:{used}"] = repr(cell.cell_contents)


def _names(code: Any) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if inspect.iscode(constant))
    return set(code.co_names).union(*inner)


def _tree(function: FunctionType) -> ast.AST:
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except OSError as gone:
        raise ValueError(
            f"the source of {function.__qualname__!r} cannot be read, a fingerprint needs it: define it in a file"
        ) from gone
    try:
        tree: ast.AST = ast.parse(source)
    except SyntaxError:  # a lambda in the middle of an expression: its own bytecode stands for it
        return ast.Constant(value=_code_text(function.__code__))
    lambdas = [node for node in ast.walk(tree) if isinstance(node, ast.Lambda)]
    if function.__name__ == "<lambda>":
        return lambdas[0] if len(lambdas) == 1 else ast.Constant(value=_code_text(function.__code__))
    return next(node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def _code_text(code: Any) -> str:
    constants = [repr(constant) for constant in code.co_consts if not inspect.iscode(constant)]
    return "|".join([code.co_code.hex(), *constants, *code.co_names, *code.co_varnames])


def _shape(node: Any) -> Any:
    if isinstance(node, ast.AST):
        fields = {name: _shape(value) for name, value in ast.iter_fields(_undocumented(node)) if name not in _UNSEEN}
        return [type(node).__name__, {name: value for name, value in fields.items() if value not in (None, [])}]
    if isinstance(node, list):
        return [_shape(item) for item in node]
    return repr(node)


def _undocumented(node: ast.AST) -> ast.AST:
    if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
        bare = ast.FunctionDef(**dict(ast.iter_fields(node)))
        bare.body = node.body[1:]
        return bare
    return node
