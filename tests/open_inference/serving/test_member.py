"""A worker and its parent without either being a server: what is told of all where one is silent, fails or ends."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.open_inference import NotReady
from headrace.open_inference.serving import member as members
from headrace.open_inference.serving import workers
from headrace.open_inference.serving.member import Member
from headrace.open_inference.serving.worker_channel import Channel, Kind, Subject, channel_of, packed, unpacked
from headrace.open_inference.serving.workers import Parent, Worker

LISTENS = """
import os, socket, struct, sys
end = socket.socket(fileno=int(os.environ["HEADRACE_WORKER"]))
head = struct.Struct("<IBI")
end.sendall(head.pack(0, 1, 0))
"""
ANSWERS_THE_SECOND_TIME = (
    LISTENS
    + """
size, kind, number = head.unpack(end.recv(head.size, socket.MSG_WAITALL))
if os.path.exists(sys.argv[1]):
    end.sendall(head.pack(4, 4, number) + b"mine")
open(sys.argv[1], "w").close()
"""
)
IS_SILENT = LISTENS + "while end.recv(100): pass"


async def channels() -> tuple[Channel, Channel]:
    """Return both ends of a channel."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return await channel_of(ends[0]), await channel_of(ends[1])


def with_member(scene: Callable[[Member, Channel], Awaitable[None]]) -> None:
    """Run a scene with a worker's side that listens, and the parent's end of its channel."""

    async def play() -> None:
        its, parent = await channels()
        member = Member(its, b"+".join)
        listening = asyncio.create_task(member.listen())
        async with asyncio.timeout(20):
            await scene(member, parent)
        parent.close()
        await listening
        assert member.orphaned.is_set()

    asyncio.run(play())


@pytest.mark.parametrize("silent", [[b""], [b"a", b""], None], ids=["all", "one", "parent"])
def test_what_is_not_told_of_all_is_refused(silent: list[bytes] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_ANSWER_S", 20 if silent is not None else 0.01)

    async def scene(member: Member, parent: Channel) -> None:
        for subject, asked in (Subject.METRICS, member.metrics), (Subject.STATISTICS, member.statistics):
            answer = asyncio.create_task(asked())
            kind, payload, number = await parent.receive() or pytest.fail("nothing was asked")
            assert (kind, payload) == (Kind.ASK, bytes([subject]))
            if silent is not None:
                parent.send(Kind.TOLD, packed(silent), number)
            with pytest.raises(NotReady, match=f"not every worker has told its {subject.name.lower()} in time"):
                await answer

    with_member(scene)


def test_what_all_have_told_is_made_one() -> None:
    async def scene(member: Member, parent: Channel) -> None:
        answers = asyncio.gather(member.metrics(), member.statistics())
        for texts in ([b"a", b"b"], [b"c", b"d"]):
            _, _, number = await parent.receive() or pytest.fail("nothing was asked")
            parent.send(Kind.TOLD, packed(texts), number)
        assert await answers == [b"a+b", [b"c", b"d"]]

    with_member(scene)


def test_who_fails_to_tell_of_itself_is_asked_again(capfd: pytest.CaptureFixture[str]) -> None:
    async def scene(member: Member, parent: Channel) -> None:
        told = iter([b"later"])

        def own() -> bytes:
            if failing.pop():
                raise RuntimeError("a collector broke")
            return next(told)

        failing = [False, True]
        member.own[Subject.METRICS] = own
        for expected in (b"", b"later"):
            parent.send(Kind.ASK, number=Subject.METRICS)
            assert await parent.receive() == (Kind.TOLD, expected, Subject.METRICS)

    with_member(scene)
    assert "RuntimeError" in capfd.readouterr().err


def with_worker(script: str, *given: str, scene: Callable[[Worker, Parent], Awaitable[None]]) -> None:
    """Run a scene with a parent's side of one worker."""

    async def play() -> None:
        async with asyncio.timeout(20):
            await scene(Worker(1, [sys.executable, "-c", script, *given]), Parent(0, [], b"+".join))

    asyncio.run(play())


def test_one_that_dies_without_an_answer_is_asked_again_when_it_is_there_again(tmp_path: Path) -> None:
    async def asked(worker: Worker, parent: Parent) -> tuple[bytes | None, ...]:
        await worker.start()
        ending = asyncio.create_task(worker.ended(parent))
        await worker.listens.wait()
        texts = await asyncio.gather(worker.told(Subject.METRICS), worker.told(Subject.METRICS))
        assert await ending == 0
        worker.listens.clear()
        return tuple(texts)

    async def scene(worker: Worker, parent: Parent) -> None:
        assert await worker.told(Subject.METRICS) is None
        assert await asked(worker, parent) == (b"", b"")
        assert await asked(worker, parent) == (b"mine", b"mine")
        assert await told_by(parent) == [b"mine"]

    with_worker(ANSWERS_THE_SECOND_TIME, str(tmp_path / "died"), scene=scene)


async def told_by(parent: Parent) -> list[bytes]:
    """Return what a parent tells one of its workers."""
    asking, asked = await channels()
    parent.gather(asking, Subject.METRICS, 7)
    message = await asked.receive()
    assert message is not None
    assert message[0::2] == (Kind.TOLD, 7)
    asking.close()
    asked.close()
    return unpacked(message[1])


def test_one_that_is_silent_has_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_TELL_S", 0.01)

    async def scene(worker: Worker, parent: Parent) -> None:
        await worker.start()
        ending = asyncio.create_task(worker.ended(parent))
        await worker.listens.wait()
        assert await worker.told(Subject.STATISTICS) == b""
        assert worker.process is not None
        worker.process.kill()
        assert await ending < 0

    with_worker(IS_SILENT, scene=scene)


DIES_ONCE = """
import os, signal, socket, struct, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
end = socket.socket(fileno=int(os.environ["HEADRACE_WORKER"]))
end.sendall(struct.pack("<IBI", 0, 1, 0))
if os.path.exists(sys.argv[1]):
    os.kill(os.getppid(), signal.SIGTERM)
    signal.pause()
open(sys.argv[1], "w").close()
"""


TIDIES = """
import os, signal, socket, struct, sys
def stop(*_):
    os.remove(sys.argv[1])
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
open(sys.argv[1], "w").close()
print("running", flush=True)
socket.socket(fileno=int(os.environ["HEADRACE_WORKER"])).sendall(struct.pack("<IBI", 0, 1, 0))
signal.pause()
"""


def refusing(monkeypatch: pytest.MonkeyPatch, refused: Callable[[int], bool]) -> None:
    """Have the system give no process at some of the times it is asked for one, counted from 1."""
    given, asked = asyncio.create_subprocess_exec, 0

    async def limited(*command: str, **how: Any) -> asyncio.subprocess.Process:
        nonlocal asked
        asked += 1
        if refused(asked):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return await given(*command, **how)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", limited)


async def ended(parent: Parent) -> int:
    """Return a parent's exit code."""
    async with asyncio.timeout(20):
        return await parent.run("nowhere", 10)


def test_one_that_the_system_gives_no_process_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, lambda number: number in (2, 3))
    monkeypatch.setattr(workers, "FIRST_S", 0.01)
    parent = Parent(1, [sys.executable, "-c", DIES_ONCE, str(tmp_path / "died")], b"+".join)
    assert asyncio.run(ended(parent)) == 0
    assert capsys.readouterr().err == (
        "worker 1 ended with code 0: it is started anew in 0.01 s\n"
        "worker 1 could not be given a process (Resource temporarily unavailable): it is started anew in 0.02 s\n"
        "worker 1 could not be given a process (Resource temporarily unavailable): it is started anew in 0.04 s\n"
    )


@pytest.mark.parametrize("from_the", [1, 2], ids=["never", "once"])
def test_one_that_the_system_goes_on_giving_no_process_ends_the_parent(
    from_the: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refusing(monkeypatch, lambda number: number >= from_the)
    monkeypatch.setattr(workers, "FIRST_S", 0.01)
    parent = Parent(1, [sys.executable, "-c", DIES_ONCE, str(tmp_path / "died")], b"+".join)
    assert asyncio.run(ended(parent)) == 1
    *tried, last = capsys.readouterr().err.splitlines()
    assert len(tried) == (0 if from_the == 1 else 1 + workers.ATTEMPTS - 1)
    assert last == (
        "worker 1 could not be given a process (Resource temporarily unavailable) before it listened: all are stopped"
    )


def test_a_fault_while_a_worker_is_watched_is_said_once_and_ends_the_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(worker: Worker, parent: Parent) -> int:
        assert worker.channel is not None
        assert await worker.channel.receive() is not None
        raise LookupError("words of a worker")

    monkeypatch.setattr(Worker, "ended", broken)
    parent = Parent(1, [sys.executable, "-c", TIDIES, str(tmp_path / "running")], b"+".join)
    assert asyncio.run(ended(parent)) == 1
    assert capsys.readouterr().err.count("LookupError while a worker was watched: all are stopped\n") == 1
    assert not (tmp_path / "running").exists(), "the parent ended before its worker"


def test_one_that_was_being_started_when_all_are_stopped_is_stopped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = asyncio.create_subprocess_exec

    async def late(*command: str, **how: Any) -> asyncio.subprocess.Process:
        process = await given(*command, **how, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"running\n"  # it can be told to end now
        parent._signalled(signal.SIGTERM)
        return process

    running = tmp_path / "running"
    monkeypatch.setattr(asyncio, "create_subprocess_exec", late)
    parent = Parent(1, [sys.executable, "-c", TIDIES, str(running)], b"+".join)
    assert asyncio.run(ended(parent)) == 0
    assert not running.exists()


def test_a_worker_is_started_anew_though_nobody_reads_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(workers, "FIRST_S", 0.01)
    monkeypatch.setattr(sys, "stderr", Gone())
    parent = Parent(1, [sys.executable, "-c", DIES_ONCE, str(tmp_path / "died")], b"+".join)
    assert asyncio.run(ended(parent)) == 0
