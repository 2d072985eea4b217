"""An embedded store and a cluster with the same rows, and readers held against each other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from applications.fraud.app import APP
from headrace.features import DAY, fold
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import StoreURL, opened
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Block, Lookup, OnlineStore
from tests.headrace.hopsworks.filled import cluster_of, environment, fill
from tests.hopsworks import StandIn

NOW = 1_772_323_200_000
CARDS, TERMINALS = APP.groups
HELD = 1_500  # keys of each group, every other one of those asked for
ROWS = 10_000
FIELDS = ("values", "found", "age_ms", "exact")
Pairs = list[tuple[np.ndarray, np.ndarray]]


def events(seed: int) -> dict[str, np.ndarray]:
    """Return payments of the last days, in order of time; keys are even numbers around 0."""
    random, count = np.random.default_rng(seed), 9_000
    keys = np.arange(-HELD, HELD, 2)
    return {
        "cc_num": random.permutation(np.concatenate([keys, random.choice(keys, count - keys.size)])),
        "terminal_id": random.permutation(np.concatenate([keys, random.choice(keys, count - keys.size)])),
        "datetime": np.sort(NOW - random.integers(1, 30 * DAY, count)),
        "amount": np.round(random.gamma(1.5, 40.0, count), 2),
        "latitude": np.where(random.random(count) < 0.1, np.nan, random.uniform(-90, 90, count)),
        "longitude": random.uniform(-180, 180, count),
        "fraud_label": (random.random(count) < 0.05).astype(np.float64),
    }


@contextmanager
def filled(folder: Path, *, sql: bool = False) -> Iterator[tuple[EmbeddedStore, StandIn]]:
    """Give an embedded store, and a cluster with the same rows."""
    store, given = EmbeddedStore(folder / "store", durable=False), events(7)
    store.declare(APP.groups)
    rows = {}
    with store.transaction("payments", {}) as change:
        for group in APP.groups:
            keys, row = np.unique(given[group.key], return_inverse=True)
            records = change.records(group, keys)
            fold(group, records, row, given)
            change.write(group, keys, records)
            rows[group.name] = (keys, records)
    with cluster_of(APP, folder / "cluster", sql=sql) as cluster:
        fill(cluster, APP, rows)
        yield store, cluster
    store.close()


def pairs_of(seed: int, rows: int = ROWS) -> Pairs:
    """Return the keys of requests of 1 to 500 rows, `rows` or some more in all: both there, one of them, or neither."""
    random = np.random.default_rng(seed)
    sizes = [1, 2, 500, *random.integers(1, 500, 100).tolist()]
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), rows)) + 1]
    pairs = [tuple(random.integers(-HELD, HELD, (2, size))) for size in sizes]
    pairs[0] = (np.array([0]), np.array([0]))  # a key that is nothing, and there
    return pairs


async def read_all(store: OnlineStore, pairs: Pairs) -> list[list[Block]]:
    """Read every request, each row at its own instant."""
    try:
        return [
            await store.read(
                [Lookup(CARDS, cards), Lookup(TERMINALS, terminals)], NOW + np.arange(cards.size) * 3_600_000
            )
            for cards, terminals in pairs
        ]
    finally:
        if not isinstance(store, EmbeddedStore):
            store.close()


def assert_agreed(store: EmbeddedStore, cluster: StandIn, urls: Sequence[str], pairs: Pairs) -> None:
    """Fail where a reader gives another value, in a bit, than the embedded store."""
    expected = asyncio.run(read_all(store, pairs))
    for url in urls:
        reader = opened(StoreURL.of(url), Declared.of(APP), environment(cluster))
        found = asyncio.run(read_all(reader, pairs))
        for ours, theirs in zip(expected, found, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                for name in FIELDS:
                    np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=url)
    both = np.concatenate([cards.found & shops.found for cards, shops in expected])
    one = np.concatenate([cards.found ^ shops.found for cards, shops in expected])
    assert min(both.sum(), one.sum(), (~both & ~one).sum()) > both.size / 10
