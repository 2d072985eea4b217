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
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from headrace.open_inference import OpenInferenceError, Overloaded
from headrace.open_inference.loneliness import Loneliness
from headrace.open_inference.servable import Withdrawable, settle
from headrace.open_inference.shield import outcome

Answers = dict[str, np.ndarray]
#: A model's run: float32 [rows, width] and the outputs wanted (none: all of them) to each output, [rows]. What it
#: raises but for an OpenInferenceError is a fault, which is logged, and an InternalError to whoever asked.
Run = Callable[[np.ndarray, tuple[str, ...]], Answers]
#: Hears the answers, or what the run failed with.
Told = Callable[[Answers | BaseException], None]


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
        self._here = _Lane(self._begin_here, min(inline_rows, limits.batch_rows), 1)
        self._aside = _Lane(self._begin_aside, limits.batch_rows, threads.runs)

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
        self._admit(features)
        if self._at_once(features):
            return self._run_here(features, wanted, 1)
        answer: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        waiting = self._lane(features).join(features, wanted, partial(settle, answer), answer)
        try:
            return await answer
        except asyncio.CancelledError:
            waiting.cancel()
            raise

    def ask(self, features: np.ndarray, wanted: tuple[str, ...], told: Told) -> Withdrawable:
        """Have `told` called with what `score` returns or what the run fails with, after this has returned.

        Raises Overloaded as `score` does. `told` must not raise, and is not called after `cancel` of what is returned.
        """
        self._admit(features)
        if not self._at_once(features):
            return self._lane(features).join(features, wanted, told)
        found = outcome(self._run_here, features, wanted, 1)
        return asyncio.get_running_loop().call_soon(told, found)

    def _admit(self, features: np.ndarray) -> None:
        rows, waiting = len(features), self.waiting_rows
        if waiting and waiting + rows > self.limits.queue_rows:
            raise Overloaded(
                f"{waiting} rows wait for a run and {rows} more were asked for, "
                f"needs at most {self.limits.queue_rows}: try later"
            )

    def _at_once(self, features: np.ndarray) -> bool:
        return len(features) <= self.inline_rows and (self.limits.batch_rows <= 1 or self._here.is_lonely())

    def _lane(self, features: np.ndarray) -> _Lane:
        return self._here if len(features) <= self.inline_rows else self._aside

    def _run_here(self, features: np.ndarray, wanted: tuple[str, ...], requests: int) -> Answers:
        self._tell(requests, len(features))
        return self._run(features, wanted)

    def _begin_here(self, features: np.ndarray, wanted: tuple[str, ...], requests: int, told: Told) -> None:
        told(outcome(self._run_here, features, wanted, requests))

    def _begin_aside(self, features: np.ndarray, wanted: tuple[str, ...], requests: int, told: Told) -> None:
        run = outcome(self._submit, features, wanted, requests)
        if isinstance(run, OpenInferenceError):  # the pool was shut down, say
            told(run)
        else:
            run.add_done_callback(lambda ended: told(_ended(ended)))

    def _submit(
        self, features: np.ndarray, wanted: tuple[str, ...], requests: int
    ) -> asyncio.Future[Answers | OpenInferenceError]:
        self._tell(requests, len(features))
        return asyncio.get_running_loop().run_in_executor(self._threads.pool, outcome, self._run, features, wanted)

    def _tell(self, requests: int, rows: int) -> None:
        if self._observe is not None:
            self._observe(requests, rows)


class _Waiting:
    """Who waits for a run: `told` hears of it, unless it was given up, or `answer` was, where a task waits for it."""

    __slots__ = ("answer", "features", "lane", "told", "wanted")

    def __init__(
        self,
        features: np.ndarray,
        wanted: tuple[str, ...],
        told: Told,
        answer: asyncio.Future[Answers] | None,
        lane: _Lane,
    ) -> None:
        self.features, self.wanted, self.answer = features, wanted, answer
        self.told: Told | None = told
        self.lane: _Lane | None = lane  # whose rows these are among, until they are run

    @property
    def gone(self) -> bool:
        return self.told is None or (self.answer is not None and self.answer.done())

    def cancel(self) -> None:
        self.told = None
        self.leave()

    def leave(self) -> None:
        """Keep no rows of the lane's from others any longer."""
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.rows -= len(self.features)


class _Lane:
    """First come, first run: at most `runs` at once, of at most `most` rows unless one request alone has more.

    A run begins in the event loop's next turn, for all that have come by then. Where turn after turn had one
    request, it need not wait for the next, and only now and then one looks whether there is company.
    """

    def __init__(self, begin: Callable[[np.ndarray, tuple[str, ...], int, Told], None], most: int, runs: int) -> None:
        self._begin, self._most, self._runs = begin, most, runs
        self._queue: deque[_Waiting] = deque()
        self._under_way = 0
        self._due = False  # whether a look at the queue is
        self._loneliness = Loneliness()
        self.rows = 0

    def is_lonely(self) -> bool:
        """Tell whether a request need not look for company, and count it."""
        return not self._queue and not self._under_way and self._loneliness.lasts()

    def join(
        self,
        features: np.ndarray,
        wanted: tuple[str, ...],
        told: Told,
        answer: asyncio.Future[Answers] | None = None,
    ) -> _Waiting:
        waiting = _Waiting(features, wanted, told, answer, self)
        self._queue.append(waiting)
        self.rows += len(features)
        self._look_soon()
        return waiting

    def _look_soon(self) -> None:
        if self._queue and not self._due and self._under_way < self._runs:
            self._due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._due = False
        batch = self._taken()
        if batch:
            self._loneliness.ran(len(batch))
            self._under_way += 1
            features: np.ndarray | OpenInferenceError = batch[0].features
            if len(batch) > 1:
                features = outcome(np.concatenate, [one.features for one in batch])
            if isinstance(features, OpenInferenceError):
                self._end(batch, features)
            else:
                same = all(one.wanted == batch[0].wanted for one in batch)
                self._begin(features, batch[0].wanted if same else (), len(batch), partial(self._end, batch))
        self._look_soon()

    def _taken(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        rows = 0
        while self._queue and (not rows or rows + len(self._queue[0].features) <= self._most):
            one = self._queue.popleft()
            one.leave()
            if not one.gone:  # else its deadline has passed, or its caller hung up
                rows += len(one.features)
                batch.append(one)
        return batch

    def _end(self, batch: list[_Waiting], found: Answers | BaseException) -> None:
        self._under_way -= 1
        parts: Sequence[Answers | BaseException] = [found] * len(batch)
        if len(batch) > 1 and not isinstance(found, BaseException):
            split = outcome(_split, found, [len(one.features) for one in batch])
            parts = [split] * len(batch) if isinstance(split, OpenInferenceError) else split
        for one, part in zip(batch, parts, strict=True):
            if one.told is not None:
                one.told(part)
        self._look_soon()


def _ended(run: asyncio.Future[Answers | OpenInferenceError]) -> Answers | BaseException:
    return asyncio.CancelledError() if run.cancelled() else run.exception() or run.result()


def _split(given: Answers, rows: Sequence[int]) -> list[Answers]:
    parts, at = [], 0
    for count in rows:
        parts.append({name: array[at : at + count] for name, array in given.items()})
        at += count
    return parts
