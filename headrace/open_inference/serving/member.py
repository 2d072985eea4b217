"""A worker's side of serving with several processes: it tells its parent how it is, and asks for all of them.

A worker that is not ready makes the whole not ready, whichever of them is asked. A worker whose parent has gone
stops as if it had been told to.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Mapping, Sequence

from headrace.open_inference.errors import NotReady
from headrace.open_inference.serving.worker_channel import Channel, Kind, Subject, channel_of, unpacked
from headrace.open_inference.shield import outcome

#: The variable in which a parent tells its worker's number, how many there are and which descriptor is its channel.
VARIABLE = "HEADRACE_WORKER"
_ANSWER_S = 5.0
_LOOK_S = 0.1


class Member:
    """One of several workers. `others` is why they are not all ready, None where they are; `own` tells of itself."""

    def __init__(self, channel: Channel, merge: Callable[[Sequence[bytes]], bytes]) -> None:
        self.others: str | None = "not every worker has said that it is ready"
        self.orphaned = asyncio.Event()
        self.own: dict[Subject, Callable[[], bytes]] = dict.fromkeys(Subject, bytes)
        self._channel, self._merge = channel, merge
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count(1)

    def listening(self) -> None:
        """Say that both doors are open."""
        self._channel.send(Kind.LISTENING)

    async def metrics(self) -> bytes:
        """Return the metrics of all workers as one text; NotReady where one of them does not tell."""
        return await asyncio.to_thread(self._merge, await self._of_all(Subject.METRICS))

    async def statistics(self) -> list[bytes]:
        """Return the statistics that each worker wrote; NotReady where one of them does not tell."""
        return await self._of_all(Subject.STATISTICS)

    async def _of_all(self, subject: Subject) -> list[bytes]:
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        self._channel.send(Kind.ASK, bytes([subject]), number)
        try:
            async with asyncio.timeout(_ANSWER_S):
                texts = unpacked(await answer)
        except TimeoutError:
            texts = [b""]
        finally:
            del self._asked[number]
        if not all(texts):
            # Sums without one of them would fall, and rise again: whoever reads rates would count it all once more.
            raise NotReady(f"not every worker has told its {subject.name.lower()} in time: sums need all of them")
        return texts

    async def report(self, readiness: Callable[[], str | None]) -> None:
        """Say whether this worker is ready whenever it changes, until cancelled."""
        said: str | None = "nothing yet"
        while True:
            why = readiness()
            if why != said:
                self._channel.send(Kind.READY, (why or "").encode())
                said = why
            await asyncio.sleep(_LOOK_S)

    async def listen(self) -> None:
        """Take what the parent says until it has gone."""
        try:
            await self._listen()
        finally:
            self.orphaned.set()

    async def _listen(self) -> None:
        while (message := await self._channel.receive()) is not None:
            kind, payload, number = message
            if kind is Kind.READY:
                self.others = payload.decode("utf-8", "replace") or None
            elif kind is Kind.ASK:
                told = outcome(self.own[Subject(number)])
                self._channel.send(Kind.TOLD, told if isinstance(told, bytes) else b"", number)
            elif kind is Kind.TOLD and (answer := self._asked.get(number)) and not answer.done():
                answer.set_result(payload)


async def member_of(environment: Mapping[str, str], merge: Callable[[Sequence[bytes]], bytes]) -> Member | None:
    """Return what this process is to a parent that started it as a worker, None where none did.

    `merge` makes one text of the metrics of several.
    """
    said = environment.get(VARIABLE)
    if said is None:
        return None
    end = socket.socket(fileno=int(said))
    end.setblocking(False)
    return Member(await channel_of(end), merge)
