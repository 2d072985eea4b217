"""Who asks for a run without waiting in a task is told what who waits is told, and not before the call returns."""

import asyncio

import numpy as np
import pytest

from headrace.open_inference import InternalError, Overloaded, PredictorFailed
from predictor.batching import Batches, Limits, Threads
from tests.predictor.batches import Heard, Held, rows_of, total, until


def test_who_asks_without_waiting_is_told_after_the_call_and_joined_with_who_waits(pool):
    seen, heard = [], Heard()
    batches = Batches(total, Threads(pool, 1), inline_rows=100, observe=lambda *told: seen.append(told))

    async def ask():
        waits = asyncio.create_task(batches.score(rows_of(3), ("p",)))
        await asyncio.sleep(0)
        batches.ask(rows_of(1), ("p",), heard.hear("a"))
        batches.ask(rows_of(2, 5.0), ("p",), heard.hear("b"))
        assert heard.told == []
        return await heard.all(2), await waits

    told, waited = asyncio.run(ask())
    assert told == [("a", [2]), ("b", [10, 10])]
    assert waited["p"].tolist() == [2, 2, 2]
    assert seen == [(3, 6)]


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_who_is_run_for_at_once_is_told_after_the_call_all_the_same(pool, batch_rows):
    heard = Heard()
    batches = Batches(total, Threads(pool, 1), Limits(batch_rows), inline_rows=100)

    async def ask():
        for at in range(20):  # some of them find that nobody else ever comes
            batches.ask(rows_of(1), ("p",), heard.hear(at))
            assert len(heard.told) == at
            await heard.all(at + 1)

    asyncio.run(ask())
    assert heard.told == [(at, [2]) for at in range(20)]


@pytest.mark.parametrize(("inline_rows", "batch_rows"), [(0, 100), (100, 100), (100, 1)])
def test_who_gave_up_is_told_nothing(pool, inline_rows, batch_rows):
    heard = Heard()
    batches = Batches(total, Threads(pool, 1), Limits(batch_rows), inline_rows=inline_rows)

    async def ask():
        for _ in range(20):
            gone = batches.ask(rows_of(1), ("p",), heard.hear("gone"))
            batches.ask(rows_of(1), ("p",), heard.hear("stays"))
            gone.cancel()
            await heard.all(len(heard.told) + 1)

    asyncio.run(ask())
    assert [name for name, _ in heard.told] == ["stays"] * 20
    assert batches.waiting_rows == 0


def test_who_gives_up_while_its_run_is_under_way_is_told_nothing(pool):
    held, heard = Held(), Heard()
    batches = Batches(held, Threads(pool, 1))

    async def ask():
        gone = batches.ask(rows_of(1), ("p",), heard.hear("gone"))
        await until(held.begun)
        gone.cancel()
        batches.ask(rows_of(2), ("p",), heard.hear("stays"))
        held.go.set()
        return await heard.all(1)

    assert asyncio.run(ask()) == [("stays", [2, 2])]


@pytest.mark.parametrize(("inline_rows", "batch_rows"), [(0, 100), (100, 100), (100, 1)])
def test_who_asks_is_told_what_a_run_failed_with(pool, inline_rows, batch_rows):
    heard = Heard()

    def run(features, wanted):
        raise PredictorFailed("too many")

    batches = Batches(run, Threads(pool, 1), Limits(batch_rows), inline_rows=inline_rows)

    async def ask():
        for at in range(20):
            batches.ask(rows_of(1), ("p",), heard.hear(at))
            await heard.all(at + 1)

    asyncio.run(ask())
    assert [str(found) for _, found in heard.told] == ["too many"] * 20
    assert batches.waiting_rows == 0


def test_who_asks_where_the_queue_is_full_is_refused_at_once(pool):
    held, heard = Held(), Heard()
    batches = Batches(held, Threads(pool, 1), Limits(queue_rows=10))

    async def ask():
        batches.ask(rows_of(1), ("p",), heard.hear("first"))
        await until(held.begun)
        batches.ask(rows_of(8), ("p",), heard.hear("second"))
        with pytest.raises(Overloaded, match="8 rows wait for a run and 3 more were asked for"):
            batches.ask(rows_of(3), ("p",), heard.hear("third"))
        held.go.set()
        return await heard.all(2)

    assert [name for name, _ in asyncio.run(ask())] == ["first", "second"]


@pytest.mark.parametrize("inline_rows", [0, 100])
def test_a_fault_of_a_run_is_told_without_its_words(pool, inline_rows, capfd):
    heard = Heard()

    def run(features, wanted):
        raise RuntimeError(f"no idea what to do with {features}")

    batches = Batches(run, Threads(pool, 1), inline_rows=inline_rows)

    async def ask():
        batches.ask(rows_of(1), ("p",), heard.hear("a"))
        return await heard.all(1)

    ((_, fault),) = asyncio.run(ask())
    assert isinstance(fault, InternalError)
    assert capfd.readouterr().err.startswith(f"{fault.message}: RuntimeError\n")


def test_who_asks_for_a_run_that_cannot_begin_any_more_is_told_so(pool, capfd):
    heard = Heard()
    batches = Batches(total, Threads(pool, 1))

    async def ask():
        pool.shutdown()
        for at in range(2):
            batches.ask(rows_of(1), ("p",), heard.hear(at))
            await heard.all(at + 1)

    asyncio.run(ask())
    assert [type(found) for _, found in heard.told] == [InternalError] * 2
    assert capfd.readouterr().err.count("internal error, id ") == 2
    assert batches.waiting_rows == 0


def unlike(features, wanted):
    """A model that answers one number whatever it is asked: two requests have no part of it each."""
    return {"p": np.float32(1.0)}


def observing(requests, rows):
    raise ArithmeticError("it cannot count")


@pytest.mark.parametrize("inline_rows", [0, 100])
@pytest.mark.parametrize(
    ("run", "observe"), [(unlike, None), (total, observing)], ids=["a split that fails", "an observer that fails"]
)
def test_a_fault_beside_the_run_is_told_to_all_and_the_next_run_begins(pool, run, observe, inline_rows, capfd):
    heard = Heard()
    batches = Batches(run, Threads(pool, 1), inline_rows=inline_rows, observe=observe)

    async def ask():
        for at in (0, 2, 4):
            for name in (at, at + 1):
                batches.ask(rows_of(1), ("p",), heard.hear(name))
            await heard.all(at + 2)

    asyncio.run(ask())
    assert [(name, type(found)) for name, found in heard.told] == [(at, InternalError) for at in range(6)]
    assert capfd.readouterr().err.count("internal error, id ") == 3
    assert batches.waiting_rows == 0


def test_rows_that_cannot_be_joined_are_a_fault_and_the_next_run_begins(pool, capfd):
    heard = Heard()
    batches = Batches(total, Threads(pool, 1), inline_rows=100)

    async def ask():
        batches.ask(rows_of(1), ("p",), heard.hear("a"))
        batches.ask(np.ones((1, 3), np.float32), ("p",), heard.hear("b"))
        await heard.all(2)
        batches.ask(rows_of(1), ("p",), heard.hear("c"))
        return await heard.all(3)

    told = asyncio.run(ask())
    assert [type(found) for _, found in told] == [InternalError, InternalError, list]
    assert "ValueError" in capfd.readouterr().err
