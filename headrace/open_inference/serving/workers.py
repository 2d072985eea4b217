"""Several processes that serve one port: the parent, which serves nothing itself.

Each worker listens at the ports the parent holds, and the system spreads connections over them by their addresses
(SO_REUSEPORT). With one listener that all inherit, whoever wakes first takes all that waits: 16 connections to two
workers came to 16 and 0, 64 to 57 and 7; with shared ports to 9 and 7, and 34 and 30.

A worker that dies is started anew, at once the first time and ever later when it goes on dying. One that ends before it
listens when all are started ends the parent, and so does one that cannot be started anew; a process that the system
does not give is one that ended before it listened. Signals are passed on; the parent ends with the last worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from headrace.open_inference.lasting import lasting
from headrace.open_inference.serving.listening import held, in_url, refuse_one_port
from headrace.open_inference.serving.member import VARIABLE
from headrace.open_inference.serving.worker_channel import Channel, Kind, Subject, channel_of, packed
from headrace.open_inference.shield import say
from headrace.open_inference.statistics import Statistics

#: How long until a worker that died is started anew: doubled every time, forgotten when one has lived LIVED_S.
FIRST_S, LONGEST_S, LIVED_S = 0.1, 5.0, 30.0
#: How often in a row one may end before it listens.
ATTEMPTS = 5
_TELL_S = 4.0


class Worker:
    """One of the processes, whichever it is now; `reason` is why it is not ready, empty where it is."""

    def __init__(self, number: int, command: Sequence[str]) -> None:
        self.number, self._command = number, command
        self.reason = "it has not begun"
        self.listens = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None
        self.channel: Channel | None = None
        self._asked: dict[Subject, asyncio.Future[bytes]] = {}
        self._last: dict[Subject, bytes] = {}

    async def start(self) -> None:
        """Start a process; OSError where the system gives none."""
        with contextlib.ExitStack() as unless_started:
            ours, its = socket.socketpair()
            unless_started.enter_context(ours)
            with its:
                self.process = await asyncio.create_subprocess_exec(
                    *self._command,
                    pass_fds=[its.fileno()],
                    env={**os.environ, VARIABLE: str(its.fileno())},
                    start_new_session=True,  # Ctrl-C reaches the parent alone, which passes it on
                )
            ours.setblocking(False)
            self.channel = await channel_of(ours)
            unless_started.pop_all()

    async def ended(self, parent: Parent) -> int:
        """Listen to the process until it has ended; return its exit code."""
        assert self.process is not None
        assert self.channel is not None
        while (message := await self.channel.receive()) is not None:
            kind, payload, number = message
            if kind is Kind.LISTENING:
                self.listens.set()
            elif kind is Kind.READY:
                self.reason = payload.decode("utf-8", "replace")
                parent.tell()
            elif kind is Kind.ASK:
                parent.gather(self.channel, Subject(payload[0]), number)
            elif kind is Kind.TOLD and (answer := self._asked.pop(Subject(number), None)) is not None:
                self._last[Subject(number)] = payload
                answer.set_result(payload)
        code = await self.process.wait()
        parent.keep(self._last)
        self._last.clear()
        for unanswered in self._asked.values():
            unanswered.set_result(b"")
        self._asked.clear()
        self.channel.close()
        self.channel, self.reason = None, "it has ended"
        parent.tell()
        return code

    async def told(self, subject: Subject) -> bytes | None:
        """Return what the process tells of itself: nothing where it does not in time, None where there is none."""
        if self.channel is None or not self.listens.is_set():
            return None
        if subject not in self._asked:  # who asks meanwhile is told the same
            self._asked[subject] = asyncio.get_running_loop().create_future()
            self.channel.send(Kind.ASK, number=subject)
        try:
            return await asyncio.wait_for(asyncio.shield(self._asked[subject]), _TELL_S)
        except TimeoutError:
            return b""

    async def gone(self) -> None:
        """Return when the process has ended, whether or not anybody listened to it."""
        if self.process is not None:
            await self.process.wait()

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


class Parent:
    """All workers of a port.

    What a worker that ended had told last is kept, `lasting` of its metrics and all of its statistics, and told with
    those of the living: counters that have been read never fall.
    """

    def __init__(self, count: int, command: Sequence[str], lasting: Callable[[Sequence[bytes]], bytes]) -> None:
        self._lasting = {Subject.METRICS: lasting, Subject.STATISTICS: Statistics.joined}
        self._past: dict[Subject, list[bytes]] = {subject: [] for subject in Subject}  # of each one text at most
        self._workers = [Worker(number, command) for number in range(1, count + 1)]
        self._stopping = asyncio.Event()
        self._failed = 0
        self._said = False
        self._gathering: set[asyncio.Task[None]] = set()

    async def run(self, where: str, stop_s: float) -> int:
        """Serve until told to stop; return the exit code. `where` is said once all of them listen."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        during = "a worker was watched: all are stopped"
        kept = [lasting(self._keep(worker), during, lambda: self._fail(1)) for worker in self._workers]
        all_listen = lasting(self._say(where), "workers were waited for: it is not said when they listen")
        stop = asyncio.create_task(self._stopping.wait())
        await stop
        all_listen.cancel()
        ends = [*kept, *(asyncio.create_task(worker.gone()) for worker in self._workers)]
        _, late = await asyncio.wait(ends, timeout=stop_s)
        if late:
            self._fail(1)
            for worker in self._workers:
                worker.signal(signal.SIGKILL)
            await asyncio.wait(late)
        return self._failed

    def tell(self) -> None:
        """Tell every worker why they are not all ready."""
        reasons = (f"worker {each.number} is not ready: {each.reason}" for each in self._workers if each.reason)
        said = next(reasons, "").encode()
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.send(Kind.READY, said)

    def gather(self, asking: Channel, subject: Subject, number: int) -> None:
        """Ask every worker for its part, and tell them all to who asks."""

        async def gathered() -> None:
            past = self._past[subject]  # who ends from now on has told, or is missed
            texts = await asyncio.gather(*(worker.told(subject) for worker in self._workers))
            asking.send(Kind.TOLD, packed([*past, *(text for text in texts if text is not None)]), number)

        task = lasting(gathered(), f"{subject.name.lower()} were gathered: who asked is told nothing")
        self._gathering.add(task)
        task.add_done_callback(self._gathering.discard)

    def keep(self, last: Mapping[Subject, bytes]) -> None:
        """Keep what a worker that has ended told last."""
        for subject, text in last.items():
            self._past[subject] = [self._lasting[subject]([*self._past[subject], text])]

    def _signalled(self, number: int) -> None:
        self._stopping.set()
        for worker in self._workers:
            worker.signal(number)

    async def _keep(self, worker: Worker) -> None:
        pause, unheard = FIRST_S, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            what, code = await self._lived(worker)
            first = unheard == 0 and not self._said
            unheard = 0 if worker.listens.is_set() else unheard + 1
            if self._stopping.is_set():
                self._failed = self._failed or int(code != 0)
                return
            if (first and unheard) or unheard >= ATTEMPTS:
                say(f"worker {worker.number} {what} before it listened: all are stopped\n")
                self._fail(code if code > 0 else 1)
                return
            worker.listens.clear()
            pause = FIRST_S if time.monotonic() - began > LIVED_S else pause
            say(f"worker {worker.number} {what}: it is started anew in {pause:g} s\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, LONGEST_S)

    async def _lived(self, worker: Worker) -> tuple[str, int]:
        try:
            await worker.start()
        except OSError as wrong:  # no room for another process, as at pids.max, or no descriptor
            return f"could not be given a process ({wrong.strerror})", 1
        if self._stopping.is_set():  # the signal was passed on while it was being started
            worker.signal(signal.SIGTERM)
        code = await worker.ended(self)
        return f"ended with code {code}", code

    def _fail(self, code: int) -> None:
        self._failed = self._failed or code
        self._signalled(signal.SIGTERM)

    async def _say(self, where: str) -> None:
        for worker in self._workers:
            await worker.listens.wait()
        self._said = True
        with contextlib.suppress(OSError):  # whoever read it may have gone
            print(f"listening {where}", flush=True)


def serve_with(
    count: int,
    *,
    host: str,
    http_port: int,
    grpc_port: int,
    stop_s: float,
    flags: tuple[str, str],
    lasting: Callable[[Sequence[bytes]], bytes],
) -> int:
    """Serve with so many processes of this program until told to stop; return the exit code.

    Each is started with this program's own arguments and with `flags`, those of the two ports, set to what
    is held. Ports of 0 are chosen by the system. What has not ended `stop_s` after the signal is killed. `lasting`
    makes one of several texts of metrics, with nothing but what stays true when a process has ended. Raises PortTaken.
    """
    refuse_one_port(http_port, grpc_port)
    with contextlib.closing(held(host, http_port)) as http, contextlib.closing(held(host, grpc_port)) as grpc:
        ports = http.getsockname()[1], grpc.getsockname()[1]
        command = [sys.executable, *sys.orig_argv[1:]]
        for flag, port in zip(flags, ports, strict=True):
            command += [flag, str(port)]
        at = in_url(host)
        return asyncio.run(Parent(count, command, lasting).run(f"http={at}:{ports[0]} grpc={at}:{ports[1]}", stop_s))
