"""Who asks in one turn of the loop asks together, and nobody's end is another's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from transformer.turns import Place, Turns


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


class Heard:
    """Asks and keeps what was answered, in the order of the answers."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.said: list[tuple[int, object]] = []

    def ask(self, asked: int, *, apart: bool = False) -> Place:
        before = len(self.said)
        place = self.runs.turns.ask(asked, lambda found: self.said.append((asked, found)), apart=apart)
        assert len(self.said) == before  # nothing is said before whoever asks has been told its place
        return place

    async def of(self, number: int) -> list[tuple[int, object]]:
        """Let the loop turn until so many were answered, and twice more, so that one too many would be heard."""
        for _ in range(100):
            if len(self.said) >= number:
                break
            await turned(1)
        await turned(2)
        return self.said


async def turned(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@pytest.mark.parametrize("apart", [False, True])
def test_answers_are_called_back_once_each_with_its_own(apart: bool) -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        for number in (1, -7, 2):
            heard.ask(number, apart=apart)
        (one, two), (refused, why), (three, six) = await heard.of(3)
        assert (one, two, refused, three, six) == (1, 2, -7, 2, 4)
        assert isinstance(why, ValueError)

    assert played(scene).together_with == ([[1], [-7], [2]] if apart else [[1, -7, 2]])


@pytest.mark.parametrize("apart", [False, True])
def test_a_failed_run_is_called_back_to_all_of_it(apart: bool) -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        heard.ask(1000, apart=apart)
        heard.ask(1, apart=apart)
        failed = [isinstance(found, ArithmeticError) for _, found in await heard.of(2)]
        assert failed == [True, not apart]

    played(scene)


def test_a_run_that_is_cancelled_is_called_back_as_that_and_those_who_join_are_cancelled() -> None:
    async def scene(runs: Runs) -> None:
        runs.held.clear()
        heard = Heard(runs)
        heard.ask(1)
        joined = asyncio.ensure_future(runs.turns.join(2))
        await runs.began.get()
        others = {asyncio.current_task(), joined}
        (run,) = (task for task in asyncio.all_tasks() if task not in others)
        run.cancel()
        ((_, found),) = await heard.of(1)
        assert isinstance(found, asyncio.CancelledError)
        await asyncio.wait([joined])
        assert joined.cancelled()

    assert played(scene).together_with == [[1, 2]]


@pytest.mark.parametrize("goes", [0, 1])
def test_whoever_is_taken_back_hears_nothing_and_takes_nobody_along(goes: int) -> None:
    async def scene(runs: Runs) -> None:
        runs.held.clear()
        heard = Heard(runs)
        places = [heard.ask(number) for number in (1, 2)]
        await runs.began.get()
        places[goes].cancel()
        places[goes].cancel()  # twice is once
        runs.held.set()
        assert await heard.of(1) == [(2 - goes, 2 * (2 - goes))]
        places[1 - goes].cancel()  # after the answer there is nothing to take back

    assert not played(scene).cancelled


@pytest.mark.parametrize("apart", [False, True])
def test_a_run_of_which_all_are_taken_back_ends_without_a_word(apart: bool) -> None:
    async def scene(runs: Runs) -> None:
        runs.held.clear()
        heard = Heard(runs)
        places = [heard.ask(1, apart=apart)] if apart else [heard.ask(1), heard.ask(2)]
        await runs.began.get()
        for place in places:
            place.cancel()
        await runs.ended.wait()
        assert await heard.of(0) == []

    assert played(scene).cancelled == 1


@pytest.mark.parametrize("apart", [False, True])
def test_what_is_taken_back_before_its_run_began_never_begins(apart: bool) -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        if apart:
            heard.ask(1, apart=True)  # begins at once; the others wait for their turns
        places = [heard.ask(number, apart=apart) for number in (2, 3)]
        for place in places:
            place.cancel()
        await turned(12)
        heard.ask(4, apart=apart)
        said = [(1, 2), (4, 8)] if apart else [(4, 8)]
        assert await heard.of(len(said)) == said

    assert played(scene).together_with == ([[1], [4]] if apart else [[4]])


def test_one_who_is_taken_back_by_the_answer_of_another_hears_nothing() -> None:
    async def scene(runs: Runs) -> None:
        said: list[object] = []
        places: list[Place] = []

        def answered(found: int | BaseException) -> None:
            said.append(found)
            places[0].cancel()

        runs.turns.ask(1, answered)
        places.append(runs.turns.ask(2, said.append))
        runs.turns.ask(3, said.append)
        await turned(12)
        assert said == [2, 6]

    assert not played(scene).cancelled


def test_a_run_waits_while_turns_bring_more_and_begins_in_the_first_that_does_not() -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        for number in range(5):
            heard.ask(number)
            await turned(1)
        assert runs.together_with == []
        await turned(2)
        heard.ask(5)
        assert await heard.of(6) == [(number, 2 * number) for number in range(6)]

    assert played(scene).together_with == [[0, 1, 2, 3, 4], [5]]


def test_a_run_that_is_full_waits_for_nobody() -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        for number in range(7):
            heard.ask(number)
            await turned(1)
        assert len(await heard.of(7)) == 7

    assert played(scene, most=3).together_with == [[0, 1, 2], [3, 4, 5], [6]]


def test_those_apart_begin_one_after_another_each_in_a_turn_after_the_answer_of_the_one_before() -> None:
    """Work without an await, as that of a model in the process is: an answer is sent when its turn has ended."""

    async def scene(runs: Runs) -> None:
        happened: list[str] = []

        def answered(found: int | BaseException) -> None:
            happened.append(f"answer {found}")
            asyncio.get_running_loop().call_soon(happened.append, f"next turn {found}")

        async def work(asked: Sequence[int]) -> Sequence[int | Exception]:
            happened.append(f"run {asked[0]}")
            return list(asked)

        turns: Turns[int, int] = Turns(runs.alone, work)
        for number in range(4):
            turns.ask(number, answered, apart=True)
        await turned(16)
        assert happened == [f"{what} {number}" for number in range(4) for what in ("run", "answer", "next turn")]

    played(scene)


def test_those_apart_leave_their_turns_to_others() -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        for number in (1, 2, 3, 4):
            heard.ask(number, apart=True)
        heard.ask(10)
        said = [asked for asked, _ in await heard.of(5)]
        assert [number for number in said if number < 10] == [1, 2, 3, 4]
        assert said.index(10) < 4

    played(scene)


def test_one_who_asks_alone_is_called_back_as_well_and_company_is_found_again() -> None:
    async def scene(runs: Runs) -> None:
        heard = Heard(runs)
        for number in range(20):
            heard.ask(number)
            assert (await heard.of(number + 1))[-1] == (number, 2 * number)
        runs.together_with.clear()
        for _ in range(12):
            before = len(heard.said)
            heard.ask(1)
            heard.ask(2)
            assert sorted((await heard.of(before + 2))[before:]) == [(1, 2), (2, 4)]
        assert runs.together_with[-1] == [1, 2]

    played(scene)
