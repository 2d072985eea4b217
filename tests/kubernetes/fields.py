"""Server-side apply: who set which field, whose it stays, and what goes away with its last owner.

A field is a path of `f:name` and, in lists whose items have names, `k:{"name":...}`, as managed fields write them.
Other lists are one value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any

Path = tuple[str, ...]
Owners = dict[str, set[Path]]  # by manager
_IDENTITY = {("f:apiVersion",), ("f:kind",), ("f:metadata", "f:name"), ("f:metadata", "f:namespace")}


class Conflicts(Exception):
    """Fields that another manager set to another value."""

    def __init__(self, found: list[tuple[str, Path]]) -> None:
        super().__init__(f"{len(found)} conflicts")
        self.found = found


def fields(of: Mapping[str, Any]) -> dict[Path, Any]:
    """Return every field that an object sets, and its value; not what only says which object it is."""
    return {path: value for path, value in _leaves(of, ()) if path not in _IDENTITY}


def merged(
    live: dict[str, Any], owners: Owners, wanted: Mapping[str, Any], manager: str, force: bool
) -> dict[str, Any]:
    """Return an object after an apply and change its owners; raises Conflicts, with nothing changed."""
    held, asked = fields(live), fields(wanted)
    disputed = [
        (other, path)
        for other, theirs in owners.items()
        for path in sorted(theirs)
        if other != manager and path in asked and held.get(path) != asked[path]
    ]
    if disputed and not force:
        raise Conflicts(disputed)
    made = deepcopy(live)
    for other, path in disputed:
        owners[other].discard(path)
    others = {path for other, theirs in owners.items() if other != manager for path in theirs}
    gone = owners.get(manager, set()) - asked.keys() - others
    for path in sorted(gone, key=lambda each: (each[-1] == "f:name", -len(each))):  # an item is found by its name
        _remove(made, path)
    for path, value in asked.items():
        _put(made, path, value)
    owners[manager] = set(asked)
    for other in [name for name, theirs in owners.items() if not theirs]:
        del owners[other]
    return made


def took(owners: Owners, before: Mapping[str, Any], after: Mapping[str, Any], manager: str) -> None:
    """Make a manager the owner of what it changed by other means than apply."""
    was, now = fields(before), fields(after)
    changed = {path for path, value in now.items() if path not in was or was[path] != value}
    for theirs in owners.values():
        theirs -= changed | (was.keys() - now.keys())
    if changed:
        owners.setdefault(manager, set()).update(changed)


def managed_fields(owners: Owners, api_version: str) -> list[dict[str, Any]]:
    """Return the owners as an object's `managedFields` has them."""
    return [
        {
            "manager": manager,
            "operation": "Apply" if manager == "headrace" else "Update",
            "apiVersion": api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": _nested(paths),
        }
        for manager, paths in sorted(owners.items())
    ]


def text_of(path: Path) -> str:
    """Return a field as an error names it.

    >>> text_of(("f:spec", "f:containers", 'k:{"name":"a"}', "f:image"))
    '.spec.containers[name="a"].image'
    """
    return "".join(
        f".{step[2:]}" if step.startswith("f:") else f'[name="{json.loads(step[2:])["name"]}"]' for step in path
    )


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, f"f:{key}"))
    elif _named(value):
        for item in value:
            yield from _leaves(item, (*path, _key(item["name"])))
    else:
        yield path, value


def _named(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) and "name" in item for item in value)


def _key(name: str) -> str:
    return f"k:{json.dumps({'name': name}, separators=(',', ':'))}"


def _put(of: Any, path: Path, value: Any) -> None:
    for step, following in pairwise(path):
        of = _below(of, step, [] if following.startswith("k:") else {})
    last = path[-1]
    if last.startswith("f:"):
        of[last[2:]] = deepcopy(value)


def _below(of: Any, step: str, empty: Any) -> Any:
    if step.startswith("f:"):
        return (
            of.setdefault(step[2:], empty)
            if type(of.get(step[2:])) is type(empty)
            else of.update({step[2:]: empty}) or empty
        )
    name = json.loads(step[2:])["name"]
    found = next((item for item in of if item.get("name") == name), None)
    if found is None:
        found = {"name": name}
        of.append(found)
    return found


def _remove(of: Any, path: Path) -> None:
    step, rest = path[0], path[1:]
    if step.startswith("k:"):
        item = next((item for item in of if item.get("name") == json.loads(step[2:])["name"]), None)
        if item is not None:
            _remove(item, rest)
            if item.keys() <= {"name"}:
                of.remove(item)
    elif not rest:
        of.pop(step[2:], None)
    elif step[2:] in of:
        _remove(of[step[2:]], rest)
        if of[step[2:]] in ({}, []):
            del of[step[2:]]


def _nested(paths: set[Path]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for path in sorted(paths):
        at = made
        for step in path:
            at = at.setdefault(step, {})
    return made
