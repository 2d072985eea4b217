"""The ground every benchmark stands on: seeded payments, a store filled from them, a published model.

Payments are synthetic: 3,000 cards, 5,000 terminals, 40 days. The network is not trained - its
weights come from a seed - because what an answer costs does not depend on what it says.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from applications.fraud.app import APP
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.features.columns import DAY, MINUTE
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import WritableStore

SEED = 20260301
CARDS, TERMINALS, DAYS = 3_000, 5_000, 40
FIRST_CARD = 4_000_000_000_000_000
END_MS = 1_772_323_200_000  # 2026-03-01T00:00Z: no event is at or after it
NOW_MS = END_MS + MINUTE  # when every request is made
Kept = TypeVar("Kept")
PATIENT_MS = 10_000  # a deadline nobody misses: a cell that drops requests would measure nothing


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured: events in the store, rounds, seconds of a cell, minutes of a soak."""

    events: int
    rounds: int
    seconds: float
    sizes: tuple[int, ...]
    name: str
    minutes: float = 30.0  # of a soak

    @property
    def quick(self) -> bool:
        """Whether this is less than the full measurement."""
        return self.name != "full"


FULL = Scale(200_000, 5, 1.0, (1, 25, 100, 500), "full")
QUICK = Scale(50_000, 3, 0.6, (1, 25, 100, 500), "quick", 2.0)
TINY = Scale(3_000, 1, 0.05, (1, 3), "tiny", 0.05)


class Ground:
    """Files under `home`, each made when first asked for."""

    def __init__(self, home: Path, scale: Scale) -> None:
        self.home, self.scale, self.app = home, scale, APP
        self._open = ExitStack()
        self._kept: dict[Callable[..., Any], Any] = {}

    def kept(self, opening: Callable[[Ground], AbstractContextManager[Kept]]) -> Kept:
        """Return what a context manager of this ground gives, entered once and left open for whoever asks next."""
        if opening not in self._kept:
            self._kept[opening] = self._open.enter_context(opening(self))
        return self._kept[opening]

    def release(self) -> None:
        """End what is kept; whoever asks next opens it anew."""
        self._kept.clear()
        self._open.close()

    @cached_property
    def events(self) -> dict[str, np.ndarray]:
        """The payments, in order of time."""
        return payments(self.scale.events)

    @cached_property
    def parquet(self) -> Path:
        """The payments as a file."""
        return write_parquet(self.events, self.home / "payments.parquet")

    @cached_property
    def store(self) -> Path:
        """An embedded store that holds every payment and label."""
        path = self.home / "store"
        store = EmbeddedStore(path, durable=False)
        for stream in ("payments", "labels"):
            pipeline_of(self.parquet, stream, store, self.home / "letters").run()
        store.close()
        return path

    @cached_property
    def models(self) -> Path:
        """A model repository with the untrained network."""
        from applications.fraud.model import FraudNet, Probability
        from headrace.stores.offline import training_frame
        from predictor.export import publish
        from predictor.inputs import TabularInputs
        from predictor.train import repeatable

        view, sample = self.app.view, request_columns(self.events, slice(-2048, None))
        matrix = training_frame(view, sample, dict.fromkeys(("payments", "labels"), self.events)).matrix()
        with repeatable(SEED):
            network = Probability(FraudNet(TabularInputs.of(matrix, view.missing)))
        publish(self.home / "models", network, view, matrix, outputs=[self.app.outputs[0].name])
        return self.home / "models"

    def asked(self, rows: int, turn: int) -> dict[str, np.ndarray]:
        """Return the request columns of `rows` distinct cards, other ones each turn; all asked at NOW_MS."""
        random = np.random.default_rng([SEED, rows, turn])
        return {
            "cc_num": FIRST_CARD + random.choice(CARDS, rows, replace=False).astype(np.int64),
            "terminal_id": random.integers(0, TERMINALS, rows),
            "datetime": np.full(rows, NOW_MS, dtype=np.int64),
            "amount": np.round(random.gamma(1.5, 40.0, rows) + 0.5, 2),
            "latitude": np.round(random.uniform(55.0, 65.0, rows), 4),
            "longitude": np.round(random.uniform(12.0, 22.0, rows), 4),
            "card_present": random.integers(0, 2, rows).astype(np.float64),
        }


def payments(count: int, seed: int = SEED) -> dict[str, np.ndarray]:
    """Return synthetic payments in order of time; the same count and seed give the same payments."""
    random = np.random.default_rng(seed)
    card = random.integers(0, CARDS, count)
    home = random.uniform((55.0, 12.0), (65.0, 22.0), (CARDS, 2))
    place = np.round(home[card] + random.normal(0.0, 0.2, (count, 2)), 4)
    return {
        "tid": np.arange(count, dtype=np.int64),
        "cc_num": FIRST_CARD + card.astype(np.int64),
        "terminal_id": random.integers(0, TERMINALS, count),
        "datetime": np.sort(END_MS - random.integers(1, DAYS * DAY, count)),
        "amount": np.round(random.gamma(1.5, 40.0, count) + 0.5, 2),
        "latitude": place[:, 0],
        "longitude": place[:, 1],
        "card_present": random.integers(0, 2, count).astype(np.float64),
        "fraud_label": (random.random(count) < 0.01).astype(np.int64),
    }


def request_columns(events: dict[str, np.ndarray], part: slice) -> dict[str, np.ndarray]:
    """Return the columns that a request carries of some payments."""
    return {name: events[name][part] for name in APP.view.request_names if name in events}


def write_parquet(events: dict[str, np.ndarray], path: Path) -> Path:
    """Write payments to a Parquet file and return its path."""
    columns = {**events, "datetime": pa.array(events["datetime"].astype("datetime64[ms]"))}
    pq.write_table(pa.table(columns), path)
    return path


def pipeline_of(parquet: Path, stream: str, store: WritableStore, letters: Path) -> Pipeline:
    """Return the pipeline that folds one stream of a file into a store."""
    declared = APP.stream(stream)
    source = FileSource(parquet, declared)
    kept = DeadLetterFile(letters / f"{stream}.jsonl")
    return Pipeline(declared, APP.groups_of(stream), source, store, kept, lambda: NOW_MS)
