"""`headrace model versions, promote, rollback, remove, config, sign, verify` on a directory with real models in it."""

from __future__ import annotations

import json
import shutil

import pytest

from predictor.repository import verified, write_model
from tests.headrace.hopsworks.registered import VIEW, small_model
from tests.predictor.small_models import keys, onnx_of, write


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """A model with two versions of one network, not to be changed."""
    model = small_model(tmp_path_factory.mktemp("models"))
    content = (model / "1" / "model.onnx").read_bytes()
    told = {"fingerprint": VIEW.fingerprint, "columns": VIEW.describe(), "outputs": ["p"]}
    return write_model(model.parent, "small", content, **told, metrics={"roc_auc": 0.75})


@pytest.fixture
def model(twice, tmp_path):
    return shutil.copytree(twice, tmp_path / "small")


def test_versions_are_listed_with_aliases_and_metrics(headrace, model):
    write(model.parent, b"wide", columns=5, fingerprint="e" * 64)
    lines = headrace("model", "versions", model).output.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:4] == ["1", "production", "served", VIEW.fingerprint[:16]]
    assert "roc_auc 0.53" in lines[0]
    assert lines[1].split()[:3] == ["2", "-", "kept"]
    assert lines[2].split()[:4] == ["3", "candidate", "kept", "e" * 16]


def test_versions_are_told_to_programs(headrace, model):
    told = json.loads(headrace("model", "versions", model, "--json").output)
    assert (told["name"], told["aliases"]) == ("small", {"production": 1, "candidate": 2})
    assert (told["served"], told["signed"]) == ([1, 2], False)
    assert told["versions"]["2"] == {"fingerprint": VIEW.fingerprint, "metrics": {"roc_auc": 0.75}, "trained_on": {}}


def test_a_candidate_is_promoted_and_rolled_back(headrace, model):
    assert headrace("model", "promote", model).output == "version 2 of small is production, was 1\n"
    assert json.loads((model / "aliases.json").read_text()) == {"production": 2, "previous": 1}
    assert headrace("model", "rollback", model).output == "version 1 of small is production again, was 2\n"
    assert headrace("model", "promote", model, "2", "--as", "candidate").output == "version 2 of small is candidate\n"
    assert verified(model).aliases == {"production": 1, "previous": 2, "candidate": 2}
    assert headrace("model", "remove", model, 2).output == "version 2 of small is removed\n"
    assert verified(model).aliases == {"production": 1}


def test_a_version_that_cannot_be_run_is_not_promoted(headrace, model):
    directory = write(model.parent, b"no network", fingerprint=VIEW.fingerprint)
    assert directory == model
    output = headrace("model", "promote", model, code=1).output
    assert "version 3 of model 'small' cannot be run: the file is not an ONNX model" in output
    content = (model / "1" / "model.onnx").read_bytes()
    write_model(model.parent, "small", content, fingerprint="e" * 64, columns=VIEW.describe(), outputs=["p"])
    output = headrace("model", "promote", model, 4, code=1).output
    assert f"version 4 of model 'small' has fingerprint '{VIEW.fingerprint}' in its file and 'eeee" in output
    assert verified(model).production == 1


def test_what_is_not_there_is_refused_in_one_line(headrace, model, tmp_path):
    said = "Error: model 'small' has no version 7, needs one of 1, 2 (production 1, candidate 2)\n"
    for command in ("promote", "remove"):
        assert headrace("model", command, model, 7, code=1).output == said
    assert "has no alias 'champion'" in headrace("model", "promote", model, "champion", code=1).output
    assert "has no previous version" in headrace("model", "rollback", model, code=1).output


def test_a_folder_that_is_no_models_says_which_are(headrace, model, tmp_path):
    absent = tmp_path / "absent"
    needs = "name a model's folder, such as models/fraud, or train one first"
    assert headrace("model", "versions", absent, code=1).output == f"Error: there is no model at {absent}: {needs}\n"
    output = headrace("model", "verify", model.parent, code=1).output
    assert output == f"Error: {model.parent} is a repository, needs the folder of a model in it: {model}\n"


def test_the_configuration_is_printed_and_written_anew(headrace, model):
    before = headrace("model", "config", model).output
    assert before == (model / "config.pbtxt").read_text()
    given = ("--accelerator", "tensorrt-fp16", "--queue-size", 8, "--preferred-batch-size", 16, "--instances", 2)
    output = headrace("model", "config", model, *given).output
    assert output == (model / "config.pbtxt").read_text()
    for said in ('name: "tensorrt"', 'value: "FP16"', "max_queue_size: 8", "preferred_batch_size: [ 16 ]", "count: 2"):
        assert said in output
    assert headrace("model", "config", model, "--accelerator", "none").output.count("tensorrt") == 0
    output = headrace("model", "config", model, "--queue-size", 0, code=2).output
    assert "max_queue_size is 0, needs at least 1" in output


def test_a_model_is_signed_verified_and_signed_again(headrace, model, tmp_path):
    key, public = keys(tmp_path)
    assert "model small is whole: 4 files, production is version 1\n" in headrace("model", "verify", model).output
    output = headrace("model", "verify", model, "--public-key", public, code=1).output
    assert output == "Error: model 'small' has no signature, needs one by the key of 'team.pub'\n"
    assert headrace("model", "sign", model, "--key", key).output == "model small is signed, versions 1, 2\n"
    output = headrace("model", "verify", model, "--public-key", public).output
    assert output == "model small is whole: 4 files, production is version 1, signed by the key of team.pub\n"
    assert "signature not looked at" in headrace("model", "verify", model).output
    output = headrace("model", "promote", model).output
    assert "model.sig is gone, since it no longer holds: sign the model again" in output
    output = headrace("model", "rollback", model, "--key", key, code=1).output
    assert "has no signature" in output
    assert "nothing was changed" in output
    headrace("model", "sign", model, "--key", key)
    assert "is gone" not in headrace("model", "rollback", model, "--key", key).output
    assert verified(model, public).production == 1


def test_a_keys_password_is_read_from_the_environment(headrace, model, tmp_path, monkeypatch):
    key, public = keys(tmp_path, password="open sesame")
    output = headrace("model", "sign", model, "--key", key, code=1).output
    assert "key 'team.key' cannot sign" in output
    monkeypatch.setenv("HEADRACE_SIGNING_PASSWORD", "open sesame")
    headrace("model", "sign", model, "--key", key)
    assert verified(model, public).signed


def test_a_key_of_another_kind_is_named(headrace, model, tmp_path):
    key, public = keys(tmp_path, kind="rsa")
    output = headrace("model", "sign", model, "--key", key, code=1).output
    assert output == "Error: key 'team.key' cannot sign: it is of RSA, needs a private key of P-256, P-384 or P-521\n"
    headrace("model", "sign", model, "--key", keys(tmp_path / "other")[0])
    output = headrace("model", "verify", model, "--public-key", public, code=1).output
    assert output == "Error: public key 'team.pub' is of RSA, needs one of P-256, P-384 or P-521\n"


def test_what_was_altered_is_named(headrace, model):
    (model / "2" / "model.onnx").write_bytes(onnx_of(b"evil"))
    assert "2/model.onnx of model 'small' has SHA-256" in headrace("model", "verify", model, code=1).output


def test_a_change_of_view_is_said(headrace, model):
    other = small_model(model.parent / "other", seed=4)
    content = (other / "1" / "model.onnx").read_bytes().replace(VIEW.fingerprint.encode(), b"e" * 64)
    write_model(model.parent, "small", content, fingerprint="e" * 64, columns=VIEW.describe(), outputs=["p"])
    output = headrace("model", "promote", model).output
    assert (
        f"it was trained on view {'e' * 16}, version 1 on {VIEW.fingerprint[:16]}: roll out its transformer" in output
    )
