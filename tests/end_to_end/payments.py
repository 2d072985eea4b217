"""Seeded payments for the tests that run the real channel: few cards, busy ones, and some without a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from applications.fraud.app import APP
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.features.columns import DAY, MINUTE
from headrace.stores.embedded import EmbeddedStore

Columns = dict[str, np.ndarray]

FIRST_CARD, CARDS, TERMINALS = 4_000_000_000_000_000, 120, 60
END_MS = 1_772_323_200_000  # 2026-03-01T00:00Z; every event is earlier
ASKED_MS = END_MS + 7 * MINUTE  # when the tests ask
#: The columns of a request that have numbers; `category` is carried, not read.
NUMBERS = tuple(column.name for column in APP.view.request if column.dtype != "string")


def payments(count: int, seed: int = 11, days: int = 40) -> Columns:
    """Return payments in order of time; one in twenty has no place, and one in thirty is fraudulent."""
    random = np.random.default_rng(seed)
    card = random.integers(0, CARDS, count)
    home = random.uniform((55.0, 12.0), (65.0, 22.0), (CARDS, 2))
    place = np.round(home[card] + random.normal(0.0, 0.2, (count, 2)), 4)
    place[random.random(count) < 0.05] = np.nan
    fraud = random.random(count) < 1 / 30
    return {
        "tid": np.arange(count, dtype=np.int64),
        "cc_num": FIRST_CARD + card.astype(np.int64),
        "terminal_id": random.integers(0, TERMINALS, count),
        "datetime": np.sort(END_MS - random.integers(1, days * DAY, count)),
        "amount": np.round(random.gamma(1.5, 40.0, count) * np.where(fraud, 6.0, 1.0) + 0.5, 2),
        "latitude": place[:, 0],
        "longitude": place[:, 1],
        "card_present": random.integers(0, 2, count).astype(np.float64),
        "fraud_label": fraud.astype(np.int64),
    }


def asked(rows: int, seed: int = 12) -> Columns:
    """Return request columns of payments after every event; the last row is of a card and a terminal never seen."""
    drawn = payments(rows, seed)
    columns = {name: drawn[name] for name in NUMBERS}
    columns["datetime"] = ASKED_MS + np.arange(rows, dtype=np.int64) * MINUTE
    columns["latitude"], columns["longitude"] = (np.nan_to_num(columns[n], nan=1.5) for n in ("latitude", "longitude"))
    columns["cc_num"][-1], columns["terminal_id"][-1] = 17, 1_000_017
    return columns


def write_parquet(events: Columns, path: Path) -> Path:
    """Write payments as a person would hand them in, and return the path."""
    instants = pa.array(events["datetime"].astype("datetime64[ms]"))
    columns = {name: pa.array(values, from_pandas=True) for name, values in events.items()}
    pq.write_table(pa.table({**columns, "datetime": instants}), path)
    return path


def fill(store: EmbeddedStore, events: Columns, folder: Path) -> None:
    """Stream payments and labels into a store, with the real pipelines."""
    parquet = write_parquet(events, folder / "payments.parquet")
    for stream in APP.streams:
        source, letters = FileSource(parquet, stream), DeadLetterFile(folder / f"{stream.name}.jsonl")
        done = Pipeline(stream, APP.groups_of(stream.name), source, store, letters, lambda: END_MS).run()
        assert (done.events, done.dead) == (events["tid"].size, 0)
