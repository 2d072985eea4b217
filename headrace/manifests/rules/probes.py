"""Probes: that there are some, that they ask the right thing, and a port that is there."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping
from headrace.manifests.workloads import Container, Manifests

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_READY, _LIVE = "/v2/health/ready", "/v2/health/live"
_WANTED = {"readinessProbe": (_READY,), "livenessProbe": (_LIVE,), "startupProbe": (_READY, _LIVE)}
_MODELS = ("predictor", "triton")


def _unprobed(containers: list[Container]) -> Iterator[Spot]:
    for container in containers:
        if absent := [probe for probe in _PROBES if not container.spec.get(probe)]:
            yield container.owner, container.path, f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} absent"


def _transformer_probes(manifests: Manifests) -> Iterator[Spot]:
    ours = [container for _, container in manifests.running("transformer")]
    theirs = [each for pod in manifests.pods if pod.component == "transformer" for each in pod.main[:1]]
    return _unprobed(list(dict.fromkeys(ours + theirs)))


def _predictor_probes(manifests: Manifests) -> Iterator[Spot]:
    pods = [pod for pod in manifests.pods if pod.component == "predictor"]
    served = [each for pod in pods for each in pod.main if each.name == "kserve-container" or each.program in _MODELS]
    return _unprobed(list(dict.fromkeys(served)))


def _probe_paths(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer", *_MODELS):
        for probe, paths in _WANTED.items():
            said = mapping(container.spec.get(probe))
            path = look(said, "httpGet.path")
            asks = f"it asks {path}" if path else "it asks no HTTP path"
            if said and path not in paths and not (container.program == "triton" and "grpc" in said):
                yield container.owner, f"{container.path}.{probe}", f"{asks}, needs {' or '.join(paths)}"


def _probe_ports(manifests: Manifests) -> Iterator[Spot]:
    for container in manifests.containers:
        listed = [str(each) for port in container.ports for each in (port.get("containerPort"), port.get("name"))]
        for probe in _PROBES:
            for how in ("httpGet", "tcpSocket", "grpc"):
                said = look(container.spec, f"{probe}.{how}.port")
                if said is not None and listed and str(said) not in listed:
                    yield container.owner, f"{container.path}.{probe}.{how}.port", f"the port is {said}, not one listed"


RULES = (
    Rule(
        "transformer-probes",
        _transformer_probes,
        "without them Kubernetes sends requests before features and model are there, or keeps a dead process",
        f"give it startup and readiness probes on {_READY} and a liveness probe on {_LIVE}",
    ),
    Rule(
        "predictor-probes",
        _predictor_probes,
        "KServe's default only tries whether the first port is open, which it is before the model is loaded",
        f"give it startup and readiness probes on {_READY} and a liveness probe on {_LIVE}",
    ),
    Rule(
        "probe-path",
        _probe_paths,
        "readiness elsewhere says nothing of features and model; liveness on readiness restarts all when a store fails",
        f"ask {_READY} for startup and readiness, {_LIVE} for liveness",
    ),
    Rule(
        "probe-port",
        _probe_ports,
        "the probe fails for ever, and the pod never gets ready",
        "ask a port that is listed",
    ),
)
