"""The project's own overlays, applied to a real API server, looked at, changed by hand and taken back."""

from __future__ import annotations

import pytest

from headrace.manifests.documents import write_yaml
from tests.kubernetes.real.older import for_server
from tests.kubernetes.real.renders import whole
from tests.kubernetes.real.test_renders import UNDEFINED
from tests.kubernetes.test_overlays import OVERLAYS
from tests.manifests.golden import GOLDEN


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_applied_gets_ready_and_changes_nothing_twice(manifests, stand_in, tmp_path, overlay):
    known = [each for each in whole(GOLDEN / f"{overlay}.yaml") if each["kind"] not in UNDEFINED]
    path = tmp_path / "overlay.yaml"
    path.write_text(write_yaml([for_server(each, stand_in.minor)[0] for each in known]))
    said = manifests("apply", path, "--settle", 0, "--timeout", 120).output
    assert "fraud is ready: revision 1, model 1, view " in said
    assert "warning" not in said
    space = next(each["metadata"]["name"] for each in known if each["kind"] == "Namespace")
    rows = manifests("status", "-n", space).output.splitlines()
    assert any(row.startswith("fraud predictor") for row in rows)
    assert manifests("diff", path).output.startswith(f"0 objects of {len(known)} would change in ")
    assert "nothing to do: fraud is as declared and ready" in manifests("apply", path, "--settle", 0).output
