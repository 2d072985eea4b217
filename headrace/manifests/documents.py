"""YAML documents and the objects in them, read as Kubernetes reads them.

An object is a dictionary with `apiVersion` and `kind`; a `List` is taken apart into its items. Instants stay text, keys
become text, and a key that is there twice is refused, where a plain YAML reader keeps the last one and says nothing.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import yaml

try:  # the one in C reads 30 times as fast, where PyYAML was built with it
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader

Object = dict[str, Any]
_SUFFIXES = (".yaml", ".yml", ".json")
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class DocumentsUnreadable(ValueError):
    """Text that is no YAML, or YAML that is no Kubernetes object; the text says where and why."""


class _Loader(SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} is there twice", node.start_mark)
        made: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return made if all(type(key) is str for key in made) else {_key(key): value for key, value in made.items()}


def read_yaml(text: str, name: str) -> list[Any]:
    """Return the documents of a text, empty ones left out; raises DocumentsUnreadable, which names the text."""
    try:
        return [document for document in yaml.load_all(text, _Loader) if document is not None]
    except yaml.YAMLError as wrong:
        raise DocumentsUnreadable(f"{name} cannot be read as YAML: {_one_line(wrong)}") from wrong


def objects_of(text: str, name: str) -> list[Object]:
    """Return the objects of a text; raises DocumentsUnreadable where a document is none."""
    return [each for document in read_yaml(text, name) for each in _flat(document, name)]


def read_objects(path: Path) -> list[Object]:
    """Return the objects of a file; raises DocumentsUnreadable."""
    try:
        return objects_of(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as wrong:
        raise DocumentsUnreadable(f"{path} cannot be read: {wrong}") from wrong


def yaml_files(folder: Path) -> list[Path]:
    """Return the YAML and JSON files below a folder, in order of their names."""
    return sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())


def write_yaml(objects: Iterable[Object]) -> str:
    """Return objects as the documents of one text, keys in the order they have."""
    return "---\n".join(yaml.safe_dump(each, sort_keys=False, width=120, allow_unicode=True) for each in objects)


def _key(key: Hashable) -> str:
    return json.dumps(key) if isinstance(key, bool) or key is None else str(key)


def _flat(document: Any, name: str) -> Iterator[Object]:
    if not (isinstance(document, dict) and isinstance(document.get("kind"), str) and document.get("apiVersion")):
        raise DocumentsUnreadable(f"{name} holds {_shown(document)}, needs objects with apiVersion and kind")
    if document["kind"] == "List" and document["apiVersion"] == "v1":
        for item in document.get("items") or ():
            yield from _flat(item, name)
    else:
        yield document


def _shown(document: Any) -> str:
    if isinstance(document, dict):
        return f"a mapping of {', '.join(map(str, list(document)[:4])) or 'nothing'}"
    return f"a {type(document).__name__}"


def _one_line(wrong: yaml.YAMLError) -> str:
    mark = getattr(wrong, "problem_mark", None)
    problem = getattr(wrong, "problem", None) or str(wrong).splitlines()[0]
    return f"{problem}, line {mark.line + 1}, column {mark.column + 1}" if mark else problem
