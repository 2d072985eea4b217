"""What a task that nobody waits for dies of is said once, at once; and the servers' own are such tasks."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace.open_inference import make_app
from headrace.open_inference.lasting import lasting
from headrace.open_inference.rest.connections import Connections
from headrace.open_inference.serving.server import serve
from headrace.open_inference.tls import Certificate
from tests.open_inference.certificates import Authority
from tests.open_inference.echo_server import Echo

WORDS = "words of a request"
DURING = "the tide was watched: it comes unseen"


async def broken(*ignored: Any) -> None:
    raise RuntimeError(WORDS)


async def forever() -> None:
    await asyncio.Event().wait()


async def nothing() -> None:
    """End in order."""


async def ended(work: Any, told: list[str]) -> None:
    task = lasting(work, DURING, lambda: told.append("then"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])


def test_a_fault_is_said_once_with_where_it_was_raised_and_without_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[str] = []
    asyncio.run(ended(broken(), told))
    complained = capsys.readouterr().err
    assert complained.startswith(f"RuntimeError while {DURING}\n")
    assert complained.count("in broken\n") == 1
    assert WORDS not in complained
    assert told == ["then"]


@pytest.mark.parametrize("work", [forever, nothing])
def test_nothing_is_said_of_one_that_is_cancelled_or_done(work: Any, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    asyncio.run(ended(work(), told))
    assert (capsys.readouterr().err, told) == ("", [])


def test_what_follows_is_done_though_nobody_reads_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, text: str) -> int:
            raise BrokenPipeError

    told: list[str] = []
    monkeypatch.setattr(sys, "stderr", Gone())
    asyncio.run(ended(broken(), told))
    assert told == ["then"]


def test_a_server_whose_watches_die_says_so_and_serves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")
    Authority(tmp_path / "ca.pem").sign("first", *map(Path, certificate))
    monkeypatch.setattr(Connections, "watch", broken)
    monkeypatch.setattr(Certificate, "watch", broken)

    async def scene() -> tuple[str, bool]:
        models = {"echo": Echo("echo")}
        serving = serve(make_app(models), models, http_port=0, grpc_port=None, certificate=Certificate(*certificate))
        running, said = asyncio.create_task(serving), ""
        async with asyncio.timeout(20):
            while said.count(" while ") < 2:
                await asyncio.sleep(0)
                said += capsys.readouterr().err
        serves = not running.done()
        running.cancel()
        await asyncio.wait([running])
        return said + capsys.readouterr().err, serves

    said, serves = asyncio.run(scene())
    assert serves
    for during in (
        "slow connections were looked for: none is cut off until a new start",
        "certificates were watched: start it anew to use another",
    ):
        assert said.count(f"RuntimeError while {during}\n") == 1
