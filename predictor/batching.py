"""Batching: the rows of requests that wait at the same time are joined into one run.

Nobody waits for company. A request runs in the event loop's next turn, together with what else has come
by then: what arrives while a run is under way is there when it ends, and is the next run. Runs of up to
`inline_rows` rows are made on the event loop, larger ones by the pool's threads, each kind in a lane of its
own, so that no small request waits for a large one. Whose rows were in a run with whose, nobody can tell:
a row's answer depends on that row alone, up to the last bits of float32 (1e-6; see docs/predictor.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np

from headrace.open_inference import OpenInferenceError, Overloaded
from headrace.open_inference.servable import Withdrawable, settle
from headrace.open_inference.shield import outcome
from predictor.lane import Answers, Lane, Told

#: A model's run: float32 [rows, width] and the outputs wanted (none: all of them) to each output, [rows]. What it
#: raises but for an OpenInferenceError is a fault, which is logged, and an InternalError to whoever asked.
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
        # What makes runs knows no lane, and no lane knows who has it: a model that another has replaced, which may be
        # gigabytes, is gone with its last request and does not wait for the collector of garbage.
        self._make, self._threads, self.limits, self.inline_rows = _Making(run, observe), threads, limits, inline_rows
        self._here = Lane(self._make.here, min(inline_rows, limits.batch_rows), 1)
        self._aside = Lane(partial(self._make.aside, threads.pool), limits.batch_rows, threads.runs)

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
            return self._make.run(features, wanted, 1)
        answer: asyncio.Future[Answers] = asyncio.get_running_loop().create_future()
        waiting = self._lane(features).join(features, wanted, partial(settle, answer), answer)
        try:
            return await answer
        except asyncio.CancelledError:
            waiting.cancel()
            raise
        finally:
            del answer, waiting  # an error's traceback knows this frame, which must not know the error

    def ask(self, features: np.ndarray, wanted: tuple[str, ...], told: Told) -> Withdrawable:
        """Have `told` called with what `score` returns or what the run fails with, after this has returned.

        Raises Overloaded as `score` does. `told` must not raise, and is not called after `cancel` of what is returned.
        """
        self._admit(features)
        if not self._at_once(features):
            return self._lane(features).join(features, wanted, told)
        found = outcome(self._make.run, features, wanted, 1)
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

    def _lane(self, features: np.ndarray) -> Lane:
        return self._here if len(features) <= self.inline_rows else self._aside


class _Making:
    """Makes runs, and tells of each."""

    def __init__(self, run: Run, observe: Callable[[int, int], None] | None) -> None:
        self._run, self._observe = run, observe

    def run(self, features: np.ndarray, wanted: tuple[str, ...], requests: int) -> Answers:
        self._tell(requests, len(features))
        return self._run(features, wanted)

    def here(self, features: np.ndarray, wanted: tuple[str, ...], requests: int, told: Told) -> None:
        told(outcome(self.run, features, wanted, requests))

    def aside(self, pool: Executor, features: np.ndarray, wanted: tuple[str, ...], requests: int, told: Told) -> None:
        run = outcome(self._submit, pool, features, wanted, requests)
        if isinstance(run, OpenInferenceError):  # the pool was shut down, say
            told(run)
        else:
            run.add_done_callback(lambda ended: told(_ended(ended)))

    def _submit(
        self, pool: Executor, features: np.ndarray, wanted: tuple[str, ...], requests: int
    ) -> asyncio.Future[Answers | OpenInferenceError]:
        self._tell(requests, len(features))
        return asyncio.get_running_loop().run_in_executor(pool, outcome, self._run, features, wanted)

    def _tell(self, requests: int, rows: int) -> None:
        if self._observe is not None:
            self._observe(requests, rows)


def _ended(run: asyncio.Future[Answers | OpenInferenceError]) -> Answers | BaseException:
    return asyncio.CancelledError() if run.cancelled() else run.exception() or run.result()
