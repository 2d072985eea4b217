"""The independent clients of the protocol, each in a process of its own, against a running server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.open_inference.live import SURROUNDINGS, Live


def verdict(script: str, *arguments: str) -> None:
    command = [sys.executable, str(Path(__file__).parent / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=SURROUNDINGS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["http", "http.aio", "grpc", "grpc.aio"])
def test_tritonclient_is_answered_as_by_triton(echo: Live, kind: str) -> None:
    verdict("judge_triton.py", kind, echo.http if kind.startswith("http") else echo.grpc)


def test_kserves_clients_are_answered(echo: Live) -> None:
    verdict("judge_kserve.py", echo.http, echo.grpc)


def test_typed_contents_over_grpc(echo: Live) -> None:
    verdict("judge_grpc.py", echo.grpc)


def test_health_and_reflection_are_as_the_standard_clients_know_them(echo: Live) -> None:
    verdict("judge_standard.py", echo.grpc)
