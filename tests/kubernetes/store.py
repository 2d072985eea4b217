"""The objects that the server holds, their versions, and everybody who watches them.

All of it belongs to the server's loop; nothing else may touch it while the server runs.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from tests.kubernetes.fields import Owners, managed_fields, merged, took
from tests.kubernetes.kinds import KINDS, Kind

Object = dict[str, Any]
Key = tuple[str, str, str]  # resource, namespace or "", name
_KEPT_CHANGES = 2000
_GIVEN = ("uid", "creationTimestamp", "generation", "resourceVersion")


class Change:
    """One change as a watch tells it: ADDED, MODIFIED or DELETED, and the object after it."""

    def __init__(self, version: int, word: str, key: Key, of: Object) -> None:
        self.version, self.word, self.key, self.object = version, word, key, of


class Store:
    """Objects by resource, namespace and name. `written` is called with each object after its specification changed."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self.owners: dict[Key, Owners] = {}
        self.version = 100
        self.changes: deque[Change] = deque(maxlen=_KEPT_CHANGES)
        self.watchers: set[asyncio.Queue[Change | None]] = set()
        self.written: Callable[[Key, Object], None] = lambda key, of: None
        self._made = 0

    def get(self, plural: str, name: str, namespace: str = "") -> Object | None:
        """Return an object as it is held."""
        return self.objects.get((plural, namespace, name))

    def of(self, plural: str, namespace: str | None = None) -> Iterator[Object]:
        """Yield the objects of a resource, by name."""
        for key in sorted(self.objects):
            if key[0] == plural and (namespace is None or key[1] == namespace):
                yield self.objects[key]

    def apply(
        self, kind: Kind, key: Key, wanted: Object, manager: str, *, force: bool, dry_run: bool
    ) -> tuple[Object, bool]:
        """Apply an object; return it as it is then and whether it is new. Raises fields.Conflicts."""
        live = self.objects.get(key)
        owners = deepcopy(self.owners.get(key, {}))
        made = merged(live or {}, owners, wanted, manager, force)
        return self._stored(kind, key, made, owners, dry_run), live is None

    def update(self, kind: Kind, key: Key, made: Object, manager: str, *, dry_run: bool = False) -> Object:
        """Put an object in place of another or of none, by another manager's hand."""
        owners = deepcopy(self.owners.get(key, {}))
        took(owners, self.objects.get(key, {}), made, manager)
        return self._stored(kind, key, made, owners, dry_run)

    def status(self, key: Key, status: Object) -> None:
        """Replace an object's status; its controllers are not told."""
        if (held := self.objects.get(key)) is not None and held.get("status") != status:
            self._put(key, {**held, "status": deepcopy(status)}, "MODIFIED")

    def delete(self, key: Key) -> Object | None:
        """Delete an object and what it owns."""
        gone = self.objects.pop(key, None)
        if gone is None:
            return None
        self.owners.pop(key, None)
        self._tell("DELETED", key, gone)
        for other, of in list(self.objects.items()):
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in of["metadata"].get("ownerReferences") or ()):
                self.delete(other)
        return gone

    def _stored(self, kind: Kind, key: Key, made: Object, owners: Owners, dry_run: bool) -> Object:
        before = self.objects.get(key)
        made = {**made, "apiVersion": kind.api_version, "kind": kind.kind}
        _default(made)
        metadata = made["metadata"] = {**made.get("metadata", {}), "name": key[2]}
        if key[1]:
            metadata["namespace"] = key[1]
        if before is not None:  # what the server gave an object stays
            metadata |= {name: before["metadata"][name] for name in _GIVEN}
            made = {"status": before["status"], **made} if "status" in before else made
        metadata["managedFields"] = managed_fields(owners, kind.api_version)
        changed = before is None or before.get("spec") != made.get("spec")
        if before is None:
            self._made += 1
            metadata |= {"uid": f"uid-{self._made}", "creationTimestamp": stamp(), "generation": 1}
        elif changed:
            metadata["generation"] += 1
        if dry_run or made == before:
            return made
        self.owners[key] = owners
        self._put(key, made, "ADDED" if before is None else "MODIFIED")
        if changed:
            self.written(key, self.objects[key])
        return self.objects[key]

    def _put(self, key: Key, of: Object, word: str) -> None:
        held = {**of, "metadata": {**of["metadata"], "resourceVersion": str(self.version + 1)}}
        self.objects[key] = held
        self._tell(word, key, held)

    def _tell(self, word: str, key: Key, of: Object) -> None:
        self.version += 1
        change = Change(self.version, word, key, deepcopy(of))
        change.object["metadata"]["resourceVersion"] = str(self.version)
        self.changes.append(change)
        for queue in self.watchers:
            queue.put_nowait(change)


def kind_named(kind: str) -> Kind:
    """Return a kind by its name."""
    return next(each for each in KINDS if each.kind == kind)


def stamp() -> str:
    """Return now as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _default(of: Object) -> None:
    if of["kind"] == "Deployment":
        of["spec"].setdefault("progressDeadlineSeconds", 600)
        of["spec"].setdefault("replicas", 1)
    if of["kind"] == "Secret" and "stringData" in of:  # it is written only, never read
        said = {name: b64encode(value.encode()).decode() for name, value in of.pop("stringData").items()}
        of["data"] = {**(of.get("data") or {}), **said}
