"""The lean server of a transformer, in the test's own loop."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from headrace.settings import TransformerSettings
from transformer import server
from transformer.model import FeatureTransformer


def test_a_watch_of_readiness_that_dies_is_said_once_and_the_server_ends_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks, given = iter((None, None)), FeatureTransformer.check

    async def check(model: FeatureTransformer) -> str | None:
        if next(checks, "none left") is not None:
            raise LookupError("words of a predictor")
        return await given(model)

    async def scene() -> str:
        settings = TransformerSettings(store=str(tmp_path), http_port=0, grpc_port=0, predictor_host="127.0.0.1:1")
        running, said, listens = asyncio.create_task(server.run(settings)), "", False
        async with asyncio.timeout(60):
            while not (listens and " while " in said):
                await asyncio.sleep(0)
                assert not running.done()
                out, err = capsys.readouterr()
                said, listens = said + err, listens or "listening" in out
            os.kill(os.getpid(), signal.SIGTERM)
            await running
        return said + capsys.readouterr().err

    monkeypatch.setattr(FeatureTransformer, "check", check)
    monkeypatch.setattr(server, "CHECK_AGAIN_S", 0.0)
    said = asyncio.run(scene())
    assert said.count("LookupError while readiness was watched: it stays as it is until a new start\n") == 1
