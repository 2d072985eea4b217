"""What is rendered is what was looked at when it was committed; a change shows in it, whole."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from headrace.manifests.rendering import RenderFailed
from tests.manifests.golden import COMBINATIONS, GOLDEN, MANIFESTS, WHOLE, combined, goldens

FILES = [
    *(f"{Path(name).name}.yaml" for name in WHOLE),
    *(f"components/{'+'.join(components)}.yaml" for components in COMBINATIONS),
]


@cache
def rendered() -> dict[Path, str]:
    """Return every golden file as it would be written now."""
    return goldens()


@pytest.mark.parametrize("name", FILES)
def test_a_render_is_the_golden_one(name):
    kept = (GOLDEN / name).read_text("utf-8")
    assert rendered()[GOLDEN / name] == kept, "see what changed, then write it anew: python -m tests.manifests"


def test_there_is_a_golden_render_of_everything_and_none_of_anything_else():
    assert set(rendered()) == set(GOLDEN.rglob("*.yaml")) == {GOLDEN / name for name in FILES}
    used = {name for components in COMBINATIONS for name in components}
    assert used == {path.name for path in (MANIFESTS / "components").iterdir()}
    assert {
        path.parent.relative_to(MANIFESTS).as_posix() for path in MANIFESTS.glob("overlays/*/kustomization.yaml")
    } <= {*WHOLE}


@pytest.mark.parametrize(
    ("alone", "path"),
    [
        ("canary-standard", "/spec/predictor/containers/0/name"),
        ("canary-knative", "/metadata/annotations/serving.kserve.io~1deploymentMode"),
        ("scale-to-zero", "/metadata/annotations/serving.kserve.io~1deploymentMode"),
        ("embedded-store", "/spec/predictor/containers/0/name"),
    ],
)
def test_a_component_that_needs_another_is_refused_without_it(alone, path):
    with pytest.raises(RenderFailed, match=rf"(?s){alone}.*{path}"):
        combined((alone,))
