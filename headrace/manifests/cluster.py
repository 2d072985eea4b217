"""A cluster's objects: read, applied, deleted and listed, by their own names for things.

An object is applied by server-side apply under the field manager `headrace`: fields that we set before and do not set
now go away, fields that others set stay theirs, and fields that its schema does not know are refused. What a kind is
called in an address is asked of the cluster once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.manifests.cluster_faults import Absent, Asked, KindUnknown
from headrace.manifests.connecting import Connection
from headrace.manifests.documents import Object
from headrace.manifests.sets import MANAGER, Ref, ref_of

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """How the cluster addresses a kind of object."""

    group: str
    prefix: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """Return the address of one object, or of all of them."""
        below = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{below}/{self.plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True, slots=True)
class Applied:
    """An object as the cluster holds it after an apply, and what the cluster warned of."""

    object: Object
    created: bool
    warnings: tuple[str, ...]


class Cluster:
    """The objects of one cluster; `home` is the namespace of those that name none. Any call may raise ClusterError."""

    def __init__(self, connection: Connection, home: str | None = None) -> None:
        self.home = home or connection.namespace
        self._to = connection
        self._kinds: dict[tuple[str, str], Kind] = {}

    def __str__(self) -> str:
        return f"{self._to.context} ({self._to.host}), namespace {self.home}"

    def at_home(self, namespace: str) -> Cluster:
        """Return the same cluster with another namespace for objects that name none."""
        made = Cluster(self._to, namespace)
        made._kinds = self._kinds
        return made

    def kind(self, api_version: str, kind: str) -> Kind:
        """Return how a kind is addressed; raises KindUnknown where the cluster does not have it."""
        known = self._kinds.get((api_version, kind))
        if known is None:
            self._discover(api_version)
            known = self._kinds.get((api_version, kind))
        if known is None:
            raise KindUnknown(
                f"the cluster knows no {kind} of {api_version}: install what brings it (its CustomResourceDefinition), "
                "or leave the object out"
            )
        return known

    def resolved(self, ref: Ref) -> Ref:
        """Return which object it is with its namespace as the cluster has it: home where none is named."""
        namespaced = self.kind(ref.api_version, ref.kind).namespaced
        return Ref(ref.api_version, ref.kind, (ref.namespace or self.home) if namespaced else None, ref.name)

    def get(self, ref: Ref) -> Object | None:
        """Return an object, None where there is none."""
        try:
            return self._ask("get", "get", ref).object()
        except Absent:
            return None

    def apply(self, declared: Object, *, dry_run: bool = False, force: bool = False) -> Applied:
        """Make the cluster have an object; Conflict where fields of it are another manager's and force is not set."""
        answer = self._ask(
            "patch",
            "patch",
            ref_of(declared),
            body=declared,
            content_type="application/apply-patch+yaml",
            field_manager=MANAGER,
            force_conflicts="true" if force else None,
            dry_run="All" if dry_run else None,
            query_params=[("fieldValidation", "Strict")],
        )
        return Applied(answer.object(), answer.status == 201, answer.warnings)

    def create(self, new: Object) -> Object:
        """Make a new object; AlreadyThere where there is one of that name."""
        ref = self.resolved(ref_of(new))
        kind = self.kind(ref.api_version, ref.kind)
        asked = self._to.asked("create", kind.group, kind.plural, ref.namespace, ref.name)
        return self._to.request(asked, "post", kind.path(ref.namespace), body=new, field_manager=MANAGER).object()

    def merge(self, ref: Ref, change: Mapping[str, Any]) -> Object:
        """Change some fields of an object."""
        kind = "application/merge-patch+json"
        return self._ask("patch", "patch", ref, body=dict(change), content_type=kind, field_manager=MANAGER).object()

    def delete(self, ref: Ref) -> bool:
        """Delete an object and what it owns; False where there was none."""
        try:
            self._ask("delete", "delete", ref, propagation_policy="Background")
        except Absent:
            return False
        return True

    def listed(
        self, api_version: str, kind: str, labels: str | None = None, fields: str | None = None
    ) -> Sequence[Object]:
        """Return the objects of a kind at home, those with these labels and fields (`a=b,c`) where any are given."""
        found: list[Object] = []
        params: dict[str, Any] = {"label_selector": labels, "field_selector": fields, "limit": _PAGE}
        while True:
            page = self._page(api_version, kind, params)
            found += page.get("items") or ()
            params["_continue"] = page["metadata"].get("continue")
            if not params["_continue"]:
                return found

    def version(self, api_version: str, kind: str) -> str:
        """Return the resource version that a watch of a kind at home goes on from now."""
        return str(self._page(api_version, kind, {"limit": 1})["metadata"]["resourceVersion"])

    def watch(self, api_version: str, kind: str, since: str, for_s: int) -> Iterator[Object]:
        """Yield the objects of a kind at home that are made or changed in the next seconds; raises Expired."""
        where = self.kind(api_version, kind)
        for change in self._to.watch(self._asked_of_all(where, "watch"), where.path(self.home), since, for_s):
            if change["type"] in ("ADDED", "MODIFIED"):
                yield change["raw_object"]

    def proxied(self, pod: str, port: int, path: str, timeout_s: float) -> str:
        """Return what a pod at home answers to a plain GET within so many seconds, through the API server."""
        asked = self._to.asked("get", "", "pods/proxy", self.home, pod)
        where = f"/api/v1/namespaces/{self.home}/pods/{pod}:{port}/proxy/{path.lstrip('/')}"
        return self._to.once(asked, "get", where, {"header_params": {"Accept": "*/*"}}, timeout_s).text

    def close(self) -> None:
        """Let go of the connections."""
        self._to.close()

    def _ask(self, verb: str, method: str, ref: Ref, **params: Any) -> Any:
        ref = self.resolved(ref)
        kind = self.kind(ref.api_version, ref.kind)
        asked = self._to.asked(verb, kind.group, kind.plural, ref.namespace, ref.name)
        return self._to.request(asked, method, kind.path(ref.namespace, ref.name), **params)

    def _asked_of_all(self, kind: Kind, verb: str) -> Asked:
        return self._to.asked(verb, kind.group, kind.plural, self.home if kind.namespaced else None)

    def _page(self, api_version: str, kind: str, params: Mapping[str, Any]) -> Object:
        where = self.kind(api_version, kind)
        return self._to.request(self._asked_of_all(where, "list"), "get", where.path(self.home), **params).object()

    def _discover(self, api_version: str) -> None:
        group = api_version.rpartition("/")[0]
        prefix = f"/apis/{api_version}" if group else f"/api/{api_version}"
        asked = self._to.asked("get", group, "its kinds", None)
        try:
            resources = self._to.request(asked, "get", prefix).object().get("resources") or ()
        except Absent:
            return
        for each in resources:
            if "/" not in each["name"]:  # what has one is a part of an object, its status for instance
                made = Kind(group, prefix, each["name"], bool(each["namespaced"]))
                self._kinds[api_version, each["kind"]] = made
