"""A model directory is served exactly as it was written, or not at all."""

import json
import shutil
import threading

import pytest

from headrace.features import Column
from predictor.repository import ModelRefused, incoming, read_manifest, read_model, write_model
from predictor.server import load
from predictor.versions import remove
from tests.predictor.conftest import COLUMNS, view_of


def refusal(repository, view=None):
    with pytest.raises(ModelRefused) as refused:
        read_manifest(repository / "small", view)
    return str(refused.value)


def test_what_was_written_is_read(repository, view):
    manifest, model = read_model(repository / "small", view)
    assert (manifest.name, manifest.version, manifest.fingerprint) == ("small", 1, view.fingerprint)
    assert manifest.columns == view.describe()
    assert manifest.outputs == [{"name": "p", "datatype": "FP32"}]
    assert manifest.metrics["roc_auc"] == 0.5
    assert manifest.metrics["parity"] < 1e-6
    assert set(manifest.files) == {"1/model.onnx", "aliases.json", "config.pbtxt"}
    assert set(manifest.reference) == {"amount", "age", "visits"}
    assert model == (repository / "small" / "1" / "model.onnx").read_bytes()


def test_a_model_that_is_not_there(tmp_path):
    assert refusal(tmp_path) == "model 'small' is not in the repository: train one first"


def test_a_model_without_a_manifest(repository):
    (repository / "small" / "headrace.json").unlink()
    assert "has no headrace.json: it is half written" in refusal(repository)


def test_half_a_manifest(repository):
    path = repository / "small" / "headrace.json"
    path.write_bytes(path.read_bytes()[:100])
    assert "not JSON: it is half written" in refusal(repository)


def test_a_manifest_without_all_fields(repository):
    path = repository / "small" / "headrace.json"
    written = json.loads(path.read_text())
    del written["serving"], written["files"]
    path.write_text(json.dumps(written))
    assert "without files, serving, needs all of its fields" in refusal(repository)


@pytest.mark.parametrize("content", ["[]", '"text"', "null"])
def test_a_manifest_that_is_no_object(repository, content):
    (repository / "small" / "headrace.json").write_text(content)
    assert "needs all of its fields" in refusal(repository)


@pytest.mark.parametrize("name", ["1/model.onnx", "aliases.json", "config.pbtxt"])
def test_a_listed_file_is_missing(repository, name):
    (repository / "small" / name).unlink()
    assert f"lacks {name}, which its headrace.json lists: it is half written" in refusal(repository)


@pytest.mark.parametrize("name", ["1/model.onnx", "aliases.json", "config.pbtxt"])
def test_one_changed_byte(repository, name):
    path = repository / "small" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    said = refusal(repository)
    assert said.startswith(f"{name} of model 'small' has SHA-256 ")
    assert said.endswith("it was altered")


def test_an_unlisted_file(repository):
    (repository / "small" / "1" / "model.data").write_text("weights")
    assert "holds 1/model.data, which its headrace.json does not list" in refusal(repository)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "1/model.pt", "1/model.py"])
def test_a_file_that_can_run_code(repository, name):
    (repository / "small" / name).write_text("anything")
    assert f"holds {name}, a file that can run code when loaded, needs ONNX" in refusal(repository)


def test_a_pickle_under_another_name(repository):
    (repository / "small" / "1" / "model.onnx").write_bytes(b"\x80\x04\x95")
    assert "holds 1/model.onnx, a file that can run code when loaded" in refusal(repository)


def test_a_model_that_lists_no_model(repository, rewrite):
    files = json.loads((repository / "small" / "headrace.json").read_text())["files"]
    (repository / "small" / "1" / "model.onnx").unlink()
    del files["1/model.onnx"]
    rewrite(files=files)
    assert "does not list 1/model.onnx, needs it" in refusal(repository)


def test_another_view_names_both_fingerprints_and_what_differs(repository, view):
    other = view_of(COLUMNS[0], Column("age", missing=-9.0, required=False), Column("clicks", missing=0.0))
    said = refusal(repository, other)
    assert view.fingerprint in said
    assert other.fingerprint in said
    assert "clicks (not in the model)" in said
    assert "visits (not in the view)" in said
    assert "age (missing -1.0 in the model, -9.0 in the view)" in said
    assert "amount (" not in said


def test_the_same_columns_in_another_order(repository):
    other = view_of(COLUMNS[1], COLUMNS[0], COLUMNS[2])
    assert "they differ in order of age, amount: train again" in refusal(repository, other)


def test_a_manifest_that_claims_another_fingerprint_than_the_file(repository, rewrite, view):
    versions = json.loads((repository / "small" / "headrace.json").read_text())["versions"]
    versions["1"]["fingerprint"] = "f" * 64
    rewrite(versions=versions)
    said = refusal(repository)
    assert f"config.pbtxt of model 'small' has headrace_fingerprint '{view.fingerprint}', needs '{'f' * 64}'" in said


@pytest.mark.parametrize("name", ["", "..", "../small", "small/1"])
def test_a_name_that_is_a_path(repository, name):
    with pytest.raises(ModelRefused, match="needs one without slashes"):
        load(repository, name)


def test_what_is_not_onnx(tmp_path):
    with pytest.raises(ModelRefused, match=r"1/model.onnx of model 'small' is no ONNX file"):
        write_model(tmp_path, "small", b"not a model", fingerprint="0", columns=[{"name": "a"}], outputs=["p"])
    write(tmp_path, b"a message, and no model")
    with pytest.raises(ModelRefused, match=r"cannot be run: the file is not an ONNX model"):
        load(tmp_path, "small")


def onnx_of(producer):
    """An ONNX file that says by whom it was made, and nothing else."""
    return b"\x12" + bytes([len(producer)]) + producer


def write(repository, producer, version=None, promote=False):
    columns = [{"name": "a"}]
    return write_model(
        repository,
        "small",
        onnx_of(producer),
        fingerprint="0",
        columns=columns,
        outputs=["p"],
        version=version,
        promote=promote,
    )


def test_a_further_version_waits_as_candidate_and_leaves_nothing_behind(tmp_path):
    write(tmp_path, b"one")
    write(tmp_path, b"two")
    manifest, model = read_model(tmp_path / "small")
    assert (manifest.version, model) == (1, onnx_of(b"one"))
    manifest, model = read_model(tmp_path / "small", version="candidate")
    assert (manifest.version, model) == (2, onnx_of(b"two"))
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_what_a_killed_writer_left_is_swept(tmp_path):
    (tmp_path / ".small.abc123" / "1").mkdir(parents=True)
    write(tmp_path, b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_a_reader_never_sees_half_a_replacement(tmp_path):
    write(tmp_path, b"1")
    last = 30

    def replace():
        for number in range(2, last + 1):
            write(tmp_path, str(number).encode(), promote=True)
            remove(tmp_path / "small", number - 1)

    writer = threading.Thread(target=replace)
    writer.start()
    seen = 0
    while seen < last:
        manifest, model = read_model(tmp_path / "small")
        assert model == onnx_of(str(manifest.version).encode())
        assert manifest.version >= seen
        seen = manifest.version
    writer.join()


def test_triton_reads_the_same_columns_and_fingerprint(repository, view):
    text = (repository / "small" / "config.pbtxt").read_text()
    assert f'string_value: "{view.fingerprint}"' in text
    assert all(rf"\"name\": \"{name}\"" in text for name in ("amount", "age", "visits"))
    assert "dims: [ 3 ]" in text


def test_a_model_from_elsewhere_replaces_one_or_nothing(repository, tmp_path):
    with incoming(tmp_path / "served", "small") as fresh:
        shutil.copytree(repository / "small", fresh, dirs_exist_ok=True)
        assert not (tmp_path / "served" / "small").exists()
    assert read_model(tmp_path / "served" / "small") == read_model(repository / "small")
    with pytest.raises(ModelRefused, match="half written, or not one of ours"), incoming(tmp_path / "served", "small"):
        pass
    with pytest.raises(ZeroDivisionError), incoming(tmp_path / "served", "small"):
        raise ZeroDivisionError
    assert [path.name for path in (tmp_path / "served").iterdir()] == ["small"]
    assert read_model(tmp_path / "served" / "small") == read_model(repository / "small")


def test_a_model_from_elsewhere_keeps_its_name(repository, tmp_path):
    with (
        pytest.raises(ModelRefused, match="the files are of model 'small', needs 'other'"),
        incoming(tmp_path / "served", "other") as fresh,
    ):
        shutil.copytree(repository / "small", fresh, dirs_exist_ok=True)
    assert list((tmp_path / "served").iterdir()) == []
