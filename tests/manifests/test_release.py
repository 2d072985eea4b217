"""The manifests in this tree serve the code of this tree: its view, its functions, its version, its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

import headrace
from applications.fraud.features import FRAUD_VIEW
from headrace.manifests.documents import Object
from tests.manifests.golden import COMBINATIONS, MANIFESTS, combined, whole

OVERLAYS = ("laptop", "staging", "production")
RELEASE = {"headrace.dev/fingerprint": FRAUD_VIEW.fingerprint, "headrace.dev/functions": FRAUD_VIEW.functions}


def one(objects: list[Object], kind: str, name: str = "fraud") -> Object:
    """Return the one object of a kind and name."""
    (found,) = [each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_names_the_view_and_the_functions_of_this_tree(overlay):
    objects = whole(f"overlays/{overlay}")
    release, service = one(objects, "ConfigMap", "fraud-release")["data"], one(objects, "InferenceService")
    said = {"headrace.dev/model-version": release["model-version"]}
    assert {f"headrace.dev/{name}": release[name] for name in ("fingerprint", "functions")} == RELEASE
    for place in (service["metadata"], service["spec"]["predictor"]):
        assert place["annotations"].items() >= {**said, "headrace.dev/fingerprint": release["fingerprint"]}.items()
    transformer = service["spec"].get("transformer") or service["spec"]["predictor"]
    assert transformer["annotations"].items() >= RELEASE.items()
    assert service["spec"]["predictor"]["model"]["storageUri"] == release["model-uri"]


def test_a_cache_is_of_the_release_and_of_no_namespace():
    objects = whole("overlays/production")
    cache, release = one(objects, "LocalModelCache", "fraud-1"), one(objects, "ConfigMap", "fraud-release")["data"]
    assert cache["spec"]["sourceModelUri"] == release["model-uri"]
    assert "namespace" not in cache["metadata"]
    rest = [each for each in objects if each["kind"] not in ("LocalModelCache", "Namespace")]
    assert {each["metadata"]["namespace"] for each in rest} == {"headrace"}


@pytest.mark.parametrize("components", [(), *COMBINATIONS], ids="+".join)
def test_every_image_is_of_an_exact_version_and_ours_of_this_one(components):
    images = set(images_of(combined(components)))
    assert images
    for image in images:
        name, _, tag = image.rpartition(":")
        assert any(sign.isdigit() for sign in tag), f"{image} names no version"
        assert not name.startswith("headrace") or tag == headrace.__version__


def images_of(value: object) -> list[str]:
    """Return every image that is named anywhere in objects."""
    if isinstance(value, list):
        return [image for item in value for image in images_of(item)]
    if not isinstance(value, dict):
        return []
    here = [value["image"]] if isinstance(value.get("image"), str) else []
    return here + [image for item in value.values() for image in images_of(item)]


def test_labels_tell_the_version_of_this_tree():
    written = [
        path for path in MANIFESTS.rglob("kustomization.yaml") if "app.kubernetes.io/version" in path.read_text()
    ]
    assert len(written) > 5
    for path in written:
        assert f"app.kubernetes.io/version: {headrace.__version__}" in path.read_text(), path


def test_a_configuration_that_changes_is_another_one_so_that_pods_are_made_anew():
    objects = whole("overlays/production")
    names = {each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"}
    assert {name.rpartition("-")[0] for name in names} >= {"fraud-transformer", "fraud-pipelines", "fraud-hopsworks"}
    used = {source["configMapRef"]["name"] for source in sources_of(objects)}
    assert used == {name for name in names if name.count("-") > 1 and "kafka-client" not in name}


def sources_of(objects: list[Object]) -> list[dict[str, dict[str, str]]]:
    """Return what containers take their environment from."""
    service = one(objects, "InferenceService")
    pods = [service["spec"]["transformer"], service["spec"]["predictor"]]
    pods += [each["spec"]["template"]["spec"] for each in objects if each["kind"] == "Deployment"]
    return [source for pod in pods for each in pod.get("containers", ()) for source in each.get("envFrom", ())]


def test_the_folder_tells_what_is_in_it():
    told = Path(MANIFESTS, "README.md").read_text("utf-8")
    for component in (MANIFESTS / "components").iterdir():
        assert f"`{component.name}`" in told, component.name
