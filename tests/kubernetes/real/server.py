"""A real API server as tests see it: by the names that the stand-in has, so that the same test runs on both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from headrace.manifests.documents import read_objects
from tests.kubernetes.controllers import Behaviour
from tests.kubernetes.kinds import KINDS, Kind
from tests.kubernetes.kubeconfig import SPACE, write_kubeconfig
from tests.kubernetes.real.older import for_server
from tests.kubernetes.real.playing import Playing
from tests.kubernetes.real.policies import LEVELS_SINCE, write_policies
from tests.kubernetes.real.programs import Programs
from tests.kubernetes.real.requests import MERGE, Requests, path_of
from tests.kubernetes.real.running import ADMIN, running
from tests.kubernetes.store import Object, kind_named

DEFINITION = kind_named("CustomResourceDefinition")
_KEPT = ("default", SPACE)
_LEVEL = dict.fromkeys((f"pod-security.kubernetes.io/{mode}" for mode in ("enforce", "warn")), "restricted")


class RealServer:
    """A running server with KServe's definitions and the namespaces `default` and `shop`."""

    def __init__(self, home: Path, url: str, authority: str, requests: Requests) -> None:
        self.home, self.url, self.requests = home, url, requests
        self.authority = authority
        self._playing: Playing | None = None
        told = requests.send("get", "/version").taken()
        self.version: str = told["gitVersion"].removeprefix("v")
        self.minor = int(told["minor"].rstrip("+"))

    @classmethod
    @contextmanager
    def started(cls, programs: Programs, home: Path, definitions: Path) -> Iterator[RealServer]:
        """Run one until the block ends."""
        with running(programs, home) as to:
            requests = Requests(to, home, ADMIN)
            made = cls(home, to.url, to.authority, requests)
            made.define(definitions)
            if made.minor < LEVELS_SINCE:
                write_policies(requests)
            made.make_namespace(SPACE)
            yield made
            requests.close()

    def kubeconfig(self, *, token: str = ADMIN) -> Path:
        """Write a kubeconfig that leads here and return its path."""
        return write_kubeconfig(self.home / "kubeconfig", self.url, self.authority, token)

    def define(self, folder: Path) -> None:
        """Install the CustomResourceDefinitions of a folder, and wait until their kinds are served."""
        names = []
        for path in sorted(folder.glob("*.yaml")):
            for each in read_objects(path):
                self.requests.send("post", path_of(DEFINITION), for_server(each, self.minor)[0]).taken()
                names.append(each["metadata"]["name"])
        for name in names:
            self.await_(lambda name=name: self._established(name), f"{name} to be established")

    def make_namespace(self, name: str) -> None:
        """Make a namespace where only restricted pods are taken, by a server that knows of them."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _LEVEL}}
        if self.requests.send("post", "/api/v1/namespaces", body).status != 409:
            self.await_(lambda: self.get("Namespace", name) is not None, f"the namespace {name}")

    def get(self, kind: str, name: str, namespace: str = SPACE) -> Object | None:
        """Return an object, None where there is none."""
        answer = self.requests.send("get", path_of(kind_named(kind), namespace, name))
        return None if answer.status == 404 else answer.taken()

    def names(self, kind: str, namespace: str = SPACE) -> list[str]:
        """Return the names of a kind's objects."""
        return [each["metadata"]["name"] for each in self._all(kind_named(kind), namespace)]

    def edit(self, kind: str, name: str, change: Callable[[Object], Any], manager: str = "kubectl-edit") -> None:
        """Change an object by another manager's hand."""
        where = path_of(kind_named(kind), SPACE, name)
        held = self.requests.send("get", where).taken()
        change(held)
        self.requests.send("put", where, held, field_manager=manager).taken()

    def behave(self, behaviour: Behaviour) -> None:
        """Say what becomes of the objects that are written from now on."""
        assert self._playing is not None
        with self._playing.pausing():
            self._playing.controllers.behaviour = behaviour

    @contextmanager
    def played(self) -> Iterator[None]:
        """Play the controllers until the block ends, and clear away what was made meanwhile."""
        playing = self._playing = Playing(self.requests, self.minor)
        playing.begin()
        try:
            yield
        finally:
            try:
                playing.end()
            finally:
                self._clear()

    def await_(self, holds: Callable[[], bool], what: str) -> None:
        """Ask until something holds; AssertionError after a thousand times, a tenth of a second apart."""
        pause = threading.Event()
        assert any(holds() or pause.wait(0.1) for _ in range(1000)), f"waited for {what} in vain"

    def _established(self, name: str) -> bool:
        conditions = (
            self.requests.send("get", path_of(DEFINITION, name=name)).taken().get("status", {}).get("conditions")
        )
        return any((each["type"], each["status"]) == ("Established", "True") for each in conditions or ())

    def _all(self, kind: Kind, namespace: str = "") -> list[Object]:
        answer = self.requests.send("get", path_of(kind, namespace))
        return [] if answer.status == 404 else answer.taken()["items"]

    def _clear(self) -> None:
        for kind in KINDS:
            for of in self._all(kind) if kind.namespaced else ():
                self._delete(kind, of)
        for of in self._all(DEFINITION):
            if not of["spec"]["group"].endswith("kserve.io"):
                self._delete(DEFINITION, of)
        for of in self._all(kind_named("Namespace")):
            if of["metadata"]["name"] not in _KEPT and not of["metadata"]["name"].startswith("kube-"):
                self.forget_namespace(of["metadata"]["name"])

    def forget_namespace(self, name: str) -> None:
        """Delete a namespace that nothing is in, as its controller would at the end."""
        where = path_of(kind_named("Namespace"), name=name)
        gone = self.requests.send("delete", where).taken()
        body = {**gone, "apiVersion": "v1", "kind": "Namespace", "spec": {"finalizers": []}}
        self.requests.send("put", f"{where}/finalize", body).taken()

    def _delete(self, kind: Kind, of: Object) -> None:
        metadata = of["metadata"]
        if metadata.get("namespace", "").startswith("kube-") or metadata["name"] == "kubernetes":
            return
        where = path_of(kind, metadata.get("namespace", ""), metadata["name"])
        if metadata.get("finalizers"):
            self.requests.send("patch", where, {"metadata": {"finalizers": None}}, content_type=MERGE)
        self.requests.send("delete", where, {"gracePeriodSeconds": 0})
