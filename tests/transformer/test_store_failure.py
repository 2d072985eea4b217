"""A transformer whose store fails on command: what callers are told, how late, and how soon it is well again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from headrace.settings import TransformerSettings
from tests.end_to_end.asking import Said
from tests.transformer.failing import Front, fronted, told

ANN, BOB, NOBODY = (7.0, "ok"), (5.0, "ok"), (0.0, "users missing")
CACHED = {"cache_entries": 100, "cache_ttl_ms": 1_000.0, "stale_limit_ms": 60_000.0}


def scene(then: Callable[[Front], Awaitable[Any]], **settings: Any) -> Any:
    """Play a scene before a served transformer of these settings."""

    async def played() -> Any:
        async with fronted(TransformerSettings(**settings)) as front:
            return await then(front)

    return asyncio.run(played())


def refused(said: Said, status: int, message: str) -> None:
    assert (said.status, said.error) == (status, message)


def test_by_default_a_request_is_refused_and_soon_without_asking_the_store() -> None:
    async def then(front: Front) -> None:
        assert told(await front.infer("ann", "cy")) == [ANN, NOBODY]
        front.store.away = True
        for _ in range(10):
            refused(await front.infer("ann"), 503, "the store is away")
        message = "the store failed too often of late and is not asked, needs a moment to come back"
        for _ in range(5):
            said = await front.infer("ann")
            refused(said, 503, message)
            assert said.headers["retry-after"] == "1"
        assert front.store.reads == 1 + 10
        assert front.metric("headrace_store_circuit_open") == 1
        assert front.metric("headrace_store_circuit_opened_total") == 1
        assert front.metric("headrace_store_reads_refused_total") == 5
        front.store.away, front.at = False, 0.5
        assert told(await front.infer("ann")) == [ANN]
        assert front.metric("headrace_store_circuit_open") == 0

    scene(then)


def test_rows_that_are_kept_answer_until_their_limit_and_say_so() -> None:
    async def then(front: Front) -> None:
        await front.infer("ann", "cy")
        front.store.away, front.at = True, 59.0
        said = await front.infer("ann", "cy")
        assert told(said) == [(7.0, "users stale"), (0.0, "users missing, users stale")]
        assert said.output("feature_age_ms") == [60_000, -1]
        assert said.json["parameters"] == {"headrace_fallback_rows": 2}
        refused(await front.infer("ann", "bob"), 503, "the store is away")
        front.at = 60.0
        refused(await front.infer("ann"), 503, "the store is away")
        assert front.metric("headrace_rows_fallback_total", group="users", kind="stale") == 2
        assert front.metric("headrace_rows_missing_total", group="users") == 2

    scene(then, on_store_failure="stale", **CACHED)


def test_one_row_without_features_does_not_fail_its_neighbours() -> None:
    async def then(front: Front) -> None:
        await front.infer("ann")
        front.store.away, front.at = True, 2.0
        said = await front.infer("ann", "bob", "")
        assert told(said) == [(7.0, "users stale"), (0.0, "users default"), (0.0, "user invalid, users missing")]
        assert said.output("feature_age_ms") == [60_000, -1, -1]
        assert said.json["parameters"] == {"headrace_degraded_rows": 1, "headrace_fallback_rows": 2}
        assert front.metric("headrace_rows_fallback_total", group="users", kind="default") == 1
        assert front.metric("headrace_rows_missing_total", group="users") == 1

    scene(then, on_store_failure="users=default", **CACHED)


def test_a_store_that_is_silent_costs_half_of_the_time_where_it_is_answered_for() -> None:
    async def then(front: Front) -> None:
        front.store.silent = True
        assert told(await front.infer("ann", deadline_ms=1000)) == [(0.0, "users default")]

    scene(then, on_store_failure="default")


def test_a_store_that_is_silent_ends_requests_at_their_deadline_until_it_is_not_asked_any_more() -> None:
    async def then(front: Front) -> None:
        front.store.silent = True
        front.store.on_read = lambda: setattr(front, "at", front.at + 0.05)  # longer than the breaker's patience
        for _ in range(10):
            assert (await front.infer("ann", deadline_ms=100)).status == 504
        assert (await front.infer("ann")).status == 503
        assert front.store.reads == 10

    scene(then)


def test_a_store_that_takes_longer_than_it_may_is_away() -> None:
    async def then(front: Front) -> None:
        front.store.silent = True
        refused(await front.infer("ann"), 503, "the store gave no answer in the time a read may take")

    scene(then, store_timeout_ms=20.0)


def test_it_stays_ready_while_all_is_answered_for_and_only_then() -> None:
    async def readiness(front: Front) -> str | None:
        front.store.away = True
        return await front.model.check()

    assert scene(readiness) == "the store is away"
    assert scene(readiness, on_store_failure="stale", **CACHED) is None
    assert scene(readiness, on_store_failure="default") is None


def test_kept_rows_spare_the_store_and_are_counted() -> None:
    async def then(front: Front) -> None:
        for users in (("ann", "bob", "cy"), ("ann", "cy"), ("bob", "bob")):
            await front.infer(*users)
        assert front.store.reads == 1
        found = {
            result: front.metric("headrace_cache_keys_total", result=result) for result in ("hit", "missing", "miss")
        }
        assert found == {"hit": 3, "missing": 1, "miss": 3}
        assert front.metric("headrace_cache_entries") == 3
        assert front.metric("headrace_cache_bytes") > 3 * 240
        assert front.metric("headrace_cache_evicted_total") == front.metric("headrace_cache_coalesced_total") == 0

    scene(then, **CACHED)


def test_second_reads_are_counted_where_they_are_made() -> None:
    async def then(front: Front) -> None:
        assert told(await front.infer("ann")) == [ANN]
        assert front.metric("headrace_store_second_reads_total") == 0
        assert front.metric("headrace_store_second_reads_won_total") == 0
        with pytest.raises(StopIteration):
            front.metric("headrace_cache_entries")

    scene(then, second_reads=True)
