"""`headrace model archive`: a model of the repository goes to TorchServe, with its TorchScript, or is refused."""

import re
import shutil
import zipfile


def test_a_trained_model_is_archived(headrace, frame, tmp_path):
    headrace("train", "fraud", "--frame", frame, "--out", "models", "--torchscript", "fraud.pt")
    asked = ("--torchserve", "--torchscript", "fraud.pt", "--out", "served")
    output = headrace("model", "archive", "models/fraud", *asked, "--host", "0.0.0.0", "--workers", 2).output
    assert output.startswith("warning TorchServe is no longer maintained and gets no security patches: use Triton")
    assert re.search(r"archive fraud: served/model-store/fraud\.mar, within \de-\d\d of the repository's model", output)
    assert re.search(r"sha256 [0-9a-f]{64}", output)
    assert "model.pt" in zipfile.ZipFile(tmp_path / "served" / "model-store" / "fraud.mar").namelist()
    assert (
        "inference_address=http://0.0.0.0:8080\n" in (tmp_path / "served" / "config" / "config.properties").read_text()
    )
    assert not list((tmp_path / "models").rglob("*.pt")), "a repository holds no code"

    headrace("train", "fraud", "--frame", frame, "--out", "models", "--seed", 5)
    assert headrace("model", "archive", "models/fraud", "1", *asked).output
    refused = headrace("model", "archive", "models/fraud", "candidate", *asked, code=1).output
    assert "needs at most 1e-05: it is of another training" in refused

    shutil.rmtree("models")
    assert "there is no model at models/fraud" in headrace("model", "archive", "models/fraud", *asked, code=1).output


def test_torchscript_needs_a_frame(headrace):
    asked = ("--from", "hopsworks", "--out", "models", "--torchscript", "fraud.pt")
    assert "--torchscript needs a frame: --frame FILE" in headrace("train", "fraud", *asked, code=2).output
