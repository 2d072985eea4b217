"""Models that are to be checked before they are served: mistakes by which nothing is checked, or nothing served."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look
from headrace.manifests.workloads import Container, Manifests, Pod

#: Models that KServe mounts into the server's container, and fetches into no volume that another could have.
_MOUNTED = ("pvc://", "oci://")


def _verifies(container: Container) -> bool:
    return "headrace model verify" in " ".join(container.words)


def _verifiers(manifests: Manifests) -> Iterator[tuple[Pod, Container]]:
    return ((pod, each) for pod in manifests.pods for each in pod.main if _verifies(each))


def _early(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        for container in pod.containers:
            if container.initial and pod.component == "predictor" and _verifies(container):
                yield container.owner, container.path, f"init container {container.name} verifies the model"


def _unkeyed(manifests: Manifests) -> Iterator[Spot]:
    for _, container in _verifiers(manifests):
        if not container.flag("public-key"):
            yield container.owner, f"{container.path}.args", "--public-key is absent"


def _unused(manifests: Manifests) -> Iterator[Spot]:
    for pod, verifier in _verifiers(manifests):
        kept = verifier.flag("into")
        for server in pod.running("triton"):
            if (served := server.flag("model-repository")) != kept:
                found = f"--model-repository is {served}, what was verified is in {kept or 'no folder of its own'}"
                yield server.owner, f"{server.path}.args", found


def _mounted(manifests: Manifests) -> Iterator[Spot]:
    cached = [str(look(each, "spec.sourceModelUri")) for each in manifests.of_kind("LocalModelCache")]
    for pod, _ in _verifiers(manifests):
        uri = str(look(pod.spec, "model.storageUri") or "")
        place = f"{pod.path}.model.storageUri"
        if uri.startswith(_MOUNTED):
            yield pod.owner, place, f"the model is at {uri.partition('://')[0]}://, and a container is to verify it"
        elif any(uri == each or uri.startswith(f"{each}/") for each in cached):
            yield pod.owner, place, "the model is in a LocalModelCache, and a container is to verify it"


RULES = (
    Rule(
        "verify-too-early",
        _early,
        "KServe fetches the model after all other init containers: this one finds an empty folder",
        "verify in a container beside the server, which waits for it: the component verified-models",
    ),
    Rule(
        "verify-unkeyed",
        _unkeyed,
        "checksums alone are compared, and who can write a model can write those too",
        "name the key that must have signed it: --public-key=/run/secrets/model-key/model.pub",
    ),
    Rule(
        "verified-unused",
        _unused,
        "the server loads what nobody has checked",
        "serve from the folder that --into names, and let the server wait until it is there",
    ),
    Rule(
        "verified-mounted",
        _mounted,
        "KServe mounts such a model into the server's container alone: the verifier finds none, and nothing is served",
        "let KServe fetch it (s3://, gs://, hf://, https://), or serve by the embedded predictor, which verifies",
    ),
)
