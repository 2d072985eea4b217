"""How fresh a pipeline's features are: what its own metrics say, read through the API server.

The age is from the newest event that a pipeline counted to now, in seconds: it grows while a stream stands still,
whatever the reason. Where it cannot be read the reason is told; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from headrace.manifests.cluster import Cluster
from headrace.manifests.cluster_faults import ClusterError, Forbidden
from headrace.manifests.documents import Object

NEWEST = "headrace_pipeline_newest_event_timestamp_seconds"
_PORT_NAME = "metrics"
_PATH = "metrics"
_TIMEOUT_S = 2.0  # a network policy may let the API server wait for ever


@dataclass(frozen=True, slots=True)
class Freshness:
    """The age of the newest event in seconds, None where it is not known, and then why."""

    age_s: float | None = None
    why: str = ""


def freshness(cluster: Cluster, pods: Iterable[Object], now_s: float) -> Freshness | None:
    """Return how fresh what these pods write is; None where none of them tells metrics. `now_s` is epoch seconds."""
    ports = [
        (pod["metadata"]["name"], port) for pod in pods if _running(pod) and (port := metrics_port(pod)) is not None
    ]
    if not ports:
        return None
    newest, why = [], ""
    for pod, port in ports:
        try:
            newest += newest_events(cluster.proxied(pod, port, _PATH, _TIMEOUT_S))
        except Forbidden:
            return Freshness(why="freshness needs the right to get pods/proxy")
        except ClusterError:
            why = f"{pod} does not answer at its port {port} through the API server"
    if newest:
        return Freshness(max(now_s - max(newest), 0.0))
    return Freshness(why=why or "no event yet")


def newest_events(text: str) -> list[float]:
    """Return the times of the newest events, epoch seconds, one per stream, from metrics in Prometheus' text format.

    >>> newest_events('headrace_pipeline_newest_event_timestamp_seconds{stream="payments"} 1.7e+09')
    [1700000000.0]
    """
    lines = (line for line in text.splitlines() if line.startswith(NEWEST))
    return [float(line.rpartition(" ")[2]) for line in lines]


def metrics_port(pod: Object) -> int | None:
    """Return the port that a pod names `metrics`, None where it names none."""
    containers: list[dict[str, Any]] = pod["spec"].get("containers") or []
    ports = (port for each in containers for port in each.get("ports") or ())
    return next((int(port["containerPort"]) for port in ports if port.get("name") == _PORT_NAME), None)


def _running(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Running")
