"""How transformer and predictor are wired: ports, protocols, probes, and who waits how long at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, name_of, namespace_of, texts
from headrace.manifests.settings import Given, given_to
from headrace.manifests.workloads import COMPONENTS, Container, Manifests, Pod, mode_of

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_READY, _LIVE = "/v2/health/ready", "/v2/health/live"
_WANTED = {"readinessProbe": (_READY,), "livenessProbe": (_LIVE,), "startupProbe": (_READY, _LIVE)}
_MODELS = ("predictor", "triton")
_SERVERS = ("transformer", *_MODELS)
_GRACE_S = 30.0  # Kubernetes' own, where a pod says nothing
_TRITON_EXIT_S = 30.0


def _grpc_first(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        if (
            pod.component != "predictor"
            or pod.owner.get("kind") != "InferenceService"
            or mode_of(pod.owner) == "Knative"
        ):
            continue
        if look(pod.spec, "model.protocolVersion") != "grpc-v2":
            continue
        for container in pod.main:
            first = container.ports[0] if container.ports else {}
            if container.name == "kserve-container" and container.ports and first.get("name") != "h2c":
                yield container.owner, f"{container.path}.ports[0]", f"the first port is {first.get('name')!r}, not h2c"


def _http_first(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("transformer"):
        wanted = given_to(manifests, container).settings.http_port
        first = container.ports[0].get("containerPort") if container.ports else None
        if pod.component == "transformer" and first != wanted:
            shown = f"the first port is {first}" if container.ports else "no port is listed"
            yield container.owner, f"{container.path}.ports", f"{shown}, the transformer answers REST on {wanted}"


def _agents(manifests: Manifests, agent: str) -> Iterator[Spot]:
    for service in manifests.services:
        for component in COMPONENTS:
            spec = mapping(look(service, f"spec.{component}"))
            protocol = str(look(spec, "model.protocolVersion") or "v2")
            if agent in spec and protocol != "v1":
                yield service, f"spec.{component}.{agent}", f"the {component} speaks {protocol} and has a {agent}"


def _batcher(manifests: Manifests) -> Iterator[Spot]:
    return _agents(manifests, "batcher")


def _logger(manifests: Manifests) -> Iterator[Spot]:
    return _agents(manifests, "logger")


def _concurrency(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        for component in COMPONENTS:
            if said := look(service, f"spec.{component}.containerConcurrency"):
                yield service, f"spec.{component}.containerConcurrency", f"containerConcurrency is {said}"


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
    for _, container in manifests.running(*_SERVERS):
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


def _host_port(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("transformer"):
        given = given_to(manifests, container)
        host = given.settings.predictor_host
        bare = re.sub(r"^\w+:/{2,3}", "", host).rstrip("/")
        known = "predictor_host" in given.places or not pod.component
        if known and not re.search(r":\d+$", bare) and _headless(manifests, pod, host, bare):
            yield *given.where("predictor_host"), f"it is {host}, without a port"


def _headless(manifests: Manifests, pod: Pod, host: str, bare: str) -> bool:
    if host.startswith("dns:"):
        return True
    for service in manifests.of_kind("Service"):
        names = (name_of(service), f"{name_of(service)}.{namespace_of(service) or namespace_of(pod.owner)}")
        if look(service, "spec.clusterIP") == "None" and bare.split(".svc")[0] in names:
            return True
    return any(
        '"serviceClusterIPNone": true' in str(look(config, "data.service"))
        for config in manifests.of_kind("ConfigMap")
        if name_of(config) == "inferenceservice-config"
    )


def _drain(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer", "predictor"):
        given = given_to(manifests, container)
        told = given.settings
        if given.knows("drain_s") and given.knows("deadline_ms") and told.drain_s * 1000 < told.deadline_ms:
            yield *given.where("drain_s"), f"the drain is {told.drain_s:g} s, a deadline {told.deadline_ms:g} ms"


def _grace(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running(*_SERVERS):
        if mode_of(pod.owner) == "Knative":  # it waits for the requests under way by itself
            continue
        told = pod.spec.get("terminationGracePeriodSeconds")
        grace = float(told) if isinstance(told, int) else _GRACE_S
        needs = _before_stop_s(container) + _ends_within_s(given_to(manifests, container), container)
        if grace <= needs:
            shown = f"the pod is killed after {grace:g} s, {container.name or 'the container'} takes up to {needs:g} s"
            yield pod.owner, f"{pod.path}.terminationGracePeriodSeconds", shown


def _before_stop_s(container: Container) -> float:
    hook = mapping(look(container.spec, "lifecycle.preStop"))
    slept = look(hook, "sleep.seconds")
    said = re.search(r"sleep\s+(\d+(\.\d+)?)", " ".join(texts(look(hook, "exec.command"))))
    return float(slept) if isinstance(slept, int) else float(said[1]) if said else 0.0


def _ends_within_s(given: Given, container: Container) -> float:
    if container.program != "triton":
        return given.settings.drain_s + given.settings.deadline_ms / 1000
    said = container.flag("exit-timeout-secs")
    return float(said) if said and said.isdecimal() else _TRITON_EXIT_S


def _loopback(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("transformer", "predictor"):
        given = given_to(manifests, container)
        host = given.settings.host
        if "host" in given.places and (host.startswith("127.") or host in ("localhost", "::1")):
            yield *given.where("host"), f"it listens on {host}"


RULES = (
    Rule(
        "grpc-port-first",
        _grpc_first,
        "KServe's Service leads to the first port only, so gRPC is sent to another protocol's port",
        "list {name: h2c, containerPort: 9000} first, the others after it",
    ),
    Rule(
        "transformer-port-first",
        _http_first,
        "KServe's Service leads to the first port only: requests reach gRPC, or nothing",
        "list {name: http1, containerPort: 8080} first and gRPC's 8081 second",
    ),
    Rule(
        "batcher-on-v2",
        _batcher,
        "KServe's batcher knows v1's `instances` alone and answers 400 to v2; it moves the Service to its own port",
        "take the batcher out: Triton and the embedded predictor batch by themselves",
    ),
    Rule(
        "logger-on-v2",
        _logger,
        "KServe's logger stands between over HTTP and moves the Service to its own port: gRPC no longer gets through",
        "take the logger out and let the transformer log predictions",
    ),
    Rule(
        "container-concurrency",
        _concurrency,
        "KServe passes it to the transformer as --workers, which breaks every request of the stock server and means "
        "nothing to this one",
        "take it out; bound replicas instead",
    ),
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
    Rule(
        "predictor-host-port",
        _host_port,
        "a headless Service maps no ports: the transformer would call port 80 of a pod, where nothing listens",
        "name the pod's own port: --predictor_host=<service>:9000",
    ),
    Rule(
        "drain-short",
        _drain,
        "requests under way when a pod is told to stop are cut off",
        "let HEADRACE_DRAIN_S (--drain-s) be longer than the deadline",
    ),
    Rule(
        "grace-short",
        _grace,
        "the process is killed while it still answers",
        "let terminationGracePeriodSeconds be more than preStop, drain and deadline together",
    ),
    Rule(
        "listens-on-loopback",
        _loopback,
        "nobody outside of the container reaches it, the probes neither",
        "listen on 0.0.0.0 inside a container",
    ),
)
