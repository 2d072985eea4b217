"""The pods that a set of objects leads to, and the containers in them, whatever kind of object holds them.

A predictor that names a model instead of containers runs those of its ServingRuntime: its pod is the runtime's with
what the predictor says laid over it, as KServe's controller does. Where that runtime is not in the set, nothing is
known of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headrace.manifests.documents import Object
from headrace.manifests.objects import annotation, look, mapping, mappings, name_of, namespace_of, texts, whole

MODE = "serving.kserve.io/deploymentMode"
#: The modes, and the names they had.
MODES = {"Standard": "Standard", "Knative": "Knative", "RawDeployment": "Standard", "Serverless": "Knative"}
COMPONENTS = ("predictor", "transformer", "explainer")
RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
_TEMPLATES = {
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), "spec.template"),
    "CronJob": "spec.jobTemplate.spec.template",
}
#: Lists of a container that a model's add to, and what tells their elements apart.
_JOINED = {"args": "", "env": "name", "volumeMounts": "mountPath", "ports": "containerPort", "volumes": "name"}
_MODEL_ONLY = ("modelFormat", "runtime", "runtimeVersion", "protocolVersion", "storageUri", "storage", "name")


@dataclass(frozen=True, eq=False)
class Container:
    """A container and where it is written down."""

    owner: Object
    path: str
    spec: dict[str, Any]
    name: str
    initial: bool = False  # it runs before the others, and ends

    @cached_property
    def words(self) -> list[str]:
        """Its command and arguments, those given to a shell taken apart."""
        words = texts(self.spec.get("command")) + texts(self.spec.get("args"))
        if len(words) > 2 and words[0].rpartition("/")[2] in ("sh", "bash") and words[1].startswith("-"):
            try:
                return words[:2] + shlex.split(" ".join(words[2:]))
            except ValueError:
                return words
        return words

    @property
    def program(self) -> str:
        """What it runs of what is known here: transformer, predictor, pipeline, triton; empty for anything else."""
        joined = " ".join(self.words)
        for sign, program in (("-m transformer", "transformer"), ("-m predictor", "predictor")):
            if sign in joined:
                return program
        if "headrace pipeline" in joined or "-m headrace.cli pipeline" in joined:
            return "pipeline"
        if "tritonserver" in self.words or "/tritonserver" in str(self.spec.get("image")):
            return "triton"
        return ""

    @property
    def env(self) -> list[tuple[int, dict[str, Any]]]:
        """The variables with their places."""
        return mappings(self.spec.get("env"))

    @property
    def ports(self) -> list[dict[str, Any]]:
        """The ports it says it has, in order."""
        return [port for _, port in mappings(self.spec.get("ports"))]

    def flags(self, name: str) -> list[str]:
        """Return the values of a flag, by `--name value` or `--name=value`, each time that it is given."""
        found, wanted = [], name.replace("-", "_")
        for at, word in enumerate(self.words):
            said, sign, value = word.partition("=")
            if said.startswith("--") and said[2:].replace("-", "_") == wanted:
                found.append(value if sign else next(iter(self.words[at + 1 : at + 2]), ""))
        return found

    def flag(self, name: str) -> str | None:
        """Return the value of a flag that was given last; None where none was."""
        return next(reversed(self.flags(name)), None)

    def gpus(self) -> int:
        """Return how many GPUs, or parts of one, it asks for."""
        limits = mapping(look(self.spec, "resources.limits")).items()
        return sum(int(count) for name, count in limits if _is_gpu(name) and str(count).isdecimal())


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod that an object leads to: its specification, and how many of it there are at least."""

    owner: Object
    path: str
    spec: dict[str, Any]
    labels: dict[str, Any]
    containers: tuple[Container, ...]
    component: str = ""  # of an InferenceService: predictor, transformer or explainer
    replicas: int = 1

    @property
    def main(self) -> tuple[Container, ...]:
        """The containers that run as long as the pod does."""
        return tuple(each for each in self.containers if not each.initial)

    def running(self, *programs: str) -> list[Container]:
        """Return the containers that run one of these programs."""
        return [each for each in self.main if each.program in programs]


class Manifests:
    """A set of objects, as rules look at it."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects

    def of_kind(self, *kinds: str) -> list[Object]:
        """Return the objects of these kinds."""
        return [each for each in self.objects if each.get("kind") in kinds]

    def find(self, kind: str, name: str, like: Object) -> Object | None:
        """Return the object of a kind and name in the namespace of another; None where the set has none."""
        near = namespace_of(like)
        return next((e for e in self.of_kind(kind) if name_of(e) == name and namespace_of(e) in (near, "")), None)

    @cached_property
    def services(self) -> list[Object]:
        """The InferenceServices."""
        return self.of_kind("InferenceService")

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """All pods; a runtime that no predictor of the set names is looked at as one, too."""
        return tuple(pod for each in self.objects for pod in self._pods_of(each))

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """The containers of all pods, each once."""
        return tuple({(id(each.owner), each.path): each for pod in self.pods for each in pod.containers}.values())

    def running(self, *programs: str) -> list[tuple[Pod, Container]]:
        """Return the containers that run one of these programs, with their pods."""
        return [(pod, each) for pod in self.pods for each in pod.running(*programs)]

    def predictors(self) -> Iterator[tuple[Object, str, dict[str, Any]]]:
        """Yield each service's predictor and those of its canaries: the service, the path and what is there."""
        for service in self.services:
            yield service, "spec.predictor", mapping(look(service, "spec.predictor"))
            for at, canary in mappings(look(service, "spec.canary")):
                yield service, f"spec.canary[{at}].predictor", mapping(canary.get("predictor"))

    def runtime_of(self, service: Object, predictor: dict[str, Any]) -> Object | None:
        """Return the runtime that a predictor names, where the set has it."""
        name = look(predictor, "model.runtime")
        found = (self.find(kind, str(name), service) for kind in RUNTIMES if name)
        return next((each for each in found if each is not None and isinstance(each.get("spec"), dict)), None)

    def _pods_of(self, owner: Object) -> Iterator[Pod]:
        kind = str(owner.get("kind"))
        if path := _TEMPLATES.get(kind):
            template = mapping(look(owner, path))
            spec = mapping(template.get("spec"))
            labels = mapping(look(template, "metadata.labels"))
            replicas = whole(look(owner, "spec.replicas"), 1)
            yield Pod(owner, f"{path}.spec", spec, labels, _containers(owner, f"{path}.spec", spec), "", replicas)
        elif kind == "Pod":
            spec = mapping(owner.get("spec"))
            yield Pod(owner, "spec", spec, mapping(look(owner, "metadata.labels")), _containers(owner, "spec", spec))
        elif kind in RUNTIMES and not self._is_named(owner):
            spec = mapping(owner.get("spec"))
            yield Pod(owner, "spec", spec, mapping(spec.get("labels")), _containers(owner, "spec", spec), "predictor")
        elif kind == "InferenceService":
            yield from self._components(owner)

    def _is_named(self, runtime: Object) -> bool:
        return any(self.runtime_of(service, predictor) is runtime for service, _, predictor in self.predictors())

    def _components(self, service: Object) -> Iterator[Pod]:
        stable = mapping(look(service, "spec.predictor"))
        for owner, path, predictor in self.predictors():
            if owner is service and predictor:
                # KServe lays a canary's own fields over the predictor's.
                spec = predictor if path == "spec.predictor" else _over(stable, predictor)
                yield self._component(service, "predictor", path, spec)
        for component in COMPONENTS[1:]:
            if spec := mapping(look(service, f"spec.{component}")):
                yield self._component(service, component, f"spec.{component}", spec)

    def _component(self, service: Object, component: str, path: str, spec: dict[str, Any]) -> Pod:
        name = name_of(service)
        labels = {
            **mapping(look(service, "metadata.labels")),
            **mapping(spec.get("labels")),
            "serving.kserve.io/inferenceservice": name,
            "component": component,
            "app": f"isvc.{name}-{component}",
        }
        containers = _containers(service, path, spec)
        runtime = self.runtime_of(service, spec)
        if runtime is not None:
            containers += _served(runtime, spec)
            spec = _over({n: v for n, v in runtime["spec"].items() if n not in ("containers", "labels")}, spec)
        return Pod(service, path, spec, labels, containers, component, whole(spec.get("minReplicas"), 1))


def mode_of(service: Object) -> str:
    """Return the mode an InferenceService is deployed in, by its name of today; empty where it does not say one."""
    return MODES.get(annotation(service, MODE), "")


def _is_gpu(resource: str) -> bool:
    return resource == "nvidia.com/gpu" or resource.startswith("nvidia.com/mig-")


def _containers(owner: Object, path: str, spec: dict[str, Any]) -> tuple[Container, ...]:
    return tuple(
        Container(owner, f"{path}.{kind}[{at}]", each, str(each.get("name", "")), kind == "initContainers")
        for kind in ("initContainers", "containers")
        for at, each in mappings(spec.get(kind))
    )


def _served(runtime: Object, predictor: dict[str, Any]) -> tuple[Container, ...]:
    model = {name: value for name, value in mapping(predictor["model"]).items() if name not in _MODEL_ONLY}
    return tuple(
        Container(
            each.owner, each.path, _over(each.spec, model) if each.name == "kserve-container" else each.spec, each.name
        )
        for each in _containers(runtime, "spec", mapping(runtime["spec"]))
    )


def _over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    out = dict(below)
    for name, value in above.items():
        held = out.get(name)
        if isinstance(held, dict) and isinstance(value, dict):
            out[name] = _over(held, value)
        elif isinstance(held, list) and isinstance(value, list) and name in _JOINED:
            key = _JOINED[name]
            said = [mapping(each).get(key) for each in value] if key else []
            out[name] = [each for each in held if not key or mapping(each).get(key) not in said] + value
        else:
            out[name] = value
    return out
