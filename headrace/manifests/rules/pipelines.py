"""Pipelines: one writer per store, no more readers than partitions, and metrics that can be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import annotation, look, mapping, mappings, name_of, whole
from headrace.manifests.settings import given_to
from headrace.manifests.workloads import Container, Manifests, Pod

PARTITIONS = "headrace.dev/partitions"


def _store(manifests: Manifests, container: Container) -> str:
    if container.program == "pipeline":
        said = container.flag("store") or ""
    else:
        given = given_to(manifests, container)
        said = given.settings.store if given.knows("store") else ""
    return "" if "://" in said else said


def _mount(container: Container, store: str) -> str | None:
    mounts = {
        str(each.get("mountPath")): str(each.get("name")) for _, each in mappings(container.spec.get("volumeMounts"))
    }
    path = PurePosixPath(store)
    return next((mounts[str(each)] for each in (path, *path.parents) if str(each) in mounts), None)


def _claim(pod: Pod, volume: str | None) -> str:
    for _, each in mappings(pod.spec.get("volumes")):
        if each.get("name") == volume:
            return str(look(each, "persistentVolumeClaim.claimName") or "")
    return ""


def _stores(manifests: Manifests) -> Iterator[tuple[Pod, Container, str, str]]:
    for pod, container in manifests.running("pipeline", "transformer"):
        if store := _store(manifests, container):
            yield pod, container, store, _claim(pod, _mount(container, store))


def _shared(manifests: Manifests) -> Iterator[Spot]:
    holders: dict[str, Pod] = {}
    for pod, container, _, claim in _stores(manifests):
        if not claim:
            continue
        holder = holders.setdefault(claim, pod)
        if holder is not pod:
            yield (
                container.owner,
                f"{container.path}.volumeMounts",
                f"{name_of(holder.owner)} keeps its store on {claim} too",
            )
        elif pod.replicas > 1:
            yield pod.owner, "spec.replicas", f"{pod.replicas} replicas keep their stores on {claim}"


def _process_ids(manifests: Manifests) -> Iterator[Spot]:
    first: dict[tuple[int, str], Container] = {}
    for pod, container, store, _ in _stores(manifests):
        volume = _mount(container, store)
        own = first.setdefault((id(pod), volume or store), container)
        if volume and own is not container and pod.spec.get("shareProcessNamespace") is not True:
            found = f"{own.name} and {container.name} keep their store on volume {volume}"
            yield pod.owner, f"{pod.path}.shareProcessNamespace", found


def _strategy(manifests: Manifests) -> Iterator[Spot]:
    for pod, _, _, claim in _stores(manifests):
        said = look(pod.owner, "spec.strategy.type") or "RollingUpdate"
        if pod.owner.get("kind") == "Deployment" and claim and said != "Recreate":
            yield pod.owner, "spec.strategy.type", f"the strategy is {said}, the store is on {claim}"


def _unmounted(manifests: Manifests) -> Iterator[Spot]:
    for _, container, store, _ in _stores(manifests):
        if _mount(container, store) is None:
            yield container.owner, f"{container.path}.volumeMounts", f"no volume is mounted at {store}, the store"


def _partitions(manifests: Manifests, pod: Pod, container: Container) -> int:
    topic = re.search(r"^kafka://[^/]*/(.+)$", container.flag("source") or "")
    for each in manifests.of_kind("KafkaTopic"):
        if topic and topic[1] == (look(each, "spec.topicName") or name_of(each)):
            return whole(look(each, "spec.partitions"), 0)
    said = annotation(pod.owner, PARTITIONS)
    return int(said) if said.isdecimal() else 0


def _idle(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("pipeline"):
        there = _partitions(manifests, pod, container)
        if there and pod.replicas > there and container.flag("group") != "":
            yield pod.owner, "spec.replicas", f"{pod.replicas} replicas share {there} partitions"


def _metrics(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("pipeline"):
        said = container.flag("metrics")
        host = (said or "").rpartition(":")[0]
        if said is not None and (not host or host.startswith("127.") or host == "localhost"):
            yield container.owner, f"{container.path}.args", f"--metrics is {said}, the container's own loopback"


def _source(manifests: Manifests) -> Iterator[Spot]:
    for pod, container in manifests.running("pipeline"):
        absent = [flag for flag in ("source", "store") if container.flag(flag) is None]
        if absent and "run" in container.words:
            yield container.owner, f"{container.path}.args", f"{', '.join('--' + flag for flag in absent)} absent"
        given = mapping(look(pod.owner, "spec.template.metadata")).get("labels")
        if container.flag("to-end") is not None and pod.owner.get("kind") == "Deployment" and given is not None:
            yield container.owner, f"{container.path}.args", "--to-end ends the process, a Deployment starts it again"


RULES = (
    Rule(
        "store-shared",
        _shared,
        "an LMDB store is shared memory: processes on two nodes, or in two pods, corrupt it",
        "give each pod a volume of its own, or run the containers in one pod",
    ),
    Rule(
        "store-process-ids",
        _process_ids,
        "LMDB knows its readers by their process ids: two containers, each with a process 1, cannot both read",
        "say shareProcessNamespace: true in the pod",
    ),
    Rule(
        "store-rolling-update",
        _strategy,
        "the new pod waits for a volume that the old one holds, or both write the store",
        "say strategy: {type: Recreate}",
    ),
    Rule(
        "store-unmounted",
        _unmounted,
        "the store would lie on the container's own file system: it is read-only, or gone with the container",
        "mount a volume there",
    ),
    Rule(
        "pipeline-idle",
        _idle,
        "a partition is read by one process: the others get nothing and cost memory",
        "have at most as many replicas as the topic has partitions",
    ),
    Rule(
        "pipeline-metrics-loopback",
        _metrics,
        "Prometheus reaches the pod by its address, where nothing listens: freshness is not watched",
        "say --metrics=0.0.0.0:9100",
    ),
    Rule(
        "pipeline-arguments",
        _source,
        "the pipeline ends at once, and is started over and over",
        "say --source and --store; run what has an end (--to-end) as a Job",
    ),
)
