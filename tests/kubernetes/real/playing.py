"""The controllers of the stand-in, playing in a thread for the real ones that a bare API server has none of.

What they write goes through the API server, which takes it or refuses it: the statuses that the other tests rely on are
held to the schemas of KServe and of Kubernetes here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.kubernetes.controllers import Controllers
from tests.kubernetes.kinds import KINDS, Kind
from tests.kubernetes.real.older import for_server
from tests.kubernetes.real.requests import Requests, path_of
from tests.kubernetes.store import Key, Object, kind_named

_SEEN_TO = ("InferenceService", "Deployment")
_TRIES = 5


class RealStore:
    """What the controllers write to, with the names that the stand-in's store has for it."""

    def __init__(self, requests: Requests, minor: int) -> None:
        self._requests, self._minor = requests, minor
        self.written: Callable[[Key, Object], None] = lambda key, of: None

    def get(self, plural: str, name: str, namespace: str = "") -> Object | None:
        """Return an object, None where there is none."""
        if not name:
            return None
        answer = self._requests.send("get", path_of(_kind_of(plural), namespace, name))
        return None if answer.status == 404 else answer.taken()

    def update(self, kind: Kind, key: Key, made: Object, manager: str) -> Object:
        """Put an object in place of another or of none; a pod, which cannot change, is made anew."""
        body, _ = for_server({**made, "apiVersion": kind.api_version, "kind": kind.kind}, self._minor)
        body["metadata"] = {**made.get("metadata", {}), "name": key[2], "namespace": key[1]}
        if kind.kind == "Pod":
            self._requests.send("delete", path_of(kind, key[1], key[2]), {"gracePeriodSeconds": 0})
        if "resourceVersion" in body["metadata"]:
            answer = self._requests.send("put", path_of(kind, key[1], key[2]), body, field_manager=manager)
        else:
            answer = self._requests.send("post", path_of(kind, key[1]), body, field_manager=manager)
        return answer.taken()

    def status(self, key: Key, status: Object) -> None:
        """Replace an object's status."""
        where = path_of(_kind_of(key[0]), key[1], key[2])
        for _ in range(_TRIES):
            held = self._requests.send("get", where)
            if held.status == 404:
                return
            put = self._requests.send("put", f"{where}/status", {**held.taken(), "status": status})
            if put.status != 409:  # somebody wrote in between
                put.taken()
                return
        raise AssertionError(f"{where} is written by others all the time")


class Playing:
    """The controllers at work: a thread sees to each object whose specification it has not seen yet."""

    def __init__(self, requests: Requests, minor: int) -> None:
        self.store: Any = RealStore(requests, minor)
        self.controllers = Controllers(self.store, [])
        self.fault: BaseException | None = None
        self._requests = requests
        self._seen: dict[str, int] = {}
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def begin(self) -> None:
        """Start."""
        self._thread.start()

    def end(self) -> None:
        """Stop; raises what went wrong in the thread."""
        self._ended.set()
        self._thread.join(30)
        if self.fault is not None:
            raise self.fault

    def pausing(self) -> threading.Lock:
        """Return the lock that is held while one round goes on."""
        return self._turn

    def _play(self) -> None:
        try:
            while not self._ended.wait(0.05):
                with self._turn:
                    for kind in _SEEN_TO:
                        self._round(kind_named(kind))
        except BaseException as fault:
            self.fault = fault
            raise

    def _round(self, kind: Kind) -> None:
        for of in self._requests.send("get", path_of(kind)).taken()["items"]:
            metadata = of["metadata"]
            if self._seen.get(metadata["uid"]) == metadata["generation"]:
                continue
            self._seen[metadata["uid"]] = metadata["generation"]
            key = (kind.plural, metadata.get("namespace", ""), metadata["name"])
            self.store.written(key, {**of, "apiVersion": kind.api_version, "kind": kind.kind})


def _kind_of(plural: str) -> Kind:
    return next(each for each in KINDS if each.plural == plural)
