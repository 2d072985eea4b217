"""Training into a repository that has the model already: a further version, which waits unless it is promoted."""

from __future__ import annotations

from predictor.repository import verified
from predictor.versions import promote
from tests.predictor.small_models import keys


def test_a_model_that_is_trained_again_is_candidate_and_production_when_it_is_told_to(headrace, frame, tmp_path):
    models = tmp_path / "models"
    asked = ("train", "fraud", "--frame", frame, "--out", models)
    assert f"{models / 'fraud'}, version 1, production, fingerprint" in headrace(*asked).output
    assert f"{models / 'fraud'}, version 2, candidate, fingerprint" in headrace(*asked, "--seed", 4).output
    assert verified(models / "fraud").aliases == {"production": 1, "candidate": 2}
    headrace("model", "sign", models / "fraud", "--key", keys(tmp_path / "keys")[0])
    output = headrace(*asked, "--promote", "--accelerator", "tensorrt-fp16").output
    assert "; model.sig is gone, since it no longer holds: sign the model again" in " ".join(output.split())
    assert "version 3, production, fingerprint" in output
    found = verified(models / "fraud")
    assert found.aliases == {"production": 3, "candidate": 2, "previous": 1}
    assert found.models[1] != found.models[2]
    assert 'name: "tensorrt"' in (models / "fraud" / "config.pbtxt").read_text()

    promote(models / "fraud", 2)
    (models / "fraud" / "1" / "notes.txt").write_text("notes")
    output = headrace(*asked, code=1).output
    assert "holds 1/notes.txt, which its headrace.json does not list" in output
    assert [path.name for path in models.iterdir()] == ["fraud"]
