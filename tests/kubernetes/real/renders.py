"""The golden renders as sets of objects, and the pods they lead to when KServe's controller has made them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from headrace.manifests.documents import read_objects
from headrace.manifests.objects import look, mapping
from headrace.manifests.workloads import Manifests, Pod
from tests.kubernetes.controllers import POD_FIELDS
from tests.kubernetes.store import Object
from tests.manifests.golden import GOLDEN, known

FILES = sorted(GOLDEN.rglob("*.yaml"))
_WITHOUT = "# without "


def named(path: Path) -> str:
    """Return what a golden file is called."""
    return path.stem


@cache
def whole(path: Path) -> tuple[Object, ...]:
    """Return the set that a golden file stands for: a combination's is the base with what it changes."""
    own = read_objects(path)
    if path.parent == GOLDEN:
        return tuple(own)
    left_out = {line.removeprefix(_WITHOUT) for line in path.read_text().splitlines() if line.startswith(_WITHOUT)}
    base = {known(each): each for each in read_objects(GOLDEN / "base.yaml") if known(each) not in left_out}
    return tuple((base | {known(each): each for each in own}).values())


def pods(path: Path) -> Iterator[tuple[str, Object]]:
    """Yield a name and the object of each pod that a golden file's set leads to."""
    for number, pod in enumerate(Manifests(list(whole(path))).pods):
        if pod.main:
            yield f"{known(pod.owner)} {pod.path}", _object(pod, number)


def _object(pod: Pod, number: int) -> Object:
    spec: Object = {name: deepcopy(value) for name, value in pod.spec.items() if name in POD_FIELDS}
    spec["containers"] = [deepcopy(each.spec) for each in pod.main]
    if initial := [deepcopy(each.spec) for each in pod.containers if each.initial] + list(_fetching(pod)):
        spec["initContainers"] = initial
    labels = {name: str(value) for name, value in pod.labels.items()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "labels": labels},
        "spec": spec,
    }


def _fetching(pod: Pod) -> Iterator[dict[str, Any]]:
    """KServe puts the cluster's storage container before a predictor that names an address to fetch a model from."""
    if pod.component == "predictor" and look(pod.spec, "model.storageUri"):
        (container,) = (
            each for each in read_objects(GOLDEN / "cluster.yaml") if each["kind"] == "ClusterStorageContainer"
        )
        yield {**deepcopy(mapping(look(container, "spec.container"))), "name": "storage-initializer"}
