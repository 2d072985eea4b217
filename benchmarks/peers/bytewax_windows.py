# mypy: disable-error-code="import-not-found"
"""Five tumbling windows in bytewax, one per window length: count, mean, deviation, least and most of the amount.

Run as `python -m benchmarks.peers.bytewax_windows FILE COUNT`; prints the seconds that the dataflow took.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
import pyarrow.parquet as pq
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main

from applications.fraud.features import CARD_ACTIVITY
from headrace.features.windows import Window

BATCH = 16_384  # as Headrace's pipeline reads
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Summary = tuple[float, float, float, float, float]  # count, mean, squared deviations, min, max


def fold(held: Summary, event: tuple[datetime, float]) -> Summary:
    """Add one amount to a summary."""
    count, mean, m2, low, high = held
    amount = event[1]
    count += 1
    apart = amount - mean
    mean += apart / count
    return count, mean, m2 + apart * (amount - mean), min(low, amount), max(high, amount)


def merge(a: Summary, b: Summary) -> Summary:
    """Merge two summaries; windows that tumble never need it."""
    raise NotImplementedError


def flow_of(events: list[tuple[str, tuple[datetime, float]]], out: list[Any]) -> Dataflow:
    """Return a dataflow that folds keyed events into every window."""
    flow = Dataflow("windows")
    keyed = op.input("events", flow, TestingSource(events, batch_size=BATCH))
    # History is replayed: nothing is to be woken up when the wall clock passes a window's end, long ago.
    clock: Any = win.EventClock(_time, wait_for_system_duration=timedelta(0), to_system_utc=_never)
    for window in CARD_ACTIVITY.windows:
        op.output(f"out-{window.label}", _folded(window, keyed, clock), TestingSink(out))
    return flow


def _time(event: tuple[datetime, float]) -> datetime:
    return event[0]


def _never(_: datetime) -> None:
    return None


def _folded(window: Window, keyed: Any, clock: Any) -> Any:
    windower = win.TumblingWindower(length=timedelta(milliseconds=window.length_ms), align_to=EPOCH)
    empty: Summary = (0.0, 0.0, 0.0, float("inf"), float("-inf"))
    return win.fold_window(f"fold-{window.label}", keyed, clock, windower, lambda: empty, fold, merge).down


def main() -> None:
    """Fold the first COUNT events of FILE and print the seconds."""
    table = pq.read_table(sys.argv[1], columns=["cc_num", "datetime", "amount"]).slice(0, int(sys.argv[2]))
    cards, times, amounts = (table.column(name).to_pylist() for name in table.column_names)
    rows = zip(cards, times, amounts, strict=True)
    events = [(str(card), (at.replace(tzinfo=UTC), amount)) for card, at, amount in rows]
    out: list[Any] = []
    began = time.perf_counter()
    run_main(flow_of(events, out))
    print(time.perf_counter() - began, len(out))


if __name__ == "__main__":
    main()
