"""Model directories made to do harm: each is refused by name, by whoever reads it, though its checksums agree."""

import errno
import json
import os

import onnx
import pytest
from onnx import TensorProto, helper

from predictor.repository import ModelRefused, verified, write_model
from tests.predictor.small_models import relisted, write


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "repository")


def refusal(model):
    with pytest.raises(ModelRefused) as refused:
        verified(model)
    return str(refused.value)


def manifest_of(model):
    return json.loads((model / "headrace.json").read_text())


def put_manifest(model, manifest):
    (model / "headrace.json").write_text(json.dumps(manifest))


def test_a_link_to_a_file_elsewhere(model, tmp_path):
    elsewhere = tmp_path / "model.onnx"
    (model / "1" / "model.onnx").rename(elsewhere)
    (model / "1" / "model.onnx").symlink_to(elsewhere)
    assert refusal(model) == "model 'small' holds 1/model.onnx, a link to elsewhere, needs the file itself"


def test_a_link_to_a_folder_elsewhere(model, tmp_path):
    (model / "1").rename(tmp_path / "1")
    (model / "1").symlink_to(tmp_path / "1")
    assert refusal(model) == "model 'small' holds 1, a link to elsewhere, needs the file itself"


def test_a_link_that_leads_nowhere(model):
    (model / "2").symlink_to("nowhere")
    assert refusal(model) == "model 'small' holds 2, a link to elsewhere, needs the file itself"


def test_the_model_itself_may_be_reached_by_a_link(model, tmp_path):
    (tmp_path / "small").symlink_to(model)
    assert verified(tmp_path / "small").production == 1


def test_a_folder_that_cannot_be_looked_into(model, monkeypatch):
    def scandir(path):
        if os.fspath(path).endswith("/1"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    assert refusal(model) == "model 'small' cannot be read: Permission denied"


def test_a_pipe(model):
    os.mkfifo(model / "config.backup")
    assert refusal(model) == "model 'small' holds config.backup, which is no file, needs files alone"


@pytest.mark.parametrize("beginning", [b"\x80\x04\x95", b"PK\x03\x04", b"\x7fELF"])
def test_a_file_that_can_run_code_by_its_first_bytes_though_it_is_listed(model, beginning):
    (model / "1" / "model.onnx").write_bytes(beginning + b"more")
    relisted(model, "1/model.onnx")
    assert refusal(model) == "model 'small' holds 1/model.onnx, a file that can run code when loaded, needs ONNX"


@pytest.mark.parametrize("name", ["1/model.py", "1/model.plan", "1/libops.so", "1/model.PT", "model.joblib"])
def test_a_file_that_can_run_code_by_its_name_though_it_is_listed(model, name):
    (model / name).write_text("anything")
    relisted(model, name)
    assert refusal(model) == f"model 'small' holds {name}, a file that can run code when loaded, needs ONNX"


def keeping_weights_in(location):
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=location)
    return helper.make_model(helper.make_graph([], "g", [], [], [weights])).SerializeToString()


@pytest.mark.parametrize("location", ["../../../etc/passwd", "/etc/passwd", "weights.bin"])
def test_weights_that_lie_outside_the_model_file(model, location):
    (model / "1" / "model.onnx").write_bytes(keeping_weights_in(location))
    relisted(model, "1/model.onnx")
    assert refusal(model) == (
        f"1/model.onnx of model 'small' keeps weights in {location!r}, needs them in the file itself"
    )


def test_weights_beside_the_model_file_even_if_they_are_listed(model):
    (model / "1" / "model.onnx").write_bytes(keeping_weights_in("weights.bin"))
    (model / "1" / "weights.bin").write_bytes(b"\0" * 4)
    relisted(model, "1/model.onnx", "1/weights.bin")
    assert "keeps weights in 'weights.bin', needs them in the file itself" in refusal(model)


def test_a_model_is_not_written_either_that_keeps_weights_elsewhere(model):
    with pytest.raises(ModelRefused, match=r"2/model.onnx of model 'small' keeps weights in 'w.bin'"):
        write_model(model.parent, "small", keeping_weights_in("w.bin"), fingerprint="0", columns=[], outputs=[])


def test_a_model_that_is_cut_though_it_is_listed(model):
    content = onnx.helper.make_model(helper.make_graph([], "g" * 200, [], [])).SerializeToString()
    (model / "1" / "model.onnx").write_bytes(content[:-20])
    relisted(model, "1/model.onnx")
    assert refusal(model) == "1/model.onnx of model 'small' is no ONNX file: it ends within a field"


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ('backend: "onnxruntime"', 'backend: "python"', "has backend 'python', needs 'onnxruntime'"),
        ('platform: "onnxruntime_onnx"', 'platform: "ensemble"', "has platform 'ensemble'"),
        ('name: "small"', 'name: "large"', "has name 'large', needs 'small'"),
        ("versions: [ 1 ]", "versions: [ 1, 2 ]", "has version_policy {'specific': {'versions': [1, 2]}}, needs"),
        ("max_batch_size", 'default_model_filename: "../x" max_batch_size', "has default_model_filename, needs the"),
        ("max_batch_size", 'runtime: "x.so" max_batch_size', "has runtime, needs the fields that"),
        ("max_batch_size", "<", "cannot be read: line 4: found '<', needs a field"),
        ('backend: "onnxruntime"', 'backend: "onnxruntime" backend: "python"', "cannot be read: line 3: backend must"),
    ],
)
def test_a_configuration_that_would_load_something_else(model, written, instead, said):
    path = model / "config.pbtxt"
    text = path.read_text()
    assert written in text
    path.write_text(text.replace(written, instead, 1))
    relisted(model, "config.pbtxt")
    assert refusal(model).startswith("config.pbtxt of model 'small' ")
    assert said in refusal(model)


@pytest.mark.parametrize(
    ("aliases", "said"),
    [
        ("{}", "model 'small' has no version in production, needs one in its aliases.json"),
        ('{"production": 7}', "model 'small' has production 7, needs one of its versions 1"),
        ('{"production": "x"}', "model 'small' has production 'x', needs a positive whole number"),
        ('{"production": true}', "model 'small' has production True, needs a positive whole number"),
        ("[1]", "aliases.json of model 'small' is no object"),
        ("{", "aliases.json of model 'small' is not JSON: it is half written"),
    ],
)
def test_aliases_of_nothing(model, aliases, said):
    (model / "aliases.json").write_text(aliases)
    relisted(model, "aliases.json")
    assert said in refusal(model)


def test_a_listed_path_that_leads_out_of_the_directory(model):
    manifest = manifest_of(model)
    manifest["files"]["../../secret"] = "0" * 64
    put_manifest(model, manifest)
    assert "lacks ../../secret, which its headrace.json lists" in refusal(model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(files=[]), "whose files is no object, needs one"),
        (lambda m: m.update(serving={"max_batch_size": 0}), "whose serving cannot be read: max_batch_size is 0"),
        (lambda m: m.update(serving={"gpu": 1}), "whose serving cannot be read: "),
        (lambda m: m.update(versions={"../1": m["versions"]["1"]}), "has version '../1', needs a positive whole"),
        (lambda m: m.update(versions={"1": []}), "for version 1, needs all of its fields"),
        (lambda m: m["versions"]["1"].update(columns={}), "whose columns of version 1 is no list, needs one"),
        (lambda m: m["versions"]["1"].update(columns=[1]), "with a column or output without a name, needs it"),
        (lambda m: m["versions"]["1"].pop("metrics"), "without metrics for version 1, needs all of its fields"),
        (lambda m: m["files"].pop("config.pbtxt"), "holds config.pbtxt, which its headrace.json does not list"),
        (lambda m: m["versions"].update({"2": m["versions"]["1"]}), "does not list 2/model.onnx, needs it"),
        (lambda m: m.update(name="other"), "has name 'small', needs 'other'"),
    ],
)
def test_a_manifest_of_another_shape(model, change, said):
    manifest = manifest_of(model)
    change(manifest)
    put_manifest(model, manifest)
    assert said in refusal(model)


def test_a_manifest_as_it_was_written_before_there_were_versions(model):
    manifest = manifest_of(model)
    put_manifest(model, {"name": "small", "version": "1", "files": manifest["files"], **manifest["versions"]["1"]})
    assert refusal(model) == "model 'small' has a headrace.json without serving, versions, needs all of its fields"
