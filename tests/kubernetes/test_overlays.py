"""The project's own overlays and components, applied to the server and taken back, as a platform team would."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.manifests.documents import read_objects
from headrace.manifests.kubectl import fetch_kubectl

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "manifests" / "golden"
OVERLAYS = ("laptop", "staging", "production")
COMPONENTS = (
    "collocated+canary-standard",
    "knative+scale-to-zero",
    "spark-pipeline",
    "flink-pipeline",
    "keda-autoscaling",
)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_applied_and_gets_ready(manifests, overlay):
    path = GOLDEN / f"{overlay}.yaml"
    said = manifests("apply", path, "--settle", 0, "--timeout", 30).output
    assert "fraud is ready: revision 1, model 1, view " in said
    space = next(each["metadata"]["name"] for each in read_objects(path) if each["kind"] == "Namespace")
    assert f"namespace {space}\n" in said
    rows = manifests("status", "-n", space).output.splitlines()
    assert any(row.startswith("fraud predictor") for row in rows)
    manifests("diff", path)


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_is_taken_by_the_cluster(manifests, component):
    path = GOLDEN / "components" / f"{component}.yaml"
    said = manifests("apply", path, "--name", "fraud", "--settle", 0, "--timeout", 30).output
    assert "fraud is ready: revision 1" in said


def test_an_overlays_folder_is_rendered_and_applied(manifests, monkeypatch):
    monkeypatch.setenv("HEADRACE_KUBECTL", str(fetch_kubectl()))
    said = manifests("apply", ROOT / "manifests" / "overlays" / "laptop", "--dry-run").output
    rendered = manifests("apply", GOLDEN / "laptop.yaml", "--dry-run").output
    assert said == rendered
    assert said.endswith("the cluster would take all of it; nothing was changed\n")
