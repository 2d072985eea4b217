"""What our manifests say that an older server does not know yet, put in the words of its time.

Only these few things are judged by other words than they are written in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple

from tests.kubernetes.store import Object

Change = Callable[[Object], None]


class Younger(NamedTuple):
    """Something that a server knows from version 1.`since` on: where it is said, and how to say it before."""

    name: str
    since: int
    said: Callable[[Object], bool]
    before: Change


def _budget(of: Object) -> None:
    of["apiVersion"] = "policy/v1beta1"


def _one_node(of: Object) -> None:
    of["accessModes"] = ["ReadWriteOnce"]


def _one_port(of: Object) -> None:
    del of["endPort"]


def _no_default(of: Object) -> None:
    del of["default"]


def _command(of: Object) -> None:
    of["preStop"] = {"exec": {"command": ["sleep", str(of["preStop"]["sleep"]["seconds"])]}}


YOUNGER = (
    Younger("PodDisruptionBudget of policy/v1", 21, lambda of: of.get("apiVersion") == "policy/v1", _budget),
    Younger("range of ports in a NetworkPolicy", 22, lambda of: "endPort" in of and "port" in of, _one_port),
    Younger("access mode ReadWriteOncePod", 22, lambda of: of.get("accessModes") == ["ReadWriteOncePod"], _one_node),
    Younger("an empty text as default", 23, lambda of: of.get("default") == "" and "type" in of, _no_default),
    Younger("lifecycle.preStop.sleep", 30, lambda of: list(of.get("preStop") or ()) == ["sleep"], _command),
)
#: Custom resources are held to their definitions, whatever the server's version.
_HELD_BY_THE_SERVER = (
    "CustomResourceDefinition",
    "Deployment",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
)


def for_server(of: Object, minor: int) -> tuple[Object, set[str]]:
    """Return an object as a server of version 1.`minor` knows it, and the names of what had to be said otherwise."""
    changed: set[str] = set()
    made = deepcopy(of)
    if of["kind"] in _HELD_BY_THE_SERVER:
        for part in _parts(made):
            for each in YOUNGER:
                if minor < each.since and each.said(part):
                    each.before(part)
                    changed.add(each.name)
    return made, changed


def _parts(of: Any) -> Iterator[Object]:
    if isinstance(of, dict):
        yield of
        for each in list(of.values()):
            yield from _parts(each)
    elif isinstance(of, list):
        for each in of:
            yield from _parts(each)
