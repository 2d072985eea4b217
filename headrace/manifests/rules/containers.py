"""Containers: what they ask for of a node, their GPUs, their variables, and secrets that are written down."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look, mapping, mappings, quantity
from headrace.manifests.workloads import Manifests, Pod

_GPU = "nvidia.com/gpu"
_SECRET = re.compile(r"(PASSW(OR)?D|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)$", re.IGNORECASE)
_IN_FLAG = re.compile(
    r"^-{0,2}[\w.=-]*(password|secret|token|api[-_.]?key|private[-_.]?key)=(?P<value>.+)", re.IGNORECASE
)
_IN_URL = re.compile(r"://[^/\s:@$]+:[^/\s:@$]+@")


def _needs(manifests: Manifests, part: str, wanted: tuple[str, ...]) -> Iterator[Spot]:
    for container in manifests.containers:
        held = mapping(look(container.spec, f"resources.{part}"))
        if absent := [name for name in wanted if name not in held]:
            yield container.owner, f"{container.path}.resources.{part}", f"{' and '.join(absent)} absent"


def _requests(manifests: Manifests) -> Iterator[Spot]:
    return _needs(manifests, "requests", ("cpu", "memory"))


def _limits(manifests: Manifests) -> Iterator[Spot]:
    return _needs(manifests, "limits", ("memory",))


def _order(manifests: Manifests) -> Iterator[Spot]:
    for container in manifests.containers:
        limits = mapping(look(container.spec, "resources.limits"))
        for name, value in mapping(look(container.spec, "resources.requests")).items():
            least, most = quantity(value), quantity(limits.get(name))
            whole = name == _GPU and least != most
            if least is not None and most is not None and (least > most or whole):
                where = f"{container.path}.resources.requests.{name}"
                yield container.owner, where, f"{value} is asked for, {limits[name]} is the limit"


def _gpu_on_transformer(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        for container in pod.main:
            if container.gpus() and (pod.component == "transformer" or container.program == "transformer"):
                yield container.owner, f"{container.path}.resources.limits.{_GPU}", "the transformer asks for a GPU"


def _gpu_unused(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("predictor", "pipeline"):
        if container.gpus():
            where = f"{container.path}.resources.limits.{_GPU}"
            yield container.owner, where, f"the {container.program} asks for a GPU and computes on the CPU"


def _asks(pod: Pod) -> bool:
    return any(container.gpus() for container in pod.containers)


def _tolerates(pod: Pod) -> bool:
    tolerations = [each for _, each in mappings(pod.spec.get("tolerations"))]
    return any(each.get("key") in (_GPU, None) and each.get("effect") in ("NoSchedule", None) for each in tolerations)


def _placed(pod: Pod) -> bool:
    affinity = look(pod.spec, "affinity.nodeAffinity")
    return bool(affinity) or any(name.startswith("nvidia.com/") for name in mapping(pod.spec.get("nodeSelector")))


def _toleration(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        if _asks(pod) and not _tolerates(pod):
            yield pod.owner, f"{pod.path}.tolerations", f"a pod with a GPU does not tolerate the taint {_GPU}"


def _placement(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        if _asks(pod) and not _placed(pod):
            yield pod.owner, f"{pod.path}.nodeSelector", "a pod with a GPU says nothing of which node"


def _wasted(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        selected = any(name.startswith("nvidia.com/gpu") for name in mapping(pod.spec.get("nodeSelector")))
        named = any(each.get("key") == _GPU for _, each in mappings(pod.spec.get("tolerations")))
        if pod.main and not _asks(pod) and (selected or named):
            field = "nodeSelector" if selected else "tolerations"
            yield pod.owner, f"{pod.path}.{field}", "a pod without a GPU goes to nodes that have one"


def _twice(manifests: Manifests) -> Iterator[Spot]:
    for container in manifests.containers:
        names = Counter(str(variable.get("name")) for _, variable in container.env)
        for name, count in names.items():
            if count > 1:
                yield container.owner, f"{container.path}.env", f"{name} is there {count} times"


def _secrets(manifests: Manifests) -> Iterator[Spot]:
    for container in manifests.containers:
        for at, variable in container.env:
            value = str(variable.get("value") or "")
            if _is_secret(str(variable.get("name")), value):
                yield (
                    container.owner,
                    f"{container.path}.env[{at}]",
                    f"{variable.get('name')} has its value in the manifest",
                )
        for word in container.words:
            said = _IN_FLAG.match(word)
            if (said and not said["value"].startswith("$")) or _IN_URL.search(word):
                yield container.owner, f"{container.path}.args", "an argument has a secret in it"


def _is_secret(name: str, value: str) -> bool:
    return bool(value) and not value.startswith("$(") and bool(_SECRET.search(name) or _IN_URL.search(value))


def _configured(manifests: Manifests) -> Iterator[Spot]:
    for config in manifests.of_kind("ConfigMap"):
        for name, value in mapping(config.get("data")).items():
            if _is_secret(str(name), str(value)):
                yield config, f"data.{name}", f"{name} has its value in a ConfigMap"


def _committed(manifests: Manifests) -> Iterator[Spot]:
    for secret in manifests.of_kind("Secret"):
        for field in ("data", "stringData"):
            if any(mapping(secret.get(field)).values()):
                yield secret, field, f"{', '.join(mapping(secret[field]))} written down"


RULES = (
    Rule(
        "requests-missing",
        _requests,
        "the scheduler takes the pod for one that needs nothing, and under pressure it is the first to be evicted",
        "say resources.requests for cpu and memory",
    ),
    Rule(
        "limits-missing",
        _limits,
        "one leak takes the memory of everything on the node",
        "say resources.limits.memory; a limit for cpu is yours to choose, it slows down bursts",
    ),
    Rule(
        "requests-above-limits",
        _order,
        "a cluster refuses the pod: requests must not be above limits, and those of GPUs equal them",
        "let requests be at most the limits",
    ),
    Rule(
        "gpu-on-transformer",
        _gpu_on_transformer,
        "the transformer computes nothing on a GPU, and keeps a predictor from it",
        "take the GPU from the transformer's resources",
    ),
    Rule(
        "gpu-unused",
        _gpu_unused,
        "a GPU stands idle, and is paid for",
        "serve by Triton where there are GPUs, or take the GPU out",
    ),
    Rule(
        "gpu-toleration",
        _toleration,
        "GPU nodes are tainted so that nothing else goes there: the pod stays pending",
        f"tolerate {{key: {_GPU}, operator: Exists, effect: NoSchedule}}",
    ),
    Rule(
        "gpu-placement",
        _placement,
        "any kind of GPU may be given, and a TensorRT engine or a latency measured on one is not that of another",
        "select nodes by nvidia.com/gpu.product or nvidia.com/gpu.present",
    ),
    Rule(
        "gpu-node-wasted",
        _wasted,
        "it takes cores and memory that the predictors on the GPUs need",
        "leave GPU tolerations and selectors to pods that ask for a GPU",
    ),
    Rule("env-twice", _twice, "the last one wins, or server-side apply refuses both", "keep one of them"),
    Rule(
        "secret-in-manifest",
        _secrets,
        "whoever reads the repository, the object or the process list has the secret",
        "refer to a Secret by valueFrom.secretKeyRef, or mount it as a file",
    ),
    Rule(
        "secret-in-configmap",
        _configured,
        "ConfigMaps are not kept secret, by nobody",
        "put it into a Secret that is made outside of these manifests",
    ),
    Rule(
        "secret-committed",
        _committed,
        "base64 is no encryption: the secret is in the repository for ever",
        "make Secrets outside of the manifests, by an operator for external secrets or by hand",
    ),
)
