"""A version is promoted and rolled back while requests come: every one is answered, by one version or the other."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from applications.fraud.app import APP
from applications.fraud.model import FraudNet, Probability
from headrace.cli.stack import server, wait_ready
from headrace.runtime import Runtime
from predictor.export import publish
from predictor.inputs import TabularInputs
from predictor.repository import verified
from predictor.train import repeatable
from predictor.versions import promote, roll_back
from tests.end_to_end.asking import infer
from tests.end_to_end.ground import OUTPUT, Ground, predictor_flags, transformer_flags
from tests.end_to_end.payments import asked
from tests.end_to_end.test_readiness import until


@pytest.fixture
def models(ground: Ground, tmp_path: Path) -> Path:
    """A repository whose fraud model has another network as its candidate, version 2."""
    models = shutil.copytree(ground.models, tmp_path / "models")
    matrix = ground.features(asked(200))
    with repeatable(8):
        network = Probability(FraudNet(TabularInputs.of(matrix, APP.view.missing)))
    publish(models, network, APP.view, matrix, outputs=[OUTPUT])
    assert verified(models / APP.name).aliases == {"production": 1, "candidate": 2}
    return models


@contextmanager
def asking(address: str) -> Iterator[list[int]]:
    """Ask without a pause until the block ends; give the status of every answer."""
    stop, statuses = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            statuses.append(infer(address, asked(3)).status)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask)
        try:
            yield statuses
        finally:
            stop.set()
            running.result(60)


def test_promotion_and_rollback_under_requests(ground: Ground, models: Path, tmp_path: Path) -> None:
    found = verified(models / APP.name)
    features = ground.features(asked(3))
    right = {number: Runtime.of(model).run(features)[OUTPUT] for number, model in found.models.items()}
    assert not np.allclose(right[1], right[2], atol=1e-3)

    def answered_by() -> int:
        scores = infer(transformer.http, asked(3)).output(OUTPUT)
        (number,) = [number for number, scored in right.items() if np.allclose(scores, scored, atol=1e-5)]
        return number

    with (
        server("predictor", predictor_flags(models), tmp_path) as predictor,
        server("transformer", transformer_flags(ground.store, predictor.http), tmp_path) as transformer,
    ):
        wait_ready(transformer)
        assert answered_by() == 1  # the candidate has the higher number
        with asking(transformer.http) as statuses:
            promote(models / APP.name, "candidate")
            until(lambda: answered_by() == 2, "the promoted version")
            roll_back(models / APP.name)
            until(lambda: answered_by() == 1, "the former version")
        assert len(statuses) > 10
        assert set(statuses) == {200}
