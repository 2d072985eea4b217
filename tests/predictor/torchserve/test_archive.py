"""An archive is the repository's model, proved to be, and its settings let nothing else in."""

import json
import warnings
import zipfile

import pytest
import torch
from torch import nn

from predictor.reference import rows_like
from predictor.repository import ModelRefused
from predictor.torchscript import Script, save_torchscript
from predictor.torchserve import Workers, config_properties, write_archive


class WithoutBias(nn.Module):
    """The small module less its bias: another training, as far as anybody can tell."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, features):
        return self.module(features) * 0.99


class Counting(nn.Module):
    """Answers by how many rows there are, which a trace cannot hold."""

    def forward(self, features):
        return features[:, 0] * features.shape[0] if features.shape[0] > 2 else features[:, 0]


def properties(text):
    return dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))


def test_an_archive_holds_what_torchserve_looks_for(archived, small):
    with zipfile.ZipFile(archived / "model-store" / "small.mar") as mar:
        described = json.loads(mar.read("MAR-INF/MANIFEST.json"))["model"]
        said = json.loads(mar.read("headrace.json"))
        config = json.loads(mar.read("model-config.yaml"))
        names = set(mar.namelist())
    assert described == {
        "modelName": "small",
        "modelVersion": f"{small[0].version}.0",
        "serializedFile": "model.pt",
        "handler": "headrace_handler.py",
        "configFile": "model-config.yaml",
    }
    assert {described["serializedFile"], described["handler"], described["configFile"]} < names
    assert said == {"fingerprint": small[0].fingerprint, "columns": ["amount", "age", "visits"], "outputs": ["p"]}
    assert (config["batchSize"], config["minWorkers"]) == (16, 1)


def test_the_same_torchscript_gives_the_same_bytes(small, module, view, tmp_path):
    path = save_torchscript(module, view, ["p"], tmp_path / "new" / "small.pt")
    one, other = (write_archive(*small, Script.open(path), tmp_path / name) for name in ("one", "other"))
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.sha256 == other.sha256
    assert one.parity < 1e-6


def test_torchscript_of_another_training_is_refused(small, module, tmp_path):
    with pytest.raises(ModelRefused, match=r"differs from model 'small' by 0\.0\S+, needs at most 1e-05: it is of an"):
        write_archive(*small, WithoutBias(module), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("what", "fingerprint", "columns", "outputs"),
    [
        ("fingerprint 'other'", "other", None, ["p"]),
        (r"columns \['age', 'amount', 'visits'\]", None, ["age", "amount", "visits"], ["p"]),
        (r"outputs \['q'\]", None, None, ["q"]),
    ],
)
def test_torchscript_of_another_view_is_refused(small, module, view, tmp_path, what, fingerprint, columns, outputs):
    script = Script.of(module, fingerprint or view.fingerprint, columns or view.names, outputs)
    with pytest.raises(ModelRefused, match=rf"the TorchScript has {what}, model 'small' has .*same training"):
        write_archive(*small, script, tmp_path)


def test_a_module_whose_graph_depends_on_its_rows_is_refused(view):
    with pytest.raises(ModelRefused, match="answers 17 rows otherwise, needs one graph for all rows"):
        Script.of(Counting(), view.fingerprint, view.names, ["p"])


def test_a_file_that_is_none_is_refused(tmp_path):
    path = tmp_path / "small.pt"
    path.write_bytes(b"not a zip")
    with pytest.raises(ModelRefused, match=r"small\.pt is not TorchScript that torch \S+ reads"):
        Script.open(path)


def test_a_file_that_says_nothing_of_itself_is_refused(module, tmp_path):
    path = tmp_path / "mute.pt"
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(module, torch.zeros(2, 3)), str(path))
    with pytest.raises(ModelRefused, match=r"mute\.pt does not say its fingerprint, columns and outputs, needs them"):
        Script.open(path)


def test_the_settings_let_in_no_other_model():
    said = properties(config_properties("small", "0.0.0.0", Workers(2)))
    assert said["inference_address"] == "http://0.0.0.0:8080"
    assert said["management_address"] == "http://127.0.0.1:8081"
    assert said["grpc_management_address"] == "127.0.0.1"
    assert said["load_models"] == "small.mar"
    for name in ("enable_model_api", "enable_envvars_config", "install_py_dep_per_model"):
        assert said[name] == "false"


def test_the_settings_say_that_torchserve_has_ended():
    assert config_properties("small", "127.0.0.1").startswith("# TorchServe is no longer maintained")


def test_rows_that_look_like_the_training_lie_within_it(small, matrix):
    drawn = rows_like(small[0].reference, small[0].column_names, 500)
    assert drawn.shape == (500, 3)
    assert (drawn >= matrix.min(axis=0)).all()
    assert (drawn <= matrix.max(axis=0)).all()
