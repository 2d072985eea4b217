"""The source of a function together with all it refers to, as one function that stands alone.

A function of Hopsworks travels as text and is run far from here, row by row, on single values: it
may import nothing of this project. Every helper, constant and import that a declared function uses
is gathered through its syntax tree and written into the body of the one function that is sent.
Single values come as numbers, None, datetimes (without a zone: UTC) or ISO 8601, and are read as
float64 with NaN for missing and instants as epoch milliseconds; what is missing is answered as None.
"""

from __future__ import annotations

import ast
import copy
import datetime as headrace_dates  # names that no argument of a function has
import math as headrace_math
import textwrap
from collections.abc import Callable
from types import CodeType, FunctionType, ModuleType
from typing import Any

from headrace.features.identity import is_foreign, node_of, uses_of
from headrace.features.on_demand import OnDemand
from headrace.hopsworks.declared import NotDeclarable


def headrace_number(value: Any) -> float:
    """Return a single value of a row as a float: NaN where missing, epoch milliseconds of an instant.

    >>> headrace_number(None), headrace_number(True), headrace_number("1970-01-01T00:00:01Z")
    (nan, 1.0, 1000.0)
    """
    if isinstance(value, (float, int)):
        return float(value)
    if value is None:
        return headrace_math.nan
    if isinstance(value, str):
        value = headrace_dates.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if hasattr(value, "tzinfo"):  # in the words of older Pythons, which clusters have
        utc = headrace_dates.UTC
        zoned = value if value.tzinfo is not None else value.replace(tzinfo=utc)
        return float(
            (zoned - headrace_dates.datetime(1970, 1, 1, tzinfo=utc)) // headrace_dates.timedelta(milliseconds=1)
        )
    return float(value)


def source_of(name: str, arguments: tuple[str, ...], compute: Callable[..., Any]) -> str:
    """Return Python source of `def name(*arguments)`, which computes one value from one row's.

    Raises NotDeclarable where `compute` refers to something that cannot be written down.

    >>> from headrace.features.comparisons import ratio
    >>> scope = {}
    >>> print(source_of("over", ("amount", "mean"), ratio).splitlines()[4])
    def over(amount, mean):
    """
    gathered = _Gathered(f"on-demand function {name!r}", arguments)
    read, numpy = gathered.function(headrace_number), gathered.imported("headrace_numpy", "numpy")
    called = gathered.function(compute)
    number, *others = gathered.parts.values()
    given = [f"headrace_{at}" for at in range(len(arguments))]
    body = [
        number,
        # Read first: a helper may have the name of an argument.
        *(f"{value} = {read}({argument})" for value, argument in zip(given, arguments, strict=True)),
        *others,
        f"with {numpy}.errstate(all='ignore'):",
        f"    headrace_value = float({called}({', '.join(given)}))",
        "return None if headrace_value != headrace_value else headrace_value",
    ]
    head = "".join(f"{line}\n" for line in gathered.imports.values())
    return f"{head}def {name}({', '.join(arguments)}):\n{textwrap.indent(chr(10).join(body), '    ')}\n"


class _Gathered:
    """Definitions by name, in the order in which they can be run, and imports, which are run once."""

    def __init__(self, said: str, arguments: tuple[str, ...]) -> None:
        self.parts: dict[str, str] = {}
        self.imports: dict[str, str] = {}
        self._said, self._arguments = said, arguments
        self._lambdas: dict[CodeType, str] = {}

    def function(self, of: Callable[..., Any]) -> str:
        if not isinstance(of, FunctionType):
            raise NotDeclarable(f"{self._said} is a {type(of).__name__}, Hopsworks needs a function of Python's own")
        name = of.__code__.co_name
        if name == "<lambda>":
            name = self._lambdas.setdefault(of.__code__, f"headrace_lambda_{len(self._lambdas)}")
        node = node_of(of)
        if self._put(self.parts, name, _written(name, node, of, self._said)):
            for used, value in uses_of(of, node):
                self._use(used, value)
        return name

    def imported(self, name: str, module: str, attribute: str = "") -> str:
        text = f"from {module} import {attribute} as {name}" if attribute else f"import {module} as {name}"
        # An argument of that name would hide an import that is not in the function's own body.
        self._put(self.parts if name in self._arguments else self.imports, name, text)
        return name

    def _put(self, among: dict[str, str], name: str, text: str) -> bool:
        known = self.parts.get(name, self.imports.get(name, text))
        if known != text:
            raise NotDeclarable(f"{self._said} uses two things named {name!r}, Hopsworks needs a name for each")
        new = name not in among
        among[name] = text
        return new

    def _use(self, name: str, value: Any) -> None:
        if isinstance(value, OnDemand):
            value = value.compute
        if isinstance(value, ModuleType) and is_foreign(value.__name__):
            self.imported(name, value.__name__)
        elif isinstance(value, FunctionType) and not is_foreign(value.__module__) and name.isidentifier():
            called = self.function(value)
            if called != name:
                self._put(self.parts, name, f"{name} = {called}")
        elif callable(value) and is_foreign(getattr(value, "__module__", None) or "numpy"):
            self.imported(name, getattr(value, "__module__", None) or "numpy", value.__qualname__)
        elif isinstance(value, ModuleType) or not name.isidentifier():
            raise NotDeclarable(
                f"{self._said} uses {name!r} of a whole module, Hopsworks needs it imported by its name"
            )
        else:
            self._put(self.parts, name, f"{name} = {_literal(name, value, self._said)}")


def _literal(name: str, value: Any, said: str) -> str:
    if isinstance(value, float) and not headrace_math.isfinite(value):
        return f"float({str(value)!r})"
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        inner = "".join(f"{_literal(name, item, said)}, " for item in value)
        return f"({inner})" if isinstance(value, tuple) else f"[{inner}]"
    raise NotDeclarable(
        f"{said} uses {name!r}, a {type(value).__name__}: Hopsworks needs functions, numbers, text and tuples of them"
    )


def _written(name: str, node: ast.AST, of: FunctionType, said: str) -> str:
    # Without docstrings, annotations and decorators, which mean nothing there; defaults as values.
    if isinstance(node, ast.Lambda):
        return f"{name} = {ast.unparse(node)}"
    kept = copy.deepcopy(node)
    for part in ast.walk(kept):
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            part.returns, part.decorator_list = None, []
            if ast.get_docstring(part) is not None:
                part.body = part.body[1:] or [ast.Pass()]
        elif isinstance(part, ast.arg):
            part.annotation = None
    if isinstance(kept, (ast.FunctionDef, ast.AsyncFunctionDef)):
        values = [_literal(name, value, said) for value in of.__defaults__ or ()]
        kept.args.defaults = [ast.parse(value, mode="eval").body for value in values]
        given = of.__kwdefaults__ or {}
        kept.args.kw_defaults = [
            ast.parse(_literal(name, given[arg.arg], said), mode="eval").body if arg.arg in given else None
            for arg in kept.args.kwonlyargs
        ]
    return ast.unparse(kept)
