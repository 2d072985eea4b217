"""Many keys: what an event costs, and a read, and how much memory and disk are used, from a thousand keys on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from applications.fraud.features import CARD_ACTIVITY
from benchmarks.ground import END_MS, SEED, Ground
from benchmarks.processes import MEASURED, pinned
from benchmarks.registry import OURS, Figure, Result, benchmark
from benchmarks.rounds import Samples, wall_s
from feature_pipelines import tiles
from headrace.features.columns import DAY, MINUTE
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup

NOTES = """
The five windows of card_activity, one core, commits with checkpoints. Every key has had two events in the last forty
days when the measured batches begin: 16,384 events at once of keys drawn evenly, so that from some 100,000 keys on
nearly every event is of a record of its own, at a place of its own; and 64 at once, of which hardly two share a
record however few keys there are. Memory is what the process has anonymously; the
pages of the store are the kernel's to keep or drop. A read is of 500 keys drawn evenly, from the store to its columns,
most of them for the first time: the kernel maps their pages then, and that is most of it.
"""
_BATCH, _BATCHES, _READS = 16_384, 8, 20
_SMALL, _SMALLS = 64, 200
_POPULATIONS = {
    "tiny": (1_000,),
    "quick": (1_000, 10_000, 100_000),
    "full": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
}
_STATUS = Path("/proc/self/status")


@benchmark("scale", "From a thousand keys to ten million: an event, a read, memory and disk")
def scale(ground: Ground) -> Result:
    """Measure microseconds an event and a read, MB of memory, bytes of disk a key."""
    result, batch = Result(NOTES), min(_BATCH, ground.scale.events)
    for keys in _POPULATIONS[ground.scale.name]:
        path = ground.home / f"scale-{keys}"
        with pinned(MEASURED), closing(EmbeddedStore(path)) as store:
            result.figures += measured(store, keys, batch, np.random.default_rng(SEED))
        shutil.rmtree(path)
    return result


def measured(store: EmbeddedStore, keys: int, batch: int, chance: np.random.Generator) -> Iterator[Figure]:
    """Fill a store and yield what is found in it."""
    case = f"{keys:,} keys"
    for begin in [first for _ in range(2) for first in range(0, keys, batch)]:
        held = np.arange(begin, min(begin + batch, keys))
        add(store, held, END_MS - chance.integers(MINUTE, 40 * DAY, held.size), chance)
    store.flush()
    event, small, memory, read = Samples(), Samples(), Samples(), Samples()
    for into, size, batches in ((event, batch, _BATCHES), (small, min(_SMALL, batch), _SMALLS)):
        for at in range(batches):
            drawn = chance.integers(0, keys, size)
            times = END_MS + at * MINUTE + np.sort(chance.integers(0, MINUTE, size))
            into.values.append(wall_s(lambda d=drawn, t=times: add(store, d, t, chance)) / size * 1e6)  # type: ignore[misc]
        memory.values.append(_anonymous_mb())
    as_of = np.full(500, END_MS + DAY)
    with asyncio.Runner() as runner:
        runner.get_loop()
        for _ in range(_READS):
            lookup = Lookup(CARD_ACTIVITY, chance.integers(0, keys, 500))
            read.values.append(wall_s(lambda one=lookup: runner.run(store.read([one], as_of))) * 1e6)  # type: ignore[misc]
    yield Figure(case, "event", "us", {OURS: event})
    yield Figure(case, f"event, {_SMALL} at once", "us", {OURS: small})
    yield Figure(case, "read of 500 keys", "us", {OURS: read})
    yield Figure(case, "memory", "MB", {OURS: memory})
    yield Figure(case, "disk a key", "B", {OURS: Samples([store.stored_bytes(CARD_ACTIVITY) / keys])})


def add(store: EmbeddedStore, keys: np.ndarray, times: np.ndarray, chance: np.random.Generator) -> None:
    """Commit one event of each of these keys."""
    amounts = np.round(chance.gamma(2.0, 30.0, keys.size), 2)
    columns = {"datetime": times, "amount": amounts, "latitude": amounts, "longitude": amounts}
    store.declare([CARD_ACTIVITY])
    with store.transaction("payments", {}) as change:
        tiles.add(change, [CARD_ACTIVITY], {"cc_num": keys, **columns}, keys.size)


def _anonymous_mb() -> float:
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 1024
