"""A copy of a model is one that was whole, also where the model was exchanged under it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from predictor.local_triton import copying
from predictor.local_triton.copying import copied
from predictor.repository import ModelRefused, read_manifest


def test_a_copy_is_whole_and_the_original_its_owners(repository: Path, tmp_path: Path) -> None:
    copy = copied(repository, "small", tmp_path / "models")
    shutil.rmtree(repository / "small")
    assert read_manifest(copy).name == "small"


@pytest.mark.parametrize("name", ["", ".", "..", "small/1"])
def test_a_name_that_leads_elsewhere(repository: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelRefused, match="is no name of a model, needs one without slashes"):
        copied(repository, name, tmp_path / "models")


def test_a_model_that_is_altered_is_refused_and_leaves_nothing(repository: Path, tmp_path: Path) -> None:
    (repository / "small" / "1" / "model.onnx").write_bytes(b"altered")
    with pytest.raises(ModelRefused, match=r"1/model\.onnx"):
        copied(repository, "small", tmp_path / "models")
    assert not (tmp_path / "models" / "small").exists()


@pytest.mark.parametrize("exchanges", [1, 4])
def test_a_model_exchanged_under_the_copy_is_copied_again(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: int
) -> None:
    whole, source, left = shutil.copytree, repository / "small", [exchanges]

    def torn(of: Path, to: Path) -> None:
        whole(of, to)
        if left[0]:
            left[0] -= 1
            (to / "1" / "model.onnx").unlink()  # it was taken away when its turn came
            whole(source, tmp_path / "next")
            shutil.rmtree(source)
            (tmp_path / "next").rename(source)

    monkeypatch.setattr(copying, "copytree", torn)
    assert read_manifest(copied(repository, "small", tmp_path / "models")).name == "small"


def test_one_that_cannot_be_read_says_why(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(of: Path, to: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copying, "copytree", full)
    with pytest.raises(ModelRefused, match=r"model 'small' cannot be copied: .*No space left on device"):
        copied(repository, "small", tmp_path / "models")
