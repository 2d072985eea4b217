"""A transformer whose model is run in its own process: the same answers, no server behind it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from headrace.cli.stack import server, wait_ready
from headrace.open_inference import NotReady, OpenInferenceError, Tensor
from headrace.settings import TransformerSettings
from headrace.telemetry import ModelMetrics
from predictor.repository import read_model, write_model
from tests.end_to_end.asking import ask, infer
from tests.end_to_end.ground import OUTPUT, PATIENT_MS, Ground
from tests.end_to_end.payments import asked
from tests.predictor.shifting import shifted
from transformer import in_process
from transformer.in_process import InProcess
from transformer.server import build


@pytest.fixture
def models(ground: Ground, tmp_path: Path) -> Path:
    """A repository of the test's own."""
    return shutil.copytree(ground.models, tmp_path / "models")


def second_version(models: Path, by: float, fingerprint: str = "") -> None:
    manifest, model = read_model(models / "fraud")
    names = [output["name"] for output in manifest.outputs]
    known = fingerprint or manifest.fingerprint
    moved = shifted(model, by)
    write_model(models, "fraud", moved, fingerprint=known, columns=manifest.columns, outputs=names, promote=True)


def opened(models: Path, fingerprint: str = "") -> InProcess:
    known = fingerprint or read_model(models / "fraud")[0].fingerprint
    return InProcess.open(models, "fraud", known, ModelMetrics(CollectorRegistry()))


def scene(models: Path, then: Callable[[InProcess], Awaitable[Any]], fingerprint: str = "") -> Any:
    async def played() -> Any:
        async with opened(models, fingerprint) as predictor:
            try:
                return await then(predictor)
            except OpenInferenceError as refused:
                return refused

    return asyncio.run(played())


def features(predictor: InProcess, rows: int = 3) -> list[Tensor]:
    width = predictor._served.at("").metadata()["inputs"][0]["shape"][-1]
    return [Tensor("features", "FP32", np.zeros((rows, width), dtype=np.float32))]


def test_a_transformer_without_a_server_behind_it_answers_what_the_model_says(ground: Ground, tmp_path: Path) -> None:
    flags = ["--store", str(ground.store), "--predictor_in_process", str(ground.models), "--http_port", "0"]
    flags += ["--grpc_port", "0", "--deadline_ms", str(PATIENT_MS), "--predictor_host", "nobody.invalid"]
    columns = asked(20)
    with server("transformer", flags, tmp_path) as transformer:
        wait_ready(transformer)
        said = infer(transformer.http, columns)
        metrics = ask(transformer.http, "GET", "/metrics").body.decode()
    np.testing.assert_allclose(said.output(OUTPUT), ground.probabilities(columns), rtol=1e-5, atol=1e-6)
    assert 'headrace_model_version{model_name="fraud",production="true",version="1"} 1.0' in metrics
    assert 'headrace_run_rows_sum{model_name="fraud"} 20.0' in metrics


def test_a_model_that_is_refused_stops_the_start(ground: Ground, models: Path) -> None:
    (models / "fraud" / "1" / "model.onnx").write_bytes(b"altered")
    settings = TransformerSettings(store=str(ground.store), predictor_in_process=str(models))
    with pytest.raises(ValueError, match=r"model.onnx"):
        build(settings)


def test_a_model_that_nobody_signed_stops_the_start(ground: Ground, models: Path, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    settings = TransformerSettings(
        store=str(ground.store), predictor_in_process=str(models), predictor_signed_by=str(tmp_path / "key.pem")
    )
    with pytest.raises(ValueError, match=r"sign|key"):
        build(settings)


def test_another_version_is_asked_once_it_is_there(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def then(predictor: InProcess) -> None:
        before = (await predictor.infer(features(predictor))).output(OUTPUT)
        second_version(models, 1.0)
        await predictor._watch.look()
        answer = await predictor.infer(features(predictor))
        assert answer.version == "2"
        assert (np.abs(answer.output(OUTPUT) - before) > 1e-4).all()

    monkeypatch.setattr(in_process, "watching", lambda watches: asyncio.ensure_future(asyncio.Event().wait()))
    scene(models, then)


def test_a_version_of_other_columns_is_not_asked(models: Path) -> None:
    async def then(predictor: InProcess) -> Any:
        assert await predictor.ready()
        assert not await predictor.ready("7")
        return await predictor.infer(features(predictor))

    refused = scene(models, then, "0123")
    assert isinstance(refused, NotReady)
    assert "version 1 of 'fraud' was trained on other columns" in str(refused)


def test_whatever_its_size_a_run_on_one_core_is_made_where_it_is_asked_for(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_process, "cores", lambda: 1)

    async def then(predictor: InProcess) -> int:
        await predictor.infer(features(predictor, 5_000))
        return len(predictor._pool._threads)

    assert scene(models, then) == 0
