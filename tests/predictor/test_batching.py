"""Rows of requests that wait at the same time are joined into one run, and nobody can tell from an answer."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.open_inference import Overloaded, PredictorFailed
from headrace.runtime import Runtime
from predictor.batching import Batches, Limits, Threads
from tests.predictor.batches import Held, rows_of, total, until

SAME = 1e-6  # float32 arithmetic whose order may differ with the number of rows


def test_what_comes_in_one_turn_of_the_loop_is_one_run(pool):
    seen = []
    batches = Batches(total, Threads(pool, 1), inline_rows=100, observe=lambda *told: seen.append(told))

    async def ask():
        return await asyncio.gather(*(batches.score(rows_of(n, n), ("p",)) for n in (1, 2, 3)))

    answers = asyncio.run(ask())
    assert seen == [(3, 6)]
    assert [answer["p"].tolist() for answer in answers] == [[2], [4, 4], [6, 6, 6]]


def test_one_that_is_alone_waits_for_nobody(pool):
    seen = []
    batches = Batches(total, Threads(pool, 1), inline_rows=100, observe=lambda *told: seen.append(told))
    for _ in range(2):
        asyncio.run(batches.score(rows_of(4), ("p",)))
    assert seen == [(1, 4), (1, 4)]


def test_what_comes_while_a_run_is_under_way_is_the_next_run(pool):
    seen, held = [], Held()
    batches = Batches(held, Threads(pool, 1), observe=lambda *told: seen.append(told))

    async def ask():
        first = asyncio.create_task(batches.score(rows_of(1), ("p",)))
        await until(held.begun)
        others = [asyncio.create_task(batches.score(rows_of(n), ("p",))) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        assert (seen, batches.waiting_rows) == ([(1, 1)], 9)
        held.go.set()
        return await asyncio.gather(first, *others)

    assert [len(answer["p"]) for answer in asyncio.run(ask())] == [1, 2, 3, 4]
    assert seen == [(1, 1), (3, 9)]
    assert batches.waiting_rows == 0


def test_no_run_is_joined_beyond_its_limit_and_a_large_request_is_a_run_by_itself(pool):
    seen = []
    limits = Limits(batch_rows=10)
    batches = Batches(total, Threads(pool, 1), limits, observe=lambda *told: seen.append(told))

    async def ask():
        return await asyncio.gather(*(batches.score(rows_of(n), ("p",)) for n in (4, 6, 1, 50, 2)))

    assert [len(answer["p"]) for answer in asyncio.run(ask())] == [4, 6, 1, 50, 2]
    assert seen == [(2, 10), (1, 1), (1, 50), (1, 2)]


def test_a_small_request_does_not_wait_for_a_large_one(pool):
    held = Held()
    batches = Batches(
        lambda features, wanted: held(features, wanted) if len(features) > 10 else total(features, wanted),
        Threads(pool, 1),
        inline_rows=10,
    )

    async def ask():
        large = asyncio.create_task(batches.score(rows_of(11), ("p",)))
        await until(held.begun)
        small = await batches.score(rows_of(1), ("p",))
        assert not large.done()
        held.go.set()
        return small, await large

    small, large = asyncio.run(ask())
    assert (len(small["p"]), len(large["p"])) == (1, 11)


def test_joining_can_be_turned_off(pool):
    seen = []
    batches = Batches(total, Threads(pool, 1), Limits(1), inline_rows=9, observe=lambda *told: seen.append(told))

    async def ask():
        await asyncio.gather(*(batches.score(rows_of(n), ("p",)) for n in (1, 2, 20, 21)))

    asyncio.run(ask())
    assert seen == [(1, 1), (1, 2), (1, 20), (1, 21)]


def test_a_full_queue_refuses_and_says_how_full(pool):
    held = Held()
    batches = Batches(held, Threads(pool, 1), Limits(queue_rows=10))

    async def ask():
        first = asyncio.create_task(batches.score(rows_of(50), ("p",)))  # larger than the queue: nothing waits
        await until(held.begun)
        second = asyncio.create_task(batches.score(rows_of(8), ("p",)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await batches.score(rows_of(3), ("p",))
        third = asyncio.create_task(batches.score(rows_of(2), ("p",)))
        await asyncio.sleep(0)
        held.go.set()
        return refused.value, await asyncio.gather(first, second, third)

    refused, answers = asyncio.run(ask())
    assert refused.message == "8 rows wait for a run and 3 more were asked for, needs at most 10: try later"
    assert refused.http_status == 429
    assert [len(answer["p"]) for answer in answers] == [50, 8, 2]


def test_who_hung_up_is_not_run_for(pool):
    seen, held = [], Held()
    batches = Batches(held, Threads(pool, 1), observe=lambda *told: seen.append(told))

    async def ask():
        first = asyncio.create_task(batches.score(rows_of(1), ("p",)))
        await until(held.begun)
        gone, stays = (asyncio.create_task(batches.score(rows_of(n), ("p",))) for n in (7, 2))
        await asyncio.sleep(0)
        gone.cancel()
        held.go.set()
        await asyncio.gather(first, stays)
        assert gone.cancelled()

    asyncio.run(ask())
    assert seen == [(1, 1), (1, 2)]


@pytest.mark.parametrize("asks", ["score", "ask"])
def test_who_hung_up_keeps_no_place_from_others(pool, asks):
    held = Held()
    batches = Batches(held, Threads(pool, 1), Limits(queue_rows=10))

    async def ask():
        first = asyncio.create_task(batches.score(rows_of(1), ("p",)))
        await until(held.begun)
        if asks == "ask":
            gone = batches.ask(rows_of(10), ("p",), lambda found: None)
        else:
            gone = asyncio.create_task(batches.score(rows_of(10), ("p",)))
            await asyncio.sleep(0)
        assert batches.waiting_rows == 10
        gone.cancel()
        gone.cancel()
        await asyncio.sleep(0)
        assert batches.waiting_rows == 0
        stays = asyncio.create_task(batches.score(rows_of(9), ("p",)))
        await asyncio.sleep(0)
        held.go.set()
        await asyncio.gather(first, stays)
        return batches.waiting_rows

    assert asyncio.run(ask()) == 0


def failing_on(poison, calls=None):
    """Return a run that fails where a row begins with one of some numbers."""

    def run(features, wanted):
        if calls is not None:
            calls.append(len(features))
        if np.isin(features[:, 0], poison).any():
            raise PredictorFailed("cannot be run")
        return total(features, wanted)

    return run


@pytest.mark.parametrize("inline_rows", [100, 0], ids=["here", "aside"])
@pytest.mark.parametrize("poison", [[0], [31], [5, 6], [3, 17, 24]])
def test_rows_on_which_a_run_fails_fail_their_own_request_alone(pool, inline_rows, poison):
    batches = Batches(failing_on(poison), Threads(pool, 1), inline_rows=inline_rows)

    async def ask():
        asked = [batches.score(rows_of(1, number), ("p",)) for number in range(32)]
        return await asyncio.gather(*asked, return_exceptions=True), batches.waiting_rows

    answers, waiting = asyncio.run(ask())
    failed = {number for number, answer in enumerate(answers) if isinstance(answer, PredictorFailed)}
    assert failed == set(poison)
    assert all(answers[number]["p"].tolist() == [2 * number] for number in set(range(32)) - failed)
    assert waiting == 0


def test_a_model_that_fails_on_everything_is_not_asked_without_end(pool):
    calls = []
    batches = Batches(failing_on(list(range(500)), calls), Threads(pool, 1), inline_rows=1000)

    async def ask():
        asked = [batches.score(rows_of(1, number), ("p",)) for number in range(500)]
        return await asyncio.gather(*asked, return_exceptions=True)

    assert {str(answer) for answer in asyncio.run(ask())} == {"cannot be run"}
    assert len(calls) == 1 + 32


def test_who_hung_up_meanwhile_is_not_among_the_halves_of_a_run_that_failed(pool):
    asked, calls = [], []
    fails = failing_on([0], calls)

    def run(features, wanted):
        for one in asked[2:]:
            one.cancel()
        return fails(features, wanted)

    batches = Batches(run, Threads(pool, 1), inline_rows=100)

    async def ask():
        asked.extend(asyncio.ensure_future(batches.score(rows_of(1, number), ("p",))) for number in range(4))
        return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [type(answer) for answer in answers[2:]] == [asyncio.CancelledError] * 2
    assert isinstance(answers[0], PredictorFailed)
    assert answers[1]["p"].tolist() == [2]
    assert calls == [4, 2, 1, 1]


def test_each_gets_the_outputs_it_wants(pool):
    batches = Batches(total, Threads(pool, 1), inline_rows=100)

    async def ask():
        return await asyncio.gather(batches.score(rows_of(1), ("p",)), batches.score(rows_of(1), ("q",)))

    one, other = asyncio.run(ask())
    assert "p" in one
    assert "q" in other


@pytest.fixture(scope="module")
def runtime(published):
    return Runtime.open(published / "small" / "1" / "model.onnx")


requests = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(sizes=requests, inline_rows=st.integers(0, 50), batch_rows=st.integers(1, 60), seed=st.integers(0, 2**32 - 1))
def test_a_joined_answer_is_that_of_a_run_alone(runtime, sizes, inline_rows, batch_rows, seed):
    rng = np.random.default_rng(seed)
    asked = [rng.normal(20, 30, (size, runtime.width)).astype(np.float32) for size in sizes]
    alone = [runtime.run(features)["p"] for features in asked]
    with ThreadPoolExecutor(2) as pool:
        batches = Batches(runtime.run, Threads(pool, 2), Limits(batch_rows), inline_rows=inline_rows)

        async def ask():
            return await asyncio.gather(*(batches.score(features, ("p",)) for features in asked))

        joined = [answer["p"] for answer in asyncio.run(ask())]
    for one, other in zip(joined, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=SAME)
    assert batches.waiting_rows == 0


@pytest.mark.parametrize("hangs_up", range(3))
def test_who_hangs_up_as_a_run_begins_leaves_the_others_their_answers(pool, hangs_up):
    seen = []
    batches = Batches(total, Threads(pool, 1), inline_rows=100, observe=lambda *told: seen.append(told))

    async def ask():
        asking = [asyncio.create_task(batches.score(rows_of(n), ("p",))) for n in (7, 2, 3)]
        await asyncio.sleep(0)
        gone = asking.pop(hangs_up)
        gone.cancel()
        answers = await asyncio.gather(*asking)
        assert gone.cancelled()
        return answers

    left = [n for at, n in enumerate((7, 2, 3)) if at != hangs_up]
    assert [len(answer["p"]) for answer in asyncio.run(ask())] == left
    assert seen == [(2, sum(left))]
    assert batches.waiting_rows == 0


def test_who_comes_while_others_are_left_over_waits_behind_them(pool):
    seen = []
    batches = Batches(total, Threads(pool, 1), inline_rows=10, observe=lambda *told: seen.append(told))

    async def ask():
        return await asyncio.gather(*(batches.score(rows_of(n), ("p",)) for n in (6, 6, 6, 3)))

    assert [len(answer["p"]) for answer in asyncio.run(ask())] == [6, 6, 6, 3]
    assert seen == [(1, 6), (1, 6), (2, 9)]


def test_where_nobody_comes_requests_run_at_once_and_company_is_found_again(pool):
    seen = []
    batches = Batches(total, Threads(pool, 1), inline_rows=100, observe=lambda *told: seen.append(told))

    async def turns(count):
        """Return in how many turns of the loop one request after another was answered."""
        found = 0
        for _ in range(count):
            asking = asyncio.ensure_future(batches.score(rows_of(1), ("p",)))
            while not asking.done():
                found += 1
                await asyncio.sleep(0)
        return found

    async def ask():
        looking, at_once = await turns(4), await turns(8)
        for _ in range(9):  # in one of them one looks, and finds the others
            await asyncio.gather(*(batches.score(rows_of(1), ("p",)) for _ in range(3)))
        return looking, at_once

    looking, at_once = asyncio.run(ask())
    assert at_once / 8 < looking / 4
    assert (3, 3) in seen
    assert seen[-1] == (3, 3)
