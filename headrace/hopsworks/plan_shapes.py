"""Feature groups and views as they can be compared: what is declared and what a cluster has, in the same words.

What cannot be read off columns (tiles, windows, the meaning of a function) is in a fingerprint,
which is kept at the end of the description as `[headrace <application> <16 hex digits>]`: it is
the one place that survives in every version of Hopsworks and that everybody sees.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass

from headrace.features.identity import digest
from headrace.features.windows import WindowedGroup
from headrace.hopsworks.declared import Declared, FeatureGroup, NotDeclarable, View
from headrace.hopsworks.functions import Function, functions_of

_MARK = re.compile(r"\s*\[headrace (\S+) ([0-9a-f]{16})\]\s*$")


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column: its type and its type in the online store, in Hopsworks' own words."""

    type: str
    online_type: str = ""

    @property
    def room(self) -> int:
        """How many characters or bytes the online store keeps of it; 0 where its type has no length."""
        sized = re.fullmatch(r"var(?:char|binary)\((\d+)\)", self.online_type.lower())
        return int(sized[1]) if sized else 0


@dataclass(frozen=True, slots=True)
class GroupShape:
    """A feature group: its stored columns by name, its functions by the feature they give."""

    name: str
    version: int
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    event_time: str
    online: bool
    functions: Mapping[str, Function]
    description: str = ""

    @property
    def kind(self) -> str:
        """What it is called in messages."""
        return "feature group"


@dataclass(frozen=True, slots=True)
class ViewShape:
    """A feature view: its columns in the order of a vector, prefixes and labels included, and the groups it joins."""

    name: str
    version: int
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    description: str = ""

    @property
    def kind(self) -> str:
        """What it is called in messages."""
        return "feature view"


Shape = GroupShape | ViewShape


def group_shape(declared: Declared, group: FeatureGroup) -> GroupShape:
    """Return what a declared feature group is to be; raises NotDeclarable.

    Groups of records are online, and so is the root of the views, which the SDK serves only then.
    Other events are kept offline: nobody reads one by its id while a request waits.
    """
    online = isinstance(group.of, WindowedGroup) or group == declared.view.joins[0].group
    if online and not group.primary_key:
        raise NotDeclarable(
            f"stream {group.of.name!r} has no id, {group.name} is the root of the views and needs one for its key"
        )
    functions = {function.name: function for function in functions_of(group)}
    description = group.meaning
    if isinstance(group.of, WindowedGroup):
        meaning = [int(group.of.layout.fingerprint), [[f.name, list(f.inputs), f.identity] for f in group.on_demand]]
        description = marked(group.meaning, declared.application, digest(meaning)[:16])
    return GroupShape(
        group.name,
        group.version,
        {feature.name: Column(feature.type, feature.online_type) for feature in group.features},
        group.primary_key,
        group.event_time,
        online,
        functions,
        description,
    )


def view_shape(declared: Declared, view: View) -> ViewShape:
    """Return what a declared feature view is to be."""
    columns = tuple(f"{join.prefix}{column}" for join in view.joins for column in join.columns)
    groups = tuple(f"{join.group.name}_{join.group.version}" for join in view.joins)
    meaning = "What a model reads." if view == declared.view else "What Headrace reads: the records of each group."
    description = marked(meaning, declared.application, digest([columns, view.labels, groups])[:16])
    return ViewShape(view.name, view.version, columns, view.labels, groups, description)


def marked(meaning: str, application: str, fingerprint: str) -> str:
    """Return a description that ends with the fingerprint of what it describes.

    >>> mark_of(marked("How it was used.", "fraud", "0123456789abcdef"))
    ('fraud', '0123456789abcdef')
    """
    return f"{meaning} [headrace {application} {fingerprint}]".strip()


def mark_of(description: str | None) -> tuple[str, str]:
    """Return the application and the fingerprint at the end of a description; empty where there is none."""
    found = _MARK.search(description or "")
    return (found[1], found[2]) if found else ("", "")


def same_source(a: str, b: str) -> bool:
    """Tell whether two sources are one program, however they are written down.

    >>> same_source("def f(x):  # twice\\n  return x * 2", "def f(x):\\n    return (x * 2)\\n")
    True
    """
    try:
        return ast.dump(ast.parse(a)) == ast.dump(ast.parse(b))
    except (SyntaxError, ValueError):
        return a == b
