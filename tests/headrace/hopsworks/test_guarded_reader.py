"""Faults on the wire behind a guard: no wrong value, nobody who waits too long, and a cluster that is found again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import StoreURL, opened
from headrace.settings import TransformerSettings
from headrace.stores.breaker import Circuit
from headrace.stores.online import Block, Lookup, StoreUnavailable
from headrace.stores.resilient import Resilient
from tests.headrace.hopsworks.filled import cluster_of, environment, fill, one_event_each
from tests.hopsworks import StandIn
from transformer.resilience import guarded

NOW = 1_772_323_200_000
KEYS = np.arange(8)
DEADLINE_S = 0.1
#: More than a busy machine takes, less than a deadline missed: how late exactly is measured elsewhere.
SLACK_S = 5.0
GROUPS = APP.view.groups

FAULTS: dict[str, dict[str, Any]] = {
    "late": {"delay_ms": 3_000},
    "cut before an answer": {"drop": "connection"},
    "cut after the headers": {"drop": "headers"},
    "cut in the middle": {"truncate": True},
    "a row too few": {"shape": "short"},
    "a row that could not be read": {"shape": "null-row"},
    "no JSON": {"shape": "text"},
    "403": {"status": 403},
    "500": {"status": 500},
    "every other 503": {"status": 503, "every": 2},
    "closed": {"listening": "closed"},
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A cluster with eight cards and terminals of one event each, of the amount of their key."""
    with cluster_of(APP, tmp_path_factory.mktemp("cluster")) as made:
        fill(made, APP, one_event_each(APP, KEYS, NOW - 1000))
        yield made


@pytest.fixture
def faults(cluster: StandIn) -> Iterator[Any]:
    """The cluster's faults, ended after the test."""
    yield cluster.faults
    cluster.faults.clear()


def guard(cluster: StandIn, **settings: Any) -> Resilient:
    """Return our reader of the cluster, guarded as a transformer's settings say."""
    url = StoreURL.of(f"hopsworks://{cluster.host}:{cluster.rdrs_port}?tls=false")
    store = guarded(opened(url, Declared.of(APP), environment(cluster)), TransformerSettings(**settings), GROUPS)
    assert isinstance(store, Resilient)
    return store


async def read(store: Resilient, keys: np.ndarray = KEYS, seconds: float = DEADLINE_S) -> list[Block] | None:
    """Read both groups; None where that is refused."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    try:
        return await store.read([Lookup(group, keys) for group in GROUPS], np.full(keys.size, NOW), deadline)
    except StoreUnavailable:
        return None
    finally:
        assert loop.time() < deadline + SLACK_S


def right(blocks: list[Block], keys: np.ndarray = KEYS) -> bool:
    """Tell whether every row that is not a default is what the cluster holds."""
    for block, column in zip(blocks, (-1, None), strict=True):
        default = np.zeros(keys.size, bool) if block.default is None else block.default
        known, held = ~default, keys < KEYS.size
        if not np.array_equal(block.found[known], held[known]) or not np.isnan(block.values[default]).all():
            return False
        if column is not None and not np.array_equal(block.values[known & held, column], keys[known & held] * 1.0):
            return False
    return True


async def found_again(store: Resilient) -> None:
    """Read until all is fresh."""
    pause = asyncio.Event()
    while True:
        blocks = await read(store, seconds=20.0)
        if blocks and all(block.stale is None and block.default is None for block in blocks):
            assert right(blocks)
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(pause.wait(), 0.02)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("word", ["reject", "stale", "default"])
def test_through_a_fault_and_back(cluster, faults, fault, word):
    cached = {"cache_entries": 1000, "cache_ttl_ms": 1.0, "cache_missing_ttl_ms": 1.0, "stale_limit_ms": 60_000.0}
    keys = np.append(KEYS, 77)

    async def scene() -> None:
        store = guard(cluster, on_store_failure=word, second_reads=True, **(cached if word == "stale" else {}))
        blocks = await read(store, keys, 20.0)
        assert blocks is not None
        assert right(blocks, keys)
        faults.set("rdrs", **FAULTS[fault])
        answered = [await read(store, keys) for _ in range(15)]
        assert all(blocks is None or right(blocks, keys) for blocks in answered)
        assert word == "reject" or None not in answered
        assert fault == "every other 503" or word != "reject" or not any(answered)
        faults.clear()
        await found_again(store)
        assert store.breaker.circuit is Circuit.CLOSED
        store.close()

    asyncio.run(scene())


def test_a_cluster_that_is_gone_is_not_asked_all_the_time(cluster, faults):
    async def scene() -> None:
        store = guard(cluster, store_retry_ms=60_000.0)
        faults.set("rdrs", status=500)
        for _ in range(200):
            assert await read(store, seconds=20.0) is None
        assert (store.breaker.circuit, store.breaker.refused) == (Circuit.OPEN, 190)
        store.close()

    asyncio.run(scene())


def test_rows_that_are_kept_need_no_cluster(cluster, faults):
    async def scene() -> None:
        store = guard(cluster, cache_entries=1000, cache_ttl_ms=60_000.0)
        first = await asyncio.gather(*(read(store, seconds=20.0) for _ in range(20)))
        assert all(blocks and right(blocks) for blocks in first)
        assert store.cache is not None
        assert store.cache.counts.coalesced == 19 * len(GROUPS) * KEYS.size
        faults.set("rdrs", status=500)
        for at in range(5):
            blocks = await read(store, KEYS[at : at + 3], 20.0)
            assert blocks is not None
            assert right(blocks, KEYS[at : at + 3])
            assert [block.stale for block in blocks] == [None, None]
        store.close()

    asyncio.run(scene())
