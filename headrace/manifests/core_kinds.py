"""Objects of Kubernetes' own kinds, and every object's metadata, against Kubernetes' published schemas.

The schemas come with the package kubernetes-validate, so no cluster is asked; unknown fields are mistakes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import referencing
from kubernetes_validate import utils

from headrace.manifests.documents import Object
from headrace.manifests.schemas import Fault, errors

_WORD, _GROUP = re.compile(r"[A-Za-z0-9]+"), re.compile(r"[a-z0-9.-]*")


@cache
def version() -> str:
    """Return the newest version of Kubernetes that there are schemas of."""
    newest: str = utils.latest_version()
    return newest


def knows(owner: Object) -> bool:
    """Tell whether an object is of one of Kubernetes' own kinds."""
    return _schema(str(owner.get("apiVersion")), str(owner.get("kind"))) is not None


def faults(owner: Object) -> Iterator[Fault]:
    """Yield what is wrong with an object of one of Kubernetes' own kinds."""
    if schema := _schema(str(owner.get("apiVersion")), str(owner.get("kind"))):
        yield from errors(schema, owner, _registry())


def metadata_faults(owner: Object) -> Iterator[Fault]:
    """Yield what is wrong with the metadata of an object of whatever kind."""
    for path, found in errors(_contents("objectmeta-meta-v1"), owner.get("metadata", {}), _registry()):
        yield f"metadata.{path}".rstrip("."), found


@cache
def _schema(api_version: str, kind: str) -> dict[str, Any] | None:
    group, _, version_of_it = api_version.rpartition("/")
    if not (_WORD.fullmatch(kind) and _WORD.fullmatch(version_of_it) and _GROUP.fullmatch(group)):
        return None  # they become the name of a file
    # Files are named by the group's first word, and one may be of part of a kind: the schema says what it is of.
    try:
        found = _contents("-".join(filter(None, (kind.lower(), group.partition(".")[0], version_of_it))))
    except FileNotFoundError:
        return None
    own = {"group": group, "kind": kind, "version": version_of_it}
    return found if own in found.get("x-kubernetes-group-version-kind", ()) else None


@cache
def _registry() -> Any:
    return referencing.Resource.from_contents(_contents("_definitions")) @ referencing.Registry()


def _contents(name: str) -> dict[str, Any]:
    newest = version()
    found: dict[str, Any] = utils.schema_contents(f"kubernetes-json-schema/v{newest}-local-strict/{name}.json", newest)
    return found
