"""Predictors: which runtime serves, where the model comes from, and of which view it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import annotation, look, mapping, mappings, texts
from headrace.manifests.workloads import RUNTIMES, Manifests, mode_of

FINGERPRINT = "headrace.dev/fingerprint"
_RELEASE = ("headrace.dev/model-version", "headrace.dev/functions")
_KSERVE_TRITON = "kserve-tritonserver"
_LEGACY = ("triton", "pytorch", "sklearn", "xgboost", "tensorflow", "onnx", "pmml", "lightgbm", "paddle", "huggingface")
_SCHEMES = ("gs", "s3", "pvc", "file", "https", "http", "hdfs", "webhdfs", "oci", "hf")
_HEX = re.compile(r"[0-9a-f]{64}")


def _format(predictor: dict[str, Any]) -> str:
    legacy = next((name for name in _LEGACY if isinstance(predictor.get(name), dict)), "")
    return str(look(predictor, "model.modelFormat.name") or legacy)


def _torchserve(manifests: Manifests) -> Iterator[Spot]:
    for service, path, predictor in manifests.predictors():
        if _format(predictor) == "pytorch" and not look(predictor, "model.runtime"):
            yield service, f"{path}.model.runtime", "a model of format pytorch names no runtime"


def _implicit(manifests: Manifests) -> Iterator[Spot]:
    for service, path, predictor in manifests.predictors():
        kind = _format(predictor)
        if kind and kind != "pytorch" and not look(predictor, "model.runtime"):
            yield service, f"{path}.model.runtime", f"a model of format {kind} names no runtime"


def _cluster_runtime(manifests: Manifests) -> Iterator[Spot]:
    for service, path, predictor in manifests.predictors():
        if look(predictor, "model.runtime") == _KSERVE_TRITON and manifests.runtime_of(service, predictor) is None:
            yield service, f"{path}.model.runtime", f"the runtime is {_KSERVE_TRITON}, KServe's own"


def _runtime_ports(manifests: Manifests) -> Iterator[Spot]:
    for pod in manifests.pods:
        # Of a pod's containers Knative lets one have ports, which may be the transformer's.
        elsewhere = mode_of(pod.owner) == "Knative" and any(each.ports for each in pod.main)
        for container in pod.main:
            if container.name != "kserve-container":  # what stands beside the server answers nobody
                continue
            if container.owner.get("kind") in RUNTIMES and not container.ports and not elsewhere:
                yield container.owner, f"{container.path}.ports", f"container {container.name} lists no port"


def _unfit(manifests: Manifests) -> Iterator[Spot]:
    for service, path, predictor in manifests.predictors():
        spec = mapping(look(manifests.runtime_of(service, predictor) or {}, "spec"))
        if not spec:
            continue
        formats = [str(each.get("name")) for _, each in mappings(spec.get("supportedModelFormats"))]
        protocols = texts(spec.get("protocolVersions"))
        kind, protocol = _format(predictor), str(look(predictor, "model.protocolVersion") or "")
        if formats and kind not in formats:
            yield service, f"{path}.model.modelFormat", f"the runtime serves {', '.join(formats)}, the model is {kind}"
        if protocols and protocol and protocol not in protocols:
            found = f"the runtime speaks {', '.join(protocols)}, {protocol} is asked for"
            yield service, f"{path}.model.protocolVersion", found


def _cache(manifests: Manifests) -> Iterator[Spot]:
    served = [str(look(predictor, "model.storageUri")) for _, _, predictor in manifests.predictors()]
    for cache in manifests.of_kind("LocalModelCache"):
        uri = str(look(cache, "spec.sourceModelUri"))
        if served and not any(each == uri or each.startswith(f"{uri}/") for each in served):
            yield cache, "spec.sourceModelUri", "no predictor of these manifests serves that model"


def _storage(manifests: Manifests) -> Iterator[Spot]:
    for service, path, predictor in manifests.predictors():
        given = [
            name
            for name, value in (
                ("model.storageUri", look(predictor, "model.storageUri")),
                ("model.storage", look(predictor, "model.storage")),
                ("storageUris", predictor.get("storageUris")),
            )
            if value
        ]
        if len(given) > 1:
            yield service, f"{path}.{given[1]}", f"{' and '.join(given)} are both there"


def _scheme(manifests: Manifests) -> Iterator[Spot]:
    for service, path, predictor in manifests.predictors():
        uris = [(f"{path}.model.storageUri", look(predictor, "model.storageUri"))]
        uris += [
            (f"{path}.storageUris[{n}].uri", each.get("uri")) for n, each in mappings(predictor.get("storageUris"))
        ]
        for place, uri in uris:
            scheme, sign, rest = str(uri or "").partition("://")
            if uri and (scheme not in _SCHEMES or not sign or not rest):
                yield service, place, f"the URI begins with {scheme if sign else 'no scheme'!r}"


def _transformer_storage(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if look(service, "spec.transformer.storageUris"):
            yield service, "spec.transformer.storageUris", "the transformer has storageUris"
    for pod in manifests.pods:
        for container in pod.main:
            if pod.component == "transformer" or container.name == "transformer-container":
                for at, variable in container.env:
                    if variable.get("name") == "STORAGE_URI":
                        yield container.owner, f"{container.path}.env[{at}]", "the transformer has STORAGE_URI"


def _fingerprints(manifests: Manifests) -> Iterator[tuple[Any, str, str]]:
    for service in manifests.services:
        yield service, f"metadata.annotations.{FINGERPRINT}", annotation(service, FINGERPRINT)
    for service, path, predictor in manifests.predictors():
        said = mapping(predictor.get("annotations")).get(FINGERPRINT, "")
        yield service, f"{path}.annotations.{FINGERPRINT}", str(said)


def _untold(manifests: Manifests) -> Iterator[Spot]:
    for service, path, said in _fingerprints(manifests):
        if not said:
            yield service, path, "the fingerprint is absent"


def _release(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        if not annotation(service, FINGERPRINT):
            continue  # the fingerprint comes first
        for name in _RELEASE:
            if not annotation(service, name):
                yield service, f"metadata.annotations.{name}", f"{name} is absent"


def _malformed(manifests: Manifests) -> Iterator[Spot]:
    for service, path, said in _fingerprints(manifests):
        if said and not _HEX.fullmatch(said):
            yield service, path, f"the fingerprint is {said[:16]!r}..., {len(said)} characters"


def _differs(manifests: Manifests) -> Iterator[Spot]:
    for service in manifests.services:
        told = [(path, said) for owner, path, said in _fingerprints(manifests) if owner is service and said]
        own = mapping(look(service, "spec.transformer.annotations")).get(FINGERPRINT)
        if own:
            told.append((f"spec.transformer.annotations.{FINGERPRINT}", str(own)))
        for path, said in told[1:]:
            if said != told[0][1]:
                yield (
                    service,
                    path,
                    f"the fingerprint is {said[:16]}, that of {told[0][0].rpartition('.')[0]} {told[0][1][:16]}",
                )


RULES = (
    Rule(
        "implicit-torchserve",
        _torchserve,
        "KServe chooses TorchServe, which upstream has ended and gives no more security patches",
        "name the runtime: headrace-triton serves ONNX and TorchScript",
    ),
    Rule(
        "implicit-runtime",
        _implicit,
        "KServe chooses a runtime of the cluster, and another one the day that the cluster has another",
        "name the runtime in spec.predictor.model.runtime",
    ),
    Rule(
        "cluster-runtime",
        _cluster_runtime,
        "it declares neither ports nor probes, and its image is the cluster's to choose",
        "ship a ServingRuntime of your own, such as headrace-triton, and name that",
    ),
    Rule(
        "runtime-ports",
        _runtime_ports,
        "KServe maps the Service to the first port listed; without one it guesses 8080, where nothing listens",
        "list the ports, first the one that the transformer calls",
    ),
    Rule("storage-twice", _storage, "KServe's webhook refuses both together", "keep one way to name the model"),
    Rule(
        "storage-scheme",
        _scheme,
        "no storage initialiser knows the scheme, and the pod never starts",
        f"use one of {', '.join(each + '://' for each in _SCHEMES)}",
    ),
    Rule(
        "storage-in-transformer",
        _transformer_storage,
        "KServe's webhook refuses storage for a transformer: the model belongs to the predictor",
        "name the model in spec.predictor.model.storageUri",
    ),
    Rule(
        "fingerprint-missing",
        _untold,
        "nobody can tell which feature view the model was trained on, nor restore the two together",
        f"annotate the InferenceService and spec.predictor with {FINGERPRINT} from the model's headrace.json",
    ),
    Rule(
        "release-untold",
        _release,
        "`status` and `rollback` cannot say which model and which functions a release has",
        f"annotate the InferenceService with {' and '.join(_RELEASE)}; `headrace manifests release` says them",
    ),
    Rule(
        "fingerprint-malformed",
        _malformed,
        "it is no fingerprint, so it equals that of no view",
        "copy the 64 hexadecimal digits from the model's headrace.json",
    ),
    Rule(
        "fingerprint-differs",
        _differs,
        "the transformer refuses to be ready before a model of another view",
        "deploy a transformer and a model of one view, and say its fingerprint everywhere",
    ),
    Rule(
        "runtime-unfit",
        _unfit,
        "KServe refuses the InferenceService, or starts a server that cannot read the model",
        "name a runtime that lists the model's format and the protocol",
    ),
    Rule(
        "cache-unused",
        _cache,
        "the nodes keep one model on their disks, and pods fetch another one from afar",
        "let sourceModelUri be the storageUri of the predictor",
    ),
)
