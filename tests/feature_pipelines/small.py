"""A small stream with its group, event files of every kind, and a pipeline into a store in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.features.columns import Column
from headrace.features.streams import Stream
from headrace.features.windows import Window, WindowedGroup
from headrace.stores.memory import MemoryStore
from headrace.stores.online import WritableStore
from tests.stores.small import read

NOW = 1_700_000_000_000
MINUTE = 60_000
STREAM = Stream(
    "payments",
    (
        Column("card", "int64"),
        Column("at", "timestamp"),
        Column("amount", low=0),
        Column("note", "string", required=False),
    ),
    time="at",
)
GROUP = WindowedGroup(
    "cards", 1, "payments", "card", "at", "amount", ("count", "sum", "min", "max"),
    (Window("1m", MINUTE), Window("1h", 60 * MINUTE)), last=("amount",),
)  # fmt: skip
Event = dict[str, Any]


def events_of(*given: tuple[int, int, float]) -> list[Event]:
    """Return events of card, instant and amount."""
    return [
        {"card": card, "at": at, "amount": amount, "note": f"note {n}"} for n, (card, at, amount) in enumerate(given)
    ]


def csv_of(rows: Sequence[Event], newline: str = "\n") -> bytes:
    """Return events as CSV; a null is an empty value."""
    text = io.StringIO()
    out = csv.DictWriter(text, [column.name for column in STREAM.columns], lineterminator=newline)
    out.writeheader()
    out.writerows(rows)
    return text.getvalue().encode()


def jsonl_of(rows: Sequence[Event], newline: str = "\n") -> bytes:
    """Return events as JSON lines."""
    return "".join(json.dumps(row) + newline for row in rows).encode()


def parquet_of(path: Path, rows: Sequence[Event], group: int | None = None) -> Path:
    """Write events to a Parquet file with row groups of a size, and return it."""
    types = {"card": pa.int64(), "at": pa.int64(), "amount": pa.float64(), "note": pa.string()}
    columns = {name: pa.array([row.get(name) for row in rows], type=kind) for name, kind in types.items()}
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def file_of(folder: Path, name: str, data: bytes) -> Path:
    """Write a file and return it."""
    (folder / name).write_bytes(data)
    return folder / name


#: Where each store's dead letters go: a file belongs to one store.
_LETTERS: dict[WritableStore, Path] = {}


def pipeline(path: Path, store: WritableStore, order: str = "time", letters: Path | None = None) -> Pipeline:
    """Return a pipeline from a file into a store; its dead letters go beside the first file unless said otherwise."""
    kept = DeadLetterFile(letters or _LETTERS.setdefault(store, path.parent / "dead" / f"{len(_LETTERS)}.jsonl"))
    return Pipeline(STREAM, (GROUP,), FileSource(path, STREAM, order=order), store, kept, lambda: NOW)


def contents(store: WritableStore, cards: Sequence[int] = range(5), as_of: int = 10 * MINUTE) -> np.ndarray:
    """Return what a store answers for some cards: values, found and age side by side."""
    block = read(store, list(cards), as_of, GROUP)
    return np.column_stack([block.values, block.found, block.age_ms])


def streamed(path: Path, order: str = "time", batch: int = 3) -> np.ndarray:
    """Return what a new store answers after a file was streamed into it."""
    store = MemoryStore()
    pipeline(path, store, order).run(batch)
    return contents(store)
