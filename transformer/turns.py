"""Who asks in the same turns of the event loop, asks together: a run costs hardly more for many than for one.

A run begins in the first turn that brings nobody more, so that under load those whose requests are already on the way
come along; a turn takes microseconds. Where turn after turn had one asker, whoever asks runs at once, and only
now and then somebody looks whether there is company.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

from headrace.open_inference.loneliness import Loneliness
from headrace.open_inference.servable import settle

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Turns(Generic[Asked, Answer]):
    """Joins what is asked. `alone` answers one; `together` answers several, an exception standing for an answer.

    Use it from one event loop only. At most `most` are asked together; a run ends when nobody waits for it any more.
    """

    def __init__(
        self,
        alone: Callable[[Asked], Awaitable[Answer]],
        together: Callable[[Sequence[Asked]], Coroutine[Any, Any, Sequence[Answer | Exception]]],
        *,
        most: int = 64,
    ) -> None:
        self._alone, self._together, self._most = alone, together, most
        self._company: _Company[Asked, Answer] | None = None  # those of this turn, so far
        self._apart: deque[_Company[Asked, Answer]] = deque()
        self._moving = False  # whether a look at those apart is due
        self._loneliness = Loneliness()

    async def join(self, asked: Asked) -> Answer:
        """Return the answer to this, or raise what stands for it."""
        if self._is_lonely():
            return await self._alone(asked)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        place = self._placed(asked, lambda found: settle(answer, found))
        try:
            return await answer
        except asyncio.CancelledError:
            place.cancel()
            raise

    def ask(self, asked: Asked, answered: Callable[[Answer | BaseException], None], *, apart: bool = False) -> Place:
        """Have `answered` called with the answer, or what stands for it, after this has returned.

        `apart` from all others is what cannot be joined. Nothing is called after `cancel` of what is returned.
        """
        if not apart and not self._is_lonely():
            return self._placed(asked, answered)
        company: _Company[Asked, Answer] = _Company()
        place = company.take(asked, answered)
        if apart:
            self._line_up(company)
        else:
            company.begin(self._together)
        return place

    def _line_up(self, company: _Company[Asked, Answer]) -> None:
        self._apart.append(company)
        if not self._moving:
            self._moving = True
            self._next()

    def _next(self) -> None:
        """Begin one large run in every other turn, so that the answer of one is sent before the next takes its time."""
        self._moving = bool(self._apart)
        if self._moving:
            self._apart.popleft().begin(self._together)
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._next)

    def _is_lonely(self) -> bool:
        return self._company is None and self._loneliness.lasts()

    def _placed(self, asked: Asked, answered: Callable[[Answer | BaseException], None]) -> Place:
        company = self._company
        if company is None or len(company.asked) >= self._most:
            company = self._company = _Company()
            asyncio.get_running_loop().call_soon(self._begin, company)
        return company.take(asked, answered)

    def _begin(self, company: _Company[Asked, Answer]) -> None:
        if self._company is company:
            if company.grew() and len(company.asked) < self._most:
                asyncio.get_running_loop().call_soon(self._begin, company)
                return
            self._company = None
        self._loneliness.ran(len(company.asked))
        company.begin(self._together)


class Place:
    """One among those of a run."""

    __slots__ = ("_at", "_company")

    def __init__(self, company: _Company[Any, Any], at: int) -> None:
        self._company, self._at = company, at

    def cancel(self) -> None:
        """Leave; a run that nobody waits for ends."""
        self._company.leave(self._at)


class _Company(Generic[Asked, Answer]):
    """Those of one run, and the run that answers them."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answered: list[Callable[[Answer | BaseException], None] | None] = []
        self._waiting = self._seen = 0
        self._task: asyncio.Task[Sequence[Answer | Exception]] | None = None

    def take(self, asked: Asked, answered: Callable[[Answer | BaseException], None]) -> Place:
        self.asked.append(asked)
        self._answered.append(answered)
        self._waiting += 1
        return Place(self, len(self.asked) - 1)

    def leave(self, at: int) -> None:
        if self._answered[at] is not None:
            self._answered[at] = None
            self._waiting -= 1
            if not self._waiting and self._task is not None:
                self._task.cancel()

    def grew(self) -> bool:
        """Tell whether there are more than when this was last asked."""
        before, self._seen = self._seen, len(self.asked)
        return self._seen > before

    def begin(self, together: Callable[[Sequence[Asked]], Coroutine[Any, Any, Sequence[Answer | Exception]]]) -> None:
        if self._waiting:
            self._task = asyncio.get_running_loop().create_task(together(self.asked))
            self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Sequence[Answer | Exception]]) -> None:
        failed = asyncio.CancelledError() if task.cancelled() else task.exception()
        found = task.result() if failed is None else [failed] * len(self.asked)
        for answered, own in zip(self._answered, found, strict=True):
            if answered is not None:
                answered(own)
