"""A good set of objects, and mistakes planted in it one at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headrace.manifests.documents import Object, read_objects, read_yaml
from headrace.manifests.linting import Manifest, Report, lint
from headrace.manifests.objects import identity
from tests.manifests.definitions import crds

GOOD = Path(__file__).parent / "good.yaml"
MISTAKES = Path(__file__).parent / "mistakes.yaml"


@dataclass(frozen=True)
class Mistake:
    """A mistake to plant, the rule that finds it, at which place, and what it says."""

    rule: str
    place: str
    found: str
    changes: tuple[tuple[str, dict[str, Any]], ...]
    more: Object | None

    def planted(self) -> list[Object]:
        """Return the good set with the mistake in it."""
        objects = good() + ([self.more] if self.more else [])
        owners = [one(objects, name) for name, _ in self.changes]
        for owner, (_, changes) in zip(owners, self.changes, strict=True):
            plant(owner, changes)
        return objects


def mistakes() -> list[Mistake]:
    """Return all mistakes."""
    return [
        Mistake(
            each["rule"],
            f"{each.get('in', each['object'])} {each['at']}",
            each["found"],
            tuple((part["object"], part["change"]) for part in (each, each.get("also")) if part),
            each.get("more"),
        )
        for each in read_yaml(MISTAKES.read_text(), "mistakes")[0]
    ]


@cache
def _read() -> list[Object]:
    return read_objects(GOOD)


def good() -> list[Object]:
    """Return the good set, to be spoiled."""
    return copy.deepcopy(_read())


def one(objects: list[Object], name: str) -> Object:
    """Return the object of a name such as `Service/fraud`."""
    return next(each for each in objects if identity(each) == name)


def plant(owner: Any, changes: dict[str, Any]) -> None:
    """Put values at paths such as `spec/ports/0/name`, as mistakes.yaml says."""
    for path, value in changes.items():
        *parents, last = (part.replace("~1", "/") for part in path.split("/"))
        holder = owner
        for part, after in zip(parents, [*parents, last][1:], strict=True):
            made: Any = [] if after == "-" else {}
            holder = holder[int(part)] if isinstance(holder, list) else holder.setdefault(part, made)
        if isinstance(holder, list):
            at = len(holder) if last == "-" else int(last)
            holder[at : at + 1] = [] if value is None else [value]
        elif value is None:
            del holder[last]
        else:
            holder[last] = value


def checked(objects: list[Object]) -> Report:
    """Return what is found in objects, with KServe's definitions where they are to be had."""
    return lint(Manifest("planted", objects, {}), crds())
