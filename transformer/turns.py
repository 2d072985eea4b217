"""Who asks in the same turn of the event loop, asks together: a run costs hardly more for many than for one.

Nobody waits for company longer than the turn takes: the run begins in the next one. Where turn after turn had one
asker, whoever asks runs at once, and only now and then somebody looks whether there is company.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")
_LONELY, _AT_ONCE = 4, 8


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
        self._lonely = 0  # turns in a row with one asker, and those since who did not look

    async def join(self, asked: Asked) -> Answer:
        """Return the answer to this, or raise what stands for it."""
        company = self._company
        if company is None or len(company.asked) >= self._most:
            if company is None and _LONELY <= self._lonely < _LONELY + _AT_ONCE:
                self._lonely += 1
                return await self._alone(asked)
            company = self._company = _Company()
            asyncio.get_running_loop().call_soon(self._begin, company)
        return await company.answer_to(asked)

    def _begin(self, company: _Company[Asked, Answer]) -> None:
        if self._company is company:
            self._company = None
        # Two look, one after the other: the last of a turn finds nobody, the first of the next does.
        lonely = len(company.asked) == 1
        self._lonely = 0 if not lonely else self._lonely + 1 if self._lonely < _LONELY else _LONELY - 1
        company.begin(self._together)


class _Company(Generic[Asked, Answer]):
    """Those of one turn, and the run that answers them."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: list[asyncio.Future[Answer]] = []
        self._waiting = 0
        self._task: asyncio.Task[Sequence[Answer | Exception]] | None = None

    async def answer_to(self, asked: Asked) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.asked.append(asked)
        self._answers.append(answer)
        self._waiting += 1
        try:
            return await answer
        except asyncio.CancelledError:
            if self._waiting == 1 and self._task is not None:
                self._task.cancel()
            raise
        finally:
            self._waiting -= 1

    def begin(self, together: Callable[[Sequence[Asked]], Coroutine[Any, Any, Sequence[Answer | Exception]]]) -> None:
        if self._waiting:
            self._task = asyncio.get_running_loop().create_task(together(self.asked))
            self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Sequence[Answer | Exception]]) -> None:
        failed = None if task.cancelled() else task.exception()
        found = [failed] * len(self.asked) if task.cancelled() or failed is not None else task.result()
        for answer, own in zip(self._answers, found, strict=True):
            if answer.done():  # its deadline has passed, or its caller hung up
                continue
            if own is None:
                answer.cancel()
            elif isinstance(own, Exception):
                answer.set_exception(own)
            else:
                answer.set_result(own)  # type: ignore[arg-type]
