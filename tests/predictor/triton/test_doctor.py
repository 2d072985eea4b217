"""`headrace doctor` tells whether Triton can be run on this machine."""

from __future__ import annotations

import pytest

from headrace.cli import doctor
from predictor.local_triton.getting import Python, TritonMissing


def found(monkeypatch: pytest.MonkeyPatch, fit: object) -> list[doctor.Finding]:
    monkeypatch.setattr(doctor, "fit", fit)
    return [finding for finding in doctor._machine() if finding[1] == "triton"]


def test_a_machine_that_can(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    python = Python("3.12", tmp_path, tmp_path)
    assert found(monkeypatch, lambda: python) == [("ok", "triton", "can be run here, its models on Python 3.12")]


def test_a_machine_that_cannot_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Python:
        raise TritonMissing("libpython3.11.so.1.0 was found nowhere")

    assert found(monkeypatch, refuse) == [("note", "triton", "libpython3.11.so.1.0 was found nowhere")]
