"""Batching: the rows of requests that wait at the same time are joined into one run.

Nobody waits for company. A request runs in the event loop's next turn, together with what else has come
by then: what arrives while a run is under way is there when it ends, and is the next run. Runs of up to
`inline_rows` rows are made on the event loop, larger ones by the pool's threads, each kind in a lane of its
own, so that no small request waits for a large one. Whose rows were in a run with whose, nobody can tell:
a row's answer depends on that row alone, up to the last bits of float32 (1e-6; see docs/predictor.md).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from headrace.open_inference import Overloaded

_LONELY, _AT_ONCE = 4, 8
Answers = dict[str, np.ndarray]
#: A model's run: float32 [rows, width] and the outputs wanted (none: all of them) to each output, [rows].
Run = Callable[[np.ndarray, tuple[str, ...]], Answers]


@dataclass(frozen=True, slots=True)
class Limits:
    """How many rows are joined into one run, 1 to join none, and how many may wait for one."""

    batch_rows: int = 1024
    queue_rows: int = 32_768


@dataclass(frozen=True, slots=True)
class Threads:
    """Where larger runs are made, and how many of them at once."""

    pool: Executor
    runs: int


class Batches:
    """The runs of one model.

    `observe(requests, rows)` is told of every run. Use it from one event loop only.
    """

    def __init__(
        self,
        run: Run,
        threads: Threads,
        limits: Limits = Limits(),
        *,
        inline_rows: int = 0,
        observe: Callable[[int, int], None] | None = None,
    ) -> None:
        self._run, self._threads, self.limits = run, threads, limits
        self.inline_rows, self._observe = inline_rows, observe
        self._here = _Lane(self._run_here, min(inline_rows, limits.batch_rows), 1, led=True)
        self._aside = _Lane(self._run_aside, limits.batch_rows, threads.runs, led=False)

    @property
    def runs_at_once(self) -> int:
        """How many larger runs are made at once."""
        return self._threads.runs

    @property
    def waiting_rows(self) -> int:
        """How many rows wait for a run."""
        return self._here.rows + self._aside.rows

    async def score(self, features: np.ndarray, wanted: tuple[str, ...]) -> Answers:
        """Return the wanted outputs, and maybe others, of float32 [rows, width]; Overloaded where too many wait.

        A request larger than the queue is taken where nothing waits: else it could never be answered.
        """
        rows, waiting = len(features), self.waiting_rows
        if waiting and waiting + rows > self.limits.queue_rows:
            raise Overloaded(
                f"{waiting} rows wait for a run and {rows} more were asked for, "
                f"needs at most {self.limits.queue_rows}: try later"
            )
        if rows > self.inline_rows:
            return await self._aside.join(features, wanted)
        if self.limits.batch_rows <= 1:
            return await self._run_here(features, wanted, 1)
        return await self._here.join(features, wanted)

    async def _run_here(self, features: np.ndarray, wanted: tuple[str, ...], requests: int) -> Answers:
        self._tell(requests, len(features))
        return self._run(features, wanted)

    async def _run_aside(self, features: np.ndarray, wanted: tuple[str, ...], requests: int) -> Answers:
        self._tell(requests, len(features))
        return await asyncio.get_running_loop().run_in_executor(self._threads.pool, self._run, features, wanted)

    def _tell(self, requests: int, rows: int) -> None:
        if self._observe is not None:
            self._observe(requests, rows)


@dataclass(slots=True)
class _Waiting:
    features: np.ndarray
    wanted: tuple[str, ...]
    answer: asyncio.Future[Answers]


class _Lane:
    """First come, first run: at most `runs` at once, of at most `most` rows unless one request alone has more.

    Where runs are made on the event loop, a request that finds the lane idle leads: it runs in the loop's next
    turn, for all that have come by then, which costs it less than a task of its own would. Where leaders found
    nobody time and again, requests run at once, which saves them a tenth of their time, and only now and then
    one leads to see whether there is company.
    """

    def __init__(
        self, run: Callable[[np.ndarray, tuple[str, ...], int], Awaitable[Answers]], most: int, runs: int, *, led: bool
    ) -> None:
        self._run, self._most, self._runs, self._led = run, most, runs, led
        self._queue: deque[_Waiting] = deque()
        self._under_way: set[asyncio.Task[list[Answers]]] = set()
        self._leader = False
        self._alone = 0  # leaders in a row who found nobody, and requests since that did not look
        self.rows = 0

    async def join(self, features: np.ndarray, wanted: tuple[str, ...]) -> Answers:
        if self._led and not (self._leader or self._queue or self._under_way):
            if _LONELY <= self._alone < _LONELY + _AT_ONCE:
                self._alone += 1
                return await self._run(features, wanted, 1)
            return await self._lead(features, wanted)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answers] = loop.create_future()
        self._queue.append(_Waiting(features, wanted, answer))
        self.rows += len(features)
        self._begin(loop)
        return await answer

    async def _lead(self, features: np.ndarray, wanted: tuple[str, ...]) -> Answers:
        followers: list[_Waiting] = []
        self._leader = True
        try:
            await asyncio.sleep(0)
            self._take(followers, len(features))
            own, *others = await self._answers(
                [features, *(one.features for one in followers)], [wanted, *(one.wanted for one in followers)]
            )
        except BaseException as failed:
            for one in followers:
                one.answer.set_exception(failed)
            raise
        finally:
            self._leader = False
            self._begin(asyncio.get_running_loop())  # for whom there was no room, or whose leader has gone
        # Two look, one after the other: the last of a turn finds nobody, the first of the next does.
        self._alone = 0 if followers else self._alone + 1 if self._alone < _LONELY else _LONELY - 1
        for one, answer in zip(followers, others, strict=True):
            one.answer.set_result(answer)
        return own

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._queue and not self._leader and len(self._under_way) < self._runs:
            batch: list[_Waiting] = []
            task = loop.create_task(self._turn(batch))
            self._under_way.add(task)
            task.add_done_callback(partial(self._end, batch))

    async def _turn(self, batch: list[_Waiting]) -> list[Answers]:
        self._take(batch, 0)
        if not batch:
            return []
        return await self._answers([one.features for one in batch], [one.wanted for one in batch])

    async def _answers(self, features: list[np.ndarray], wanted: list[tuple[str, ...]]) -> list[Answers]:
        if len(features) == 1:
            return [await self._run(features[0], wanted[0], 1)]
        same = all(one == wanted[0] for one in wanted)
        given = await self._run(np.concatenate(features), wanted[0] if same else (), len(features))
        return _split(given, [len(one) for one in features])

    def _take(self, batch: list[_Waiting], rows: int) -> None:
        while self._queue and (not rows or rows + len(self._queue[0].features) <= self._most):
            one = self._queue.popleft()
            self.rows -= len(one.features)
            if not one.answer.done():  # else its deadline has passed, or its caller hung up
                rows += len(one.features)
                batch.append(one)

    def _end(self, batch: list[_Waiting], task: asyncio.Task[list[Answers]]) -> None:
        self._under_way.discard(task)
        failed = asyncio.CancelledError() if task.cancelled() else task.exception()
        for at, one in enumerate(batch):
            if one.answer.done():
                continue
            if failed is None:
                one.answer.set_result(task.result()[at])
            elif task.cancelled():
                one.answer.cancel()
            else:
                one.answer.set_exception(failed)
        self._begin(task.get_loop())


def _split(given: Answers, rows: Sequence[int]) -> list[Answers]:
    parts, at = [], 0
    for count in rows:
        parts.append({name: array[at : at + count] for name, array in given.items()})
        at += count
    return parts
