"""The project's own source, as the tests of its shape read it: syntax trees, never imported."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("headrace", "feature_pipelines", "transformer", "predictor", "monitoring", "applications")


def files(*folders: str) -> list[Path]:
    """Return the Python files below these folders, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Return a file's path from the root, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    """Return a file's dotted module name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(), filename=name_of(path))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything a file imports, wherever in the file it does."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = ".".join(package.split(".")[: len(package.split(".")) + 1 - node.level]) if node.level else ""
            module = ".".join(filter(None, (parent, node.module)))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_ours(name: str) -> bool:
    """Tell whether a dotted name belongs to the project."""
    return name.partition(".")[0] in (*PACKAGES, "tests", "benchmarks")


def third_parties(path: Path) -> set[str]:
    """Return the top-level names of the third parties a file imports."""
    tops = {name.partition(".")[0] for name in imports(path)}
    return {top for top in tops if not is_ours(top) and top not in sys.stdlib_module_names}
