"""Versions of a model: which is production, which may follow, which was, and what is loaded."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from predictor.repository import ModelRefused, alone, read_manifest, read_model, verified, write_model
from predictor.triton import Serving
from predictor.versions import nominate, promote, remove, roll_back, serve_as
from tests.predictor.small_models import onnx_of, write


@pytest.fixture
def model(tmp_path):
    """A model with versions 1, 2 and 3: 1 is production, 3 the candidate."""
    for producer in (b"one", b"two", b"three"):
        directory = write(tmp_path, producer)
    return directory


def test_the_first_is_production_and_the_last_the_candidate(model):
    assert json.loads((model / "aliases.json").read_text()) == {"production": 1, "candidate": 3}
    assert sorted(path.name for path in model.iterdir() if path.is_dir()) == ["1", "2", "3"]
    found = verified(model)
    assert (found.production, found.served) == (1, [1, 3])
    assert found.models == {1: onnx_of(b"one"), 3: onnx_of(b"three")}
    assert found.config["version_policy"] == {"specific": {"versions": [1, 3]}}


@pytest.mark.parametrize(("which", "number"), [(None, 1), (2, 2), ("production", 1), ("candidate", 3)])
def test_a_version_is_read_by_number_or_alias(model, which, number):
    manifest, content = read_model(model, version=which)
    assert manifest.version == number
    assert content == onnx_of([b"one", b"two", b"three"][number - 1])


@pytest.mark.parametrize(("which", "said"), [(4, "version 4"), (0, "version 0"), ("previous", "alias 'previous'")])
def test_a_version_that_is_not_there(model, which, said):
    with pytest.raises(ModelRefused) as refused:
        read_model(model, version=which)
    assert str(refused.value) == f"model 'small' has no {said}, needs one of 1, 2, 3 (production 1, candidate 3)"


def test_promoting_and_rolling_back(model):
    assert promote(model, "candidate") == 3
    assert verified(model).aliases == {"production": 3, "previous": 1}
    assert verified(model).served == [1, 3]  # who still asks for the former one is answered
    assert verified(model).config["parameters"]["headrace_production"] == {"string_value": "3"}
    assert roll_back(model) == (1, 3)
    assert verified(model).aliases == {"production": 1, "previous": 3}
    assert roll_back(model) == (3, 1)


def test_what_cannot_be_promoted(model):
    with pytest.raises(ModelRefused, match="version 1 of model 'small' is production already"):
        promote(model, 1)
    with pytest.raises(ModelRefused, match="has no version 9"):
        promote(model, 9)
    with pytest.raises(ModelRefused, match="has no previous version, needs one to go back to: promote one of 1, 2, 3"):
        roll_back(model)


def test_another_candidate(model):
    assert nominate(model, 2) == 2
    assert verified(model).aliases == {"production": 1, "candidate": 2}
    with pytest.raises(ModelRefused, match="version 1 of model 'small' is production, needs another as candidate"):
        nominate(model, 1)


def test_removing(model):
    assert remove(model, "candidate") == 3
    assert not (model / "3").exists()
    assert verified(model).aliases == {"production": 1}
    with pytest.raises(ModelRefused, match="is production, needs another in its place first"):
        remove(model, 1)
    write(model.parent, b"three again")
    assert sorted(verified(model).manifest.versions) == [1, 2, 3]


def test_a_number_of_ones_own(model):
    write(model.parent, b"ten", version=10, promote=True)
    write(model.parent, b"eleven")
    assert verified(model).aliases == {"production": 10, "candidate": 11, "previous": 1}
    with pytest.raises(ModelRefused, match="model 'small' has version 10 already, needs another number"):
        write(model.parent, version=10)
    with pytest.raises(ModelRefused, match="version 0 of model 'small' cannot be, needs a positive whole number"):
        write(model.parent, version=0)


def test_a_candidate_of_another_width_is_kept_and_not_loaded(model):
    """One configuration holds for all versions that are loaded."""
    write(model.parent, b"wide", columns=5, fingerprint="e" * 64)
    assert verified(model).served == [1]
    promote(model, "candidate")
    found = verified(model)
    assert (found.served, found.config["input"][0]["dims"]) == ([4], [5])
    assert found.config["parameters"]["headrace_fingerprint"] == {"string_value": "e" * 64}
    assert roll_back(model) == (1, 4)


def test_files_that_stay_are_the_same_files(model):
    before = (model / "1" / "model.onnx").stat().st_ino
    promote(model, 3)
    assert (model / "1" / "model.onnx").stat().st_ino == before


def test_where_a_file_cannot_have_two_places_it_is_copied(model, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    promote(model, 3)
    assert verified(model).production == 3


def test_how_it_is_served_stays_until_it_is_said_anew(model):
    serve_as(model, Serving(max_queue_size=7, accelerator="tensorrt-fp16"))
    write(model.parent, b"four")
    policy = verified(model).config["dynamic_batching"]["default_queue_policy"]
    assert policy["max_queue_size"] == 7
    assert "tensorrt" in (model / "config.pbtxt").read_text()
    write(model.parent, b"five", serving=Serving())
    assert "tensorrt" not in (model / "config.pbtxt").read_text()


def test_labels_lie_beside_the_configuration_and_stay(model):
    write(model.parent, b"four", labels={"p": ["honest", "fraud"]})
    write(model.parent, b"five")
    assert (model / "p_labels.txt").read_text() == "honest\nfraud\n"
    assert verified(model).config["output"][0]["label_filename"] == "p_labels.txt"


def test_one_version_alone(model):
    with alone(model, 2) as copy:
        manifest, content = read_model(copy)
        assert (manifest.version, content, copy.name) == (2, onnx_of(b"two"), "small")
        assert list(verified(copy).manifest.versions) == [2]
    assert not copy.exists()
    assert verified(model).aliases == {"production": 1, "candidate": 3}


def test_a_change_that_fails_changes_nothing(model):
    before = verified(model)
    with pytest.raises(ModelRefused, match="no ONNX file"):
        write_model(model.parent, "small", b"\x3a", fingerprint="0", columns=[], outputs=[])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(model.parent, metrics={"roc_auc": float(np.nan)})
    assert verified(model) == before
    assert [path.name for path in model.parent.iterdir()] == ["small"]


def test_a_model_that_is_not_whole_is_not_changed(model):
    (model / "2" / "model.onnx").write_bytes(onnx_of(b"evil"))
    for change in (lambda: promote(model, 3), lambda: roll_back(model), lambda: write(model.parent)):
        with pytest.raises(ModelRefused, match=r"2/model.onnx of model 'small' has SHA-256"):
            change()
    assert json.loads((model / "aliases.json").read_text()) == {"production": 1, "candidate": 3}


def test_changing_a_model_that_is_not_there(tmp_path):
    with pytest.raises(ModelRefused, match="model 'small' is not in the repository: train one first"):
        promote(tmp_path / "small", 1)
    assert read_manifest(write(tmp_path)).version == 1


def test_a_model_that_is_reached_by_a_link_is_changed_where_it_lies(model, tmp_path):
    (tmp_path / "link").symlink_to(model)
    assert promote(tmp_path / "link", 2) == 2
    assert (tmp_path / "link").is_symlink()
    assert verified(model).production == 2


def test_a_model_is_named_from_within_it(model, monkeypatch):
    monkeypatch.chdir(model)
    with pytest.raises(ModelRefused, match="version 1 of model 'small' is production already"):
        promote(Path(), 1)
    with pytest.raises(ModelRefused, match="model 'small' has no version 9"):
        read_model(".", version=9)
