"""Who asks in one turn of the loop asks together, and nobody's end is another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from transformer.turns import Turns


class Runs:
    """Answers with the double, remembers who asked with whom; refuses numbers below 0 and can be held."""

    def __init__(self, most: int = 64) -> None:
        self.together_with: list[list[int]] = []
        self.began: asyncio.Queue[int] = asyncio.Queue()
        self.held, self.ended = asyncio.Event(), asyncio.Event()
        self.held.set()
        self.cancelled = 0
        self.turns: Turns[int, int] = Turns(self.alone, self.together, most=most)

    async def alone(self, asked: int) -> int:
        return (await self.together([asked]))[0]  # type: ignore[return-value]

    async def together(self, asked: Sequence[int]) -> Sequence[int | Exception]:
        self.together_with.append(list(asked))
        self.began.put_nowait(len(asked))
        try:
            await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            self.ended.set()
            raise
        if 1000 in asked:
            raise ArithmeticError("all of it")
        return [2 * one if one >= 0 else ValueError(f"{one}") for one in asked]


def played(scene: Callable[[Runs], Awaitable[object]], most: int = 64) -> Runs:
    async def play() -> Runs:
        runs = Runs(most)
        await scene(runs)
        return runs

    return asyncio.run(play())


async def all_of(runs: Runs, *asked: int) -> list[object]:
    return await asyncio.gather(*map(runs.turns.join, asked), return_exceptions=True)


def test_those_of_one_turn_are_one_run_and_each_gets_its_own_answer() -> None:
    async def scene(runs: Runs) -> None:
        assert await all_of(runs, 1, 2, 3) == [2, 4, 6]
        assert await all_of(runs, 4) == [8]

    assert played(scene).together_with == [[1, 2, 3], [4]]


def test_no_more_than_the_most_are_one_run() -> None:
    async def scene(runs: Runs) -> None:
        assert await all_of(runs, 1, 2, 3, 4, 5) == [2, 4, 6, 8, 10]

    assert played(scene, most=2).together_with == [[1, 2], [3, 4], [5]]


def test_an_exception_stands_for_one_answer_and_a_failed_run_for_all() -> None:
    async def scene(runs: Runs) -> None:
        one, refused, two = await all_of(runs, 1, -7, 2)
        assert (one, two) == (2, 4)
        assert isinstance(refused, ValueError)
        assert all(isinstance(failed, ArithmeticError) for failed in await all_of(runs, 1, 1000))

    played(scene)


def test_while_one_run_is_under_way_the_next_turn_is_another() -> None:
    async def scene(runs: Runs) -> None:
        runs.held.clear()
        first = asyncio.ensure_future(all_of(runs, 1, 2))
        await runs.began.get()
        second = asyncio.ensure_future(all_of(runs, 3, 4))
        await runs.began.get()
        runs.held.set()
        assert [await first, await second] == [[2, 4], [6, 8]]

    assert played(scene).together_with == [[1, 2], [3, 4]]


@pytest.mark.parametrize("goes", [0, 1])
def test_whoever_leaves_takes_nobody_along(goes: int) -> None:
    async def scene(runs: Runs) -> None:
        runs.held.clear()
        asked = [asyncio.ensure_future(runs.turns.join(number)) for number in (1, 2)]
        await runs.began.get()
        asked[goes].cancel()
        runs.held.set()
        assert await asked[1 - goes] == 2 * (2 - goes)
        assert asked[goes].cancelled()

    assert not played(scene).cancelled


def test_a_run_nobody_waits_for_ends() -> None:
    async def scene(runs: Runs) -> None:
        runs.held.clear()
        asked = [asyncio.ensure_future(runs.turns.join(number)) for number in (1, 2)]
        await runs.began.get()
        for one in asked:
            one.cancel()
        await asyncio.wait(asked)
        await runs.ended.wait()

    assert played(scene).cancelled == 1


def test_whoever_left_before_the_run_began_is_not_waited_for() -> None:
    async def scene(runs: Runs) -> None:
        asked = asyncio.ensure_future(runs.turns.join(1))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.wait([asked])
        assert await all_of(runs, 2) == [4]

    assert played(scene).together_with == [[2]]


def test_where_nobody_has_company_nobody_waits_a_turn_but_company_is_found_again() -> None:
    async def scene(runs: Runs) -> None:
        for number in range(20):
            assert await runs.turns.join(number) == 2 * number
        runs.together_with.clear()
        for _ in range(12):
            assert await all_of(runs, 1, 2) == [2, 4]
        assert runs.together_with[-1] == [1, 2]

    played(scene)
