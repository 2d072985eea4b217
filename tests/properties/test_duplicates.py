"""A stream with duplicates leaves what one without them leaves, which is what a backfill and the definition say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.backfill import backfill
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.runner import Pipeline
from feature_pipelines.sources import FileSource
from headrace.application import Application, Output
from headrace.features import Column, FeatureView, Window, WindowedGroup
from headrace.features.streams import Stream
from headrace.stores.memory import MemoryStore
from tests.features.streaming import STATS, span
from tests.oracles import naive_windows
from tests.oracles.naive_duplicates import duplicates
from tests.stores.small import read

MINUTE, HORIZON, CARDS, AS_OF = 60_000, 600_000, 3, 3_600_000
WINDOWS = (Window("5m", 5 * MINUTE), Window("1h", 60 * MINUTE))
GROUP = WindowedGroup("cards", 1, "payments", "card", "at", "amount", STATS, WINDOWS)
STREAM = Stream(
    "payments",
    (Column("tid", "string", required=False), Column("card", "int64"), Column("at", "timestamp"), Column("amount")),
    time="at",
    id="tid",
    horizon_ms=HORIZON,
)
VIEW = FeatureView(
    "v",
    1,
    (Column("card", "int64"), Column("at", "timestamp")),
    (GROUP,),
    tuple(f"cards.{name}" for name in GROUP.column_names),
    time="at",
)
APP = Application("small", VIEW, (STREAM,), (Output("score"),))


class Payment(NamedTuple):
    """One event in order of arrival."""

    tid: str | None
    card: int
    at: int
    amount: float


#: Payments in any order, some without an id, some of them sent again at once, later, or much later.
payments = st.builds(
    lambda drawn, again: [*drawn, *(drawn[at % len(drawn)] for at in again)],
    st.lists(
        st.builds(
            Payment,
            st.none() | st.integers(0, 30).map(str),
            st.integers(0, CARDS - 1),
            st.integers(0, AS_OF - 1),
            st.integers(-9, 9).map(float),
        ),
        min_size=1,
        max_size=25,
    ),
    st.lists(st.integers(0, 24), max_size=25),
).flatmap(st.permutations)


def file_of(folder: Path, events: Sequence[Payment], name: str) -> Path:
    """Write events as JSON lines."""
    path = folder / name
    path.write_text("".join(json.dumps(event._asdict()) + "\n" for event in events))
    return path


def streamed(path: Path, stream: Stream, order: str, batches: Sequence[int]) -> tuple[np.ndarray, int]:
    """Stream a file with a restart after each batch but the last; return what is served, and how many repeated."""
    store, repeated = MemoryStore(), 0
    for size in [*batches, None]:
        source = FileSource(path, stream, order=order)
        run = Pipeline(stream, (GROUP,), source, store, DeadLetterFile(path.with_suffix(".dead")), lambda: AS_OF)
        if size:
            run.start()
            run.step(size)
        else:
            run.run(7)
        assert run.report.dead == 0
        repeated += run.report.duplicates
    return read(store, range(CARDS), AS_OF, GROUP).values, repeated


def defined(events: Sequence[Payment]) -> np.ndarray:
    """Return what the windows of each card hold by their definition."""
    given = [naive_windows.Event(event.card, event.at, event.amount) for event in events]
    spans = [span(window) for window in WINDOWS]
    return np.array([naive_windows.read(given, card, spans, STATS, AS_OF) for card in range(CARDS)])


def split(events: Sequence[Payment]) -> tuple[list[Payment], int]:
    """Return the events that count, by the oracle, and how many do not."""
    repeated = duplicates(((event.tid, event.at) for event in events), HORIZON)
    return [event for event, again in zip(events, repeated, strict=True) if not again], sum(repeated)


@given(payments, st.sampled_from(["time", "file"]), st.lists(st.integers(1, 20), max_size=3))
def test_with_duplicates_is_without_them_is_a_backfill_is_the_definition(tmp_path_factory, events, order, batches):
    folder = tmp_path_factory.mktemp("p")
    arrived = sorted(events, key=lambda event: event.at) if order == "time" else events
    counted, repeated = split(arrived)
    served, found = streamed(file_of(folder, events, "all.jsonl"), STREAM, order, batches)
    clean, none = streamed(file_of(folder, counted, "once.jsonl"), replace(STREAM, id=""), order, ())
    assert (found, none) == (repeated, 0)
    np.testing.assert_allclose(served, clean, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(served, defined(counted), rtol=1e-9, atol=1e-9)


@given(payments)
def test_a_backfill_of_a_file_with_duplicates_is_what_streaming_it_serves(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("p")
    path = file_of(folder, events, "all.jsonl")
    served, repeated = streamed(path, STREAM, "time", ())
    asked = {"card": np.arange(CARDS), "at": np.full(CARDS, AS_OF)}
    pq.write_table(pa.table(asked), folder / "spine.parquet")
    done = backfill(APP, path, folder / "spine.parquet", folder / "out.parquet", now_ms=AS_OF)
    table = pq.read_table(folder / "out.parquet")
    frame = np.stack([table[name].to_numpy() for name in VIEW.names], axis=1)
    np.testing.assert_allclose(frame, served, rtol=1e-6, atol=1e-5)
    said = [f"{repeated} events of payments were not counted, they repeat the tid of another"]
    assert done.notes == (said if repeated else [])
