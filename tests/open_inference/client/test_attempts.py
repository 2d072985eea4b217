"""What is asked a second time, of whom, and what is not: pods on loopback that fail in every way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from headrace.open_inference import DeadlinePassed, NotReady, OpenInferenceError, Overloaded, PredictorFailed, Tensor
from headrace.open_inference.client.endpoints import STRIKES
from tests.open_inference.client.pods import Act, Deployment, away, broken, cut, dead, deployed, full, http, hung, right


def among(*acts: Act | None, ask: Callable[[Deployment], Awaitable[Any]], **how: Any) -> Any:
    """Ask pods that act so."""

    async def scene() -> Any:
        async with deployed(*acts, **how) as pods:
            return await ask(pods)

    return asyncio.run(scene())


async def outcome(pods: Deployment, left_s: float = 10.0) -> Any:
    """Ask once; return the answer's value or the error."""
    try:
        return (await pods.infer(left_s)).output("a")[0]
    except OpenInferenceError as failed:
        return failed


@pytest.mark.parametrize("fault", [None, dead, away, cut], ids=["refused", "dies", "503", "cut"])
def test_what_one_pod_cannot_answer_another_does(fault: Act | None) -> None:
    async def ask(pods: Deployment) -> tuple[Any, ...]:
        first = await outcome(pods)
        seen = pods.asked
        later = [await outcome(pods) for _ in range(6)]
        return first, seen, later, pods.asked[0] - seen[0], pods.client.budget.spent

    first, seen, later, more, spent = among(fault, right, right, ask=ask)
    assert first == 2.5
    assert (seen[0], sum(seen[1:])) == (0 if fault is None else 1, 1)
    assert later == [2.5] * 6
    assert more == 0  # it is left out
    assert spent == 1


@pytest.mark.parametrize(("fault", "kind"), [(full, Overloaded), (broken, PredictorFailed)], ids=["429", "500"])
def test_a_refusal_that_another_pod_would_not_mend_is_passed_on(fault: Act, kind: type[Exception]) -> None:
    async def ask(pods: Deployment) -> tuple[Any, list[int]]:
        return await outcome(pods), pods.asked

    said, asked = among(fault, right, ask=ask)
    assert type(said) is kind
    assert asked == [1, 0]


@pytest.mark.parametrize(
    ("fault", "kind"), [(None, NotReady), (dead, NotReady), (away, NotReady), (cut, PredictorFailed)]
)
def test_no_request_is_asked_three_times(fault: Act | None, kind: type[Exception]) -> None:
    async def ask(pods: Deployment) -> tuple[Any, int]:
        return await outcome(pods), sum(pods.asked)

    said, asked = among(fault, fault, fault, ask=ask)
    assert type(said) is kind
    assert said.retry_after_s == (1.0 if kind is NotReady else None)
    assert asked == (0 if fault is None else 2)


def test_the_only_pod_is_asked_again_where_it_broke_a_connection_and_not_where_it_refused() -> None:
    async def ask(pods: Deployment) -> tuple[Any, list[int]]:
        return await outcome(pods), pods.asked

    turns = iter([None, http(200, b"{}")])
    said, asked = among(lambda: next(turns), ask=ask)
    assert (type(said), asked) == (PredictorFailed, [2])
    said, asked = among(away, ask=ask)
    assert (type(said), asked) == (NotReady, [1])


def test_the_deadline_covers_both_attempts() -> None:
    async def ask(pods: Deployment) -> tuple[Any, list[int]]:
        said = await outcome(pods, 0.05)
        return said, pods.asked

    said, asked = among(dead, hung, ask=ask)
    assert type(said) is DeadlinePassed
    assert asked == [1, 1]


def test_second_attempts_are_a_share_of_all() -> None:
    async def ask(pods: Deployment) -> tuple[int, int, int]:
        for _ in range(100):
            await outcome(pods)
        budget = pods.client.budget
        return sum(pods.asked), budget.spent, budget.refused

    asked, spent, refused = among(dead, dead, ask=ask, retries=0.1)
    assert spent + refused == 100
    assert 19 <= spent <= 20  # ten to begin with, and a tenth
    assert asked == 100 + spent


def test_nothing_is_asked_again_where_that_is_off() -> None:
    async def ask(pods: Deployment) -> tuple[Any, list[int], int]:
        return await outcome(pods), pods.asked, pods.client.budget.refused

    said, asked, refused = among(dead, right, ask=ask, retries=0.0)
    assert type(said) is NotReady
    assert asked == [1, 0]
    assert refused == 0


def test_a_pod_that_answers_nothing_in_time_is_left_out_after_a_while() -> None:
    async def ask(pods: Deployment) -> tuple[int, int]:
        said = [await outcome(pods, 0.1) for _ in range(20)]
        return sum(type(each) is DeadlinePassed for each in said), pods.asked[0]

    late, asked = among(hung, right, ask=ask)
    assert late <= 8  # on a busy machine the other one is late, too, now and then
    assert asked <= 6


def test_a_caller_with_the_same_deadline_hides_no_late_answer() -> None:
    async def ask(pods: Deployment) -> int:
        for _ in range(STRIKES):
            deadline = asyncio.get_running_loop().time() + 0.1
            with pytest.raises(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await pods.client.infer([Tensor.of("a", [1.5])], deadline=deadline)
        return pods.client.endpoints._known[0].strikes

    assert among(hung, ask=ask) == STRIKES


def test_answers_about_the_model_do_not_speak_for_it() -> None:
    async def ask(pods: Deployment) -> list[int]:
        for _ in range(STRIKES):
            await outcome(pods)
            with pytest.raises(PredictorFailed):
                await pods.client.config()
            pods.pods[0].act = right
            assert await pods.client.ready()
            pods.pods[0].act = broken
        return [pods.client.endpoints._known[0].strikes, pods.client.endpoints._known[0].failures]

    assert among(broken, ask=ask) == [STRIKES, 1]


def test_a_pod_whose_every_answer_is_an_error_is_left_out_after_a_while() -> None:
    async def ask(pods: Deployment) -> tuple[int, int, str | None]:
        said = [await outcome(pods) for _ in range(30)]
        return sum(type(each) is PredictorFailed for each in said), pods.asked[0], pods.client.failing

    failed, asked, failing = among(broken, right, ask=ask)
    assert failed == asked == 5
    assert failing is None


def test_a_model_that_fails_every_request_is_told_of_until_one_succeeds() -> None:
    async def ask(pods: Deployment) -> tuple[str | None, ...]:
        told = []
        for _ in range(5):
            told.append(pods.client.failing)
            await outcome(pods)
        told.append(pods.client.failing)
        pods.pods[0].act = right
        await outcome(pods)
        return *told, pods.client.failing

    *before, last, after = among(broken, ask=ask)
    assert before == [None] * 5
    assert last == "the predictor of 'm' said 500: CUDA error: device lost"
    assert after is None


def test_a_new_pod_is_asked_and_a_vanished_one_ends_its_requests_and_gets_no_more() -> None:
    async def ask(pods: Deployment) -> tuple[list[int], Any]:
        gone, *_ = pods.pods
        pods.listed[:] = ["127.0.0.2", "127.0.0.1"]
        waiting = asyncio.ensure_future(outcome(pods))
        await gone.reached.wait()
        pods.listed[:] = ["127.0.0.2", "127.0.0.3"]
        pods.client.endpoints._due = 0.0
        await outcome(pods)
        assert pods.client.endpoints._task is not None
        await pods.client.endpoints._task
        for _ in range(6):
            await outcome(pods)
        for writer in gone.writers:
            writer.write(right())
        return pods.asked, await waiting

    asked, last = among(hung, right, right, ask=ask)
    assert asked[0] == 1
    assert asked[2] == 3
    assert last == 2.5
