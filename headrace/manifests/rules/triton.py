"""Triton: its version, and flags that open it to anybody or let it call itself ready too early."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look
from headrace.manifests.workloads import Manifests

_OLDEST_TRITON = (26, 4)
_OPEN = {"model-control-mode": ("explicit", "poll")}
_LENIENT = {"strict-readiness": ("false", "0"), "exit-on-error": ("false", "0")}
_RESTRICTED = ("http-restricted-api", "grpc-restricted-protocol")
_APIS = ("model-repository", "shared-memory")


def _triton_version(manifests: Manifests) -> Iterator[Spot]:
    for container in manifests.containers:
        image = str(container.spec.get("image") or "")
        tag = re.search(r"tritonserver:(\d\d)\.(\d\d)\b", image)
        if tag and (int(tag[1]), int(tag[2])) < _OLDEST_TRITON:
            yield container.owner, f"{container.path}.image", f"the image is Triton {tag[1]}.{tag[2]}"
    for service, path, predictor in manifests.predictors():
        said = re.match(r"(\d\d)\.(\d\d)\b", str(look(predictor, "model.runtimeVersion") or ""))
        if said and (int(said[1]), int(said[2])) < _OLDEST_TRITON:
            yield service, f"{path}.model.runtimeVersion", f"the version is {said[0]}"


def _triton_flags(manifests: Manifests, refused: Mapping[str, tuple[str, ...]]) -> Iterator[Spot]:
    for _, container in manifests.running("triton"):
        for flag, values in refused.items():
            if (said := container.flag(flag)) is not None and said.lower() in values:
                yield container.owner, f"{container.path}.args", f"--{flag} is {said}"


def _control(manifests: Manifests) -> Iterator[Spot]:
    return _triton_flags(manifests, _OPEN)


def _readiness(manifests: Manifests) -> Iterator[Spot]:
    return _triton_flags(manifests, _LENIENT)


def _unrestricted(manifests: Manifests) -> Iterator[Spot]:
    for _, container in manifests.running("triton"):
        for flag in _RESTRICTED:
            said = [api for each in container.flags(flag) for api in each.partition(":")[0].split(",")]
            if absent := [api for api in _APIS if api not in said]:
                yield container.owner, f"{container.path}.args", f"--{flag} does not name {' and '.join(absent)}"


RULES = (
    Rule(
        "triton-version",
        _triton_version,
        "older images have known vulnerabilities, and other semantics than these manifests were made for",
        "use nvcr.io/nvidia/tritonserver 26.04 or newer, by its exact tag or digest",
    ),
    Rule(
        "triton-control-mode",
        _control,
        "whoever reaches the port can load and unload models, or a half-written model is loaded",
        "start Triton with --model-control-mode=none",
    ),
    Rule(
        "triton-readiness",
        _readiness,
        "Triton calls itself ready with a model that did not load, and is sent requests",
        "leave the flag away: readiness is strict, and a failed model ends the start",
    ),
    Rule(
        "triton-api-open",
        _unrestricted,
        "whoever reaches the port may map shared memory and ask for models to be loaded",
        f"restrict {' and '.join(_APIS)} by --{_RESTRICTED[0]} and --{_RESTRICTED[1]}, with a key",
    ),
)
