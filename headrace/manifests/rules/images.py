"""Images: that there is one, and that its name says for ever which."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headrace.manifests.documents import Object
from headrace.manifests.findings import Rule, Spot
from headrace.manifests.objects import look
from headrace.manifests.workloads import Manifests

#: Where kinds that are no pods keep an image.
_ELSEWHERE = {
    "ClusterStorageContainer": "spec.container.image",
    "SparkApplication": "spec.image",
    "FlinkDeployment": "spec.image",
}
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
#: Three numbers, or NVIDIA's year and month, or enough of a commit's hash to be one.
_EXACT = re.compile(r"v?\d+\.\d+\.\d+.*|\d\d\.\d\d(-.*)?|(.*-)?[0-9a-f]{12,64}")


def _images(manifests: Manifests) -> Iterator[tuple[Object, str, str]]:
    for container in manifests.containers:
        yield container.owner, f"{container.path}.image", str(container.spec.get("image") or "")
    for kind, path in _ELSEWHERE.items():
        for owner in manifests.of_kind(kind):
            yield owner, path, str(look(owner, path) or "")


def _tag(image: str) -> str:
    return image.rpartition("/")[2].partition("@")[0].partition(":")[2]


def _absent(manifests: Manifests) -> Iterator[Spot]:
    for owner, path, image in _images(manifests):
        if not image:
            yield owner, path, "there is no image"


def _latest(manifests: Manifests) -> Iterator[Spot]:
    for owner, path, image in _images(manifests):
        tag = _tag(image)
        if image and not _DIGEST.search(image) and (not tag or "latest" in tag):
            yield owner, path, f"the image is {image}, {'without a tag' if not tag else 'a tag that moves'}"


def _inexact(manifests: Manifests) -> Iterator[Spot]:
    for owner, path, image in _images(manifests):
        tag = _tag(image)
        if tag and "latest" not in tag and not _DIGEST.search(image) and not _EXACT.fullmatch(tag):
            yield owner, path, f"the tag is {tag}"


RULES = (
    Rule(
        "image-missing",
        _absent,
        "the pod cannot start; an overlay's strategic merge replaces a CRD's whole list of containers and loses it",
        "give the container an image; patch lists of CRDs by JSON6902",
    ),
    Rule(
        "image-latest",
        _latest,
        "two pods of one Deployment may run different programs, and nobody can go back to the former one",
        "name the image by its exact version or its digest, in one `images:` block",
    ),
    Rule(
        "image-inexact",
        _inexact,
        "a tag that is no full version moves with every release",
        "name the image by its exact version (1.2.3, 26.04-py3) or its digest",
    ),
)
