"""The model registry through the unmodified SDK: a model is saved, listed, tagged, fetched and deleted."""

import contextlib
import io
import os

import pytest
from hopsworks.client.exceptions import RestAPIError


@pytest.fixture(scope="module")
def registry(project):
    return project.get_model_registry()


@pytest.fixture(scope="module")
def saved(registry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    (folder / "1").mkdir()
    (folder / "config.pbtxt").write_text('name: "fraud"\n')
    (folder / "1" / "model.onnx").write_bytes(os.urandom(250_000) + b"\r\n--")
    (folder / "empty").touch()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        registry.python.create_model("fraud", metrics={"pr_auc": 0.5}).save(
            str(folder), keep_original_files=True, upload_configuration={"chunk_size": 100_000}
        )
    return folder


def test_a_model_is_fetched_as_it_was_saved(registry, saved, tmp_path):
    model = registry.get_model("fraud", 1)
    assert (model.id, model.version, model.training_metrics) == ("fraud_1", 1, {"pr_auc": 0.5})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model.download(local_path=str(tmp_path / "fetched"))
    for name in ("config.pbtxt", "1/model.onnx", "empty"):
        assert (tmp_path / "fetched" / name).read_bytes() == (saved / name).read_bytes()


def test_models_are_listed_and_the_best_is_found(registry, saved):
    assert [model.version for model in registry.get_models("fraud")] == [1]
    assert registry.get_best_model("fraud", "pr_auc", "max").version == 1
    assert registry.get_model("nothing", 1) is None
    assert registry.get_models("nothing") == []


def test_tags_come_and_go_and_need_their_schema(registry, saved):
    model = registry.get_model("fraud", 1)
    model.add_tag("headrace_alias", "best")
    assert model.get_tags() == {"headrace_alias": "best"}
    model.delete_tag("headrace_alias")
    assert model.get_tag("headrace_alias") is None
    with pytest.raises(RestAPIError, match="370000"):
        model.add_tag("unknown", "best")


def test_files_are_listed_moved_and_removed_and_stay_in_their_project(project, saved, tmp_path):
    files = project.get_dataset_api()
    (tmp_path / "note.txt").write_text("noted")
    with contextlib.redirect_stderr(io.StringIO()):
        files.upload(str(tmp_path / "note.txt"), "Resources")
    files.mkdir("Resources/kept")
    files.copy("Resources/note.txt", "Resources/kept/copied.txt")
    files.move("Resources/note.txt", "Resources/kept/moved.txt")
    assert files.list("Resources/kept") == ["/Resources/kept/copied.txt", "/Resources/kept/moved.txt"]
    files.remove("Resources/kept")
    assert not files.exists("Resources/kept")
    with pytest.raises(RestAPIError, match="Illegal path"):
        files.get("Resources/../../ca.pem")


def test_a_deleted_model_is_gone(registry, saved, cluster):
    registry.get_model("fraud", 1).delete()
    assert registry.get_models("fraud") == []
    assert cluster.unknown == []
