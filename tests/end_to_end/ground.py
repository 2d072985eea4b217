"""What the live tests stand on: a filled store, a published model, servers in front, and what is right.

What is right is computed without the request path: the training frame's features, and ONNX Runtime
asked directly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from applications.fraud.app import APP
from headrace.cli.stack import Server, server, wait_ready
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.offline import training_frame
from tests.end_to_end.payments import NUMBERS, Columns, fill, payments

#: Long enough for a busy machine: no test but those of deadlines is about time.
PATIENT_MS = 20_000
OUTPUT = APP.outputs[0].name
EVENTS = 4_000


@dataclass(frozen=True)
class Ground:
    """Payments, the store they were streamed into, and the repository of a model."""

    events: Columns
    store: Path
    models: Path

    def features(self, columns: Columns) -> np.ndarray:
        """Return the training frame's matrix of these request columns."""
        return training_frame(APP.view, columns, {stream.name: self.events for stream in APP.streams}).matrix()

    def probabilities(self, columns: Columns) -> np.ndarray:
        """Return what ONNX Runtime makes of the training frame's matrix."""
        model = (self.models / APP.name / "1" / "model.onnx").read_bytes()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return session.run([OUTPUT], {"features": self.features(columns)})[0]

    def ages_ms(self, columns: Columns) -> np.ndarray:
        """Return the time since each group's newest event of a row's key, -1 where there is none; [rows, groups]."""
        times = self.events["datetime"]
        newest = [
            [times[self.events[group.key] == key].max(initial=-1) for key in columns[group.key]] for group in APP.groups
        ]
        then = np.array(newest, dtype=np.float64).T
        return np.where(then < 0, -1.0, columns["datetime"][:, None] - then)


@functools.cache
def made(base: Path) -> Ground:
    """Stream seeded payments into a store, and publish an untrained network whose weights have a seed.

    Once per folder: what is made is not to be changed.
    """
    from applications.fraud.model import FraudNet, Probability
    from predictor.export import publish
    from predictor.inputs import TabularInputs
    from predictor.train import repeatable

    folder = base / "ground"
    folder.mkdir()
    ground = Ground(payments(EVENTS), folder / "store", folder / "models")
    store = EmbeddedStore(ground.store, durable=False)
    fill(store, ground.events, folder)
    store.close()
    matrix = ground.features({name: ground.events[name][EVENTS // 2 :] for name in NUMBERS})
    with repeatable(7):
        network = Probability(FraudNet(TabularInputs.of(matrix, APP.view.missing)))
    publish(ground.models, network, APP.view, matrix, outputs=[OUTPUT])
    return ground


def predictor_flags(models: Path, http_port: str = "0") -> list[str]:
    """Return the flags of a predictor of the fraud model."""
    return ["--repository", str(models), "--model", APP.name, "--http-port", http_port, "--grpc-port", "0"]


def transformer_flags(store: Path, predictor: str, *more: str) -> list[str]:
    """Return the flags of a transformer in front of a predictor."""
    ports = ["--http_port", "0", "--grpc_port", "0", "--deadline_ms", str(PATIENT_MS)]
    return ["--store", str(store), "--predictor_host", predictor, *ports, *more]


@contextmanager
def serving(ground: Ground, logs: Path, *more: str) -> Iterator[tuple[Server, Server]]:
    """Run predictor and transformer until the block ends; give both once the transformer is ready."""
    logs.mkdir(parents=True, exist_ok=True)
    with (
        server("predictor", predictor_flags(ground.models), logs) as predictor,
        server("transformer", transformer_flags(ground.store, predictor.http, *more), logs) as transformer,
    ):
        wait_ready(transformer)
        yield predictor, transformer
