"""Blocks that end at an instant do as those of asyncio do, however many there are, in whatever order they are late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from headrace.open_inference.alarms import Alarm


async def ours(alarm: Alarm, instant: float, work: Awaitable[Any]) -> Any:
    with alarm.until(instant):
        return await work


async def theirs(alarm: Alarm, instant: float, work: Awaitable[Any]) -> Any:
    async with asyncio.timeout_at(instant):
        return await work


BOTH = pytest.mark.parametrize("block", [ours, theirs])


def now() -> float:
    return asyncio.get_running_loop().time()


async def forever() -> None:
    await asyncio.Event().wait()


async def at_once() -> int:
    return 7


@BOTH
def test_what_is_done_in_time_is_given(block: Any) -> None:
    async def scene() -> int:
        return await block(Alarm(), now() + 60, at_once())

    assert asyncio.run(scene()) == 7


@BOTH
@pytest.mark.parametrize("left_s", [0.01, 0.0, -1.0])
def test_what_is_late_is_a_time_out(block: Any, left_s: float) -> None:
    async def scene() -> bool:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError):
            await block(Alarm(), now() + left_s, forever())
        return bool(task.cancelling())

    assert asyncio.run(scene()) is False


@BOTH
def test_a_cancellation_from_outside_stays_one(block: Any) -> None:
    async def scene() -> None:
        task = asyncio.ensure_future(block(Alarm(), now() + 60, forever()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())


@BOTH
def test_an_error_is_passed_on(block: Any) -> None:
    async def wrong() -> None:
        raise KeyError("a")

    async def scene() -> None:
        with pytest.raises(KeyError):
            await block(Alarm(), now() + 60, wrong())

    asyncio.run(scene())


def test_many_end_each_at_its_own_instant_and_those_in_time_do_not() -> None:
    async def scene() -> tuple[list[Any], list[int]]:
        alarm, ended = Alarm(), []

        async def one(number: int, left_s: float) -> Any:
            try:
                return await ours(alarm, now() + left_s, forever())
            except TimeoutError:
                ended.append(number)
                return "late"

        late = [one(number, left) for number, left in enumerate([0.09, 0.03, 0.06, 0.03, 0.0])]
        said = await asyncio.gather(*late, ours(alarm, now() + 60, at_once()))
        assert not alarm._waiting
        return said, ended

    said, ended = asyncio.run(scene())
    assert said == ["late"] * 5 + [7]
    assert [ended[0], *sorted(ended[1:3]), *ended[3:]] == [4, 1, 3, 2, 0]


def test_one_within_another_ends_alone() -> None:
    async def scene() -> str:
        alarm = Alarm()
        with alarm.until(now() + 60):
            with pytest.raises(TimeoutError):
                await ours(alarm, now() + 0.01, forever())
            await asyncio.sleep(0)
            return "went on"

    assert asyncio.run(scene()) == "went on"


def test_a_loop_that_ended_with_calls_under_way_leaves_nothing_behind() -> None:
    alarm = Alarm()

    async def left() -> None:
        task = asyncio.ensure_future(ours(alarm, now() + 60, forever()))
        await asyncio.sleep(0)
        alarm._waiting.add(alarm.until(0.0))  # as if its block had never been left
        assert not task.done()

    asyncio.run(left())
    for _ in range(2):
        with pytest.raises(TimeoutError):
            asyncio.run(ours_soon(alarm))
    assert not alarm._waiting


async def ours_soon(alarm: Alarm) -> None:
    await ours(alarm, now() + 0.01, forever())


def test_a_deadline_needs_a_task() -> None:
    said: list[str] = []

    def enter() -> None:
        with pytest.raises(RuntimeError) as refused:
            Alarm().until(1.0).__enter__()
        said.append(str(refused.value))

    async def scene() -> None:
        asyncio.get_running_loop().call_soon(enter)  # a callback is no task's
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert said == ["a deadline was set outside a task, needs one that can be cancelled"]
