"""What belongs to an object, and what a cluster tells of it: the pods it runs, how their containers are, its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import Expired, Forbidden
from headrace.manifests.components import SERVICE
from headrace.manifests.documents import Object
from headrace.manifests.readiness import troubles, unscheduled
from headrace.manifests.sets import INFERENCE_SERVICE, Ref

_EVENTS_SHOWN = 5
_LINES_SHOWN = 12
#: Kinds that run pods, which their selector finds.
_RUNNING = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True, slots=True)
class Below:
    """What a workload is made of now."""

    deployments: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a controller, the scheduler or a kubelet told."""

    warning: bool
    about: str
    said: str

    def __str__(self) -> str:
        return f"{self.about}: {self.said}"


def below(cluster: Cluster, of: Object) -> Below:
    """Return what an InferenceService or another workload is made of; nothing for what runs no pods.

    What may not be listed is left out: an object can be judged without.
    """
    space = cluster.at_home(of["metadata"].get("namespace") or cluster.home)
    if of["kind"] == INFERENCE_SERVICE:
        labels = f"{SERVICE}={of['metadata']['name']}"
        return Below(_listed(space, "apps/v1", "Deployment", labels), _pods(space, labels))
    wanted = ((of.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if of["kind"] not in _RUNNING or not wanted:
        return Below()
    return Below((), _pods(space, ",".join(f"{key}={value}" for key, value in wanted.items())))


def event_of(of: Mapping[str, Any]) -> Event:
    """Return an event of the API as one line says it."""
    about = of.get("involvedObject") or of.get("regarding") or {}
    said = " ".join((of.get("message") or of.get("note") or "").split())
    times = f" ({of['count']} times)" if of.get("count", 1) > 1 else ""
    about_it = f"{about.get('kind', 'object')} {about.get('name', '')}"
    return Event(of.get("type") == "Warning", about_it, f"{of.get('reason', '')}: {said}{times}")


def is_about(event: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Tell whether an event is about one of these objects, or about what is named after it, as its pods are."""
    name = (event.get("involvedObject") or event.get("regarding") or {}).get("name", "")
    return any(name == each or name.startswith(f"{each}-") for each in names)


def reasons(cluster: Cluster, ref: Ref, of: Object | None, said: str) -> list[str]:
    """Return why an object is not ready, the most telling first: its own words, its containers, its last warnings."""
    lines = [said]
    if of is not None:
        pods = below(cluster, of).pods
        told = (*troubles(pods), *unscheduled(pods), next(_logs(pods), ""))
        lines += [each for each in told if each not in said]
    lines += [f"event: {event}" for event in _warnings(cluster.at_home(ref.namespace or cluster.home), ref.name)]
    return list(dict.fromkeys(filter(None, lines)))[:_LINES_SHOWN]


class News:
    """The events at home that are about some objects, from when they are begun or first waited for."""

    def __init__(self, cluster: Cluster, names: Iterable[str]) -> None:
        self._cluster, self._names = cluster, tuple(names)
        self._since: str | None = None
        self._allowed = True

    def wait(self, for_s: int) -> Iterator[Event] | None:
        """Yield events for so many seconds at most, ending after the first; None where events may not be read."""
        if self._since is None:
            self.begin()
        return self._next(self._since or "0", for_s) if self._allowed else None

    def begin(self) -> None:
        """Take what comes from now on for news."""
        try:
            self._since = self._cluster.version("v1", "Event")
        except Forbidden:
            self._allowed = False

    def _next(self, since: str, for_s: int) -> Iterator[Event]:
        try:
            for event in self._cluster.watch("v1", "Event", since, for_s):
                self._since = event["metadata"]["resourceVersion"]
                if is_about(event, self._names):
                    yield event_of(event)
                    return
        except Forbidden:
            self._allowed = False
        except Expired:
            self._since = None


def _warnings(cluster: Cluster, name: str) -> list[Event]:
    try:
        found = cluster.listed("v1", "Event", fields="type=Warning")
    except Forbidden:
        return []
    of_it = [each for each in found if is_about(each, (name,))]
    of_it.sort(key=lambda each: each.get("lastTimestamp") or each["metadata"].get("creationTimestamp") or "")
    return [event_of(each) for each in reversed(of_it[-_EVENTS_SHOWN:])]


def _logs(pods: Iterable[Object]) -> Iterator[str]:
    for pod in pods:
        name, space = pod["metadata"]["name"], pod["metadata"].get("namespace", "default")
        for each in (pod.get("status") or {}).get("containerStatuses") or ():
            if (each.get("lastState") or {}).get("terminated"):
                yield f"its last words: kubectl logs -n {space} {name} -c {each['name']} --previous"


def _pods(cluster: Cluster, labels: str) -> tuple[Object, ...]:
    pods = _listed(cluster, "v1", "Pod", labels)
    return tuple(pod for pod in pods if not pod["metadata"].get("deletionTimestamp"))


def _listed(cluster: Cluster, api_version: str, kind: str, labels: str) -> tuple[Object, ...]:
    try:
        found = cluster.listed(api_version, kind, labels)
    except Forbidden:
        return ()
    # What lies in a list does not say what it is.
    return tuple({"apiVersion": api_version, "kind": kind, **each} for each in found)
