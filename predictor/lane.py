"""Who waits for a run of a model, and what becomes of those of one run."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import numpy as np

from headrace.open_inference import OpenInferenceError, PredictorFailed
from headrace.open_inference.loneliness import Loneliness
from headrace.open_inference.shield import outcome

Answers = dict[str, np.ndarray]
#: Hears the answers, or what the run failed with.
Told = Callable[[Answers | BaseException], None]
#: How many further runs are made of one that failed; one request to blame of 1,024 takes 20.
_MOST_APART = 32


class Waiting:
    """Who waits for a run: `told` hears of it, unless it was given up, or `answer` was, where a task waits for it."""

    __slots__ = ("answer", "features", "lane", "told", "wanted")

    def __init__(
        self,
        features: np.ndarray,
        wanted: tuple[str, ...],
        told: Told,
        answer: asyncio.Future[Answers] | None,
        lane: Lane,
    ) -> None:
        self.features, self.wanted, self.answer = features, wanted, answer
        self.told: Told | None = told
        self.lane: Lane | None = lane  # whose rows these are among, until they are run

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


class Lane:
    """First come, first run: at most `runs` at once, of at most `most` rows unless one request alone has more.

    A run begins in the event loop's next turn, for all that have come by then. Where turn after turn had one
    request, it need not wait for the next, and only now and then one looks whether there is company. Where a model
    cannot run what was joined, each half runs by itself, so that rows on which one fails fail their own request alone.
    """

    def __init__(self, begin: Callable[[np.ndarray, tuple[str, ...], int, Told], None], most: int, runs: int) -> None:
        self._begin, self._most, self._runs = begin, most, runs
        self._queue: deque[Waiting] = deque()
        self._halves: deque[tuple[list[Waiting], Iterator[int]]] = deque()  # of runs that failed, before all others
        self._under_way = 0
        self._due = False  # whether a look at the queue is
        self._loneliness = Loneliness()
        self.rows = 0

    def is_lonely(self) -> bool:
        """Tell whether a request need not look for company, and count it."""
        return not (self._queue or self._halves or self._under_way) and self._loneliness.lasts()

    def join(
        self,
        features: np.ndarray,
        wanted: tuple[str, ...],
        told: Told,
        answer: asyncio.Future[Answers] | None = None,
    ) -> Waiting:
        waiting = Waiting(features, wanted, told, answer, self)
        self._queue.append(waiting)
        self.rows += len(features)
        self._look_soon()
        return waiting

    def _look_soon(self) -> None:
        if (self._queue or self._halves) and not self._due and self._under_way < self._runs:
            self._due = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._due = False
        if self._halves:
            half, further = self._halves.popleft()
            self._start([one for one in half if not one.gone], further)
        elif batch := self._taken():
            self._loneliness.ran(len(batch))
            self._start(batch, iter(range(_MOST_APART)))
        self._look_soon()

    def _start(self, batch: list[Waiting], further: Iterator[int]) -> None:
        if not batch:
            return
        self._under_way += 1
        end = partial(self._end, batch, further)
        features: np.ndarray | OpenInferenceError = batch[0].features
        if len(batch) > 1:
            features = outcome(np.concatenate, [one.features for one in batch])
        if isinstance(features, OpenInferenceError):
            end(features)
        else:
            same = all(one.wanted == batch[0].wanted for one in batch)
            self._begin(features, batch[0].wanted if same else (), len(batch), end)

    def _taken(self) -> list[Waiting]:
        batch: list[Waiting] = []
        rows = 0
        while self._queue and (not rows or rows + len(self._queue[0].features) <= self._most):
            one = self._queue.popleft()
            one.leave()
            if not one.gone:  # else its deadline has passed, or its caller hung up
                rows += len(one.features)
                batch.append(one)
        return batch

    def _end(self, batch: list[Waiting], further: Iterator[int], found: Answers | BaseException) -> None:
        self._under_way -= 1
        if isinstance(found, PredictorFailed) and len(batch) > 1 and len([*islice(further, 2)]) == 2:
            half = len(batch) // 2
            self._halves += [(batch[:half], further), (batch[half:], further)]
        else:
            _tell(batch, found)
        self._look_soon()


def _tell(batch: list[Waiting], found: Answers | BaseException) -> None:
    parts: Sequence[Answers | BaseException] = [found] * len(batch)
    if len(batch) > 1 and not isinstance(found, BaseException):
        split = outcome(_split, found, [len(one.features) for one in batch])
        parts = [split] * len(batch) if isinstance(split, OpenInferenceError) else split
    for one, part in zip(batch, parts, strict=True):
        if one.told is not None:
            one.told(part)


def _split(given: Answers, rows: Sequence[int]) -> list[Answers]:
    parts, at = [], 0
    for count in rows:
        parts.append({name: array[at : at + count] for name, array in given.items()})
        at += count
    return parts
