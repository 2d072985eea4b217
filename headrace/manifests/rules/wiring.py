"""How transformer and predictor are wired: ports, protocols, and who waits how long at the end."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, name_of, namespace_of, texts
from headrace.manifests.settings import Given, given_to
from headrace.manifests.workloads import COMPONENTS, Container, Manifests, Pod, mode_of

_SERVERS = ("transformer", "predictor", "triton")
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


def _host_port(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("transformer"):
        given = given_to(manifests, container)
        host = given.settings.predictor_host
        if "predictor_host" not in given.places and pod.component == "transformer":
            host = f"{name_of(pod.owner)}-predictor"  # KServe's controller passes it
        bare = re.sub(r"^\w+:/{2,3}", "", host).rstrip("/")
        if not re.search(r":\d+$", bare) and _headless(manifests, pod, host, bare):
            yield *given.where("predictor_host"), f"it is {host}, without a port"


#: How ports are named that this is not for, what these are, and how it asks.
_BY_REST = ("h2c", "grpc"), "gRPC", "REST"


def _protocol(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("transformer"):
        given = given_to(manifests, container)
        port = re.search(r":(\d+)/?$", given.settings.predictor_host) if "predictor_host" in given.places else None
        other, what, how = ("http", "REST", "gRPC") if given.settings.predictor_protocol == "grpc-v2" else _BY_REST
        for served in _asked(manifests, pod):
            ports = [each for each in served.ports if not port or str(each.get("containerPort")) == port[1]]
            if ports and str(ports[0].get("name", "")).startswith(other):
                reached = f"port {port[1]}" if port else "the Service's port, which leads to the first,"
                found = f"{reached} is the predictor's {what}, the transformer asks by {how}"
                yield *given.where("predictor_host"), found


def _asked(manifests: Manifests, pod: Pod) -> list[Container]:
    if pod.component != "transformer" or mode_of(pod.owner) == "Knative":
        return []
    own = [each for each in manifests.pods if each.owner is pod.owner and each.path == "spec.predictor"]
    return [each for one in own for each in one.main if each.name == "kserve-container"]


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
        "KServe passes it to the transformer as --workers, which breaks every request of the stock server; ours starts "
        "so many processes, at most one for each core, and bounds requests by itself",
        "take it out; bound replicas instead",
    ),
    Rule(
        "predictor-host-port",
        _host_port,
        "a headless Service maps no ports: the transformer would call port 80 of a pod, where nothing listens",
        "name the pod's own port: --predictor_host=<service>:9000",
    ),
    Rule(
        "predictor-port-protocol",
        _protocol,
        "every request of the transformer fails: it speaks HTTP to a port that speaks gRPC, or gRPC to one of HTTP",
        "list the port first that predictor_protocol is for, or name it: --predictor_host=<service>:8000",
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
