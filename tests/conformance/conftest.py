"""Servers to be judged, each a process of its own on loopback: ours, and the stock one of kserve."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headrace.cli.stack import Server, server, wait_ready
from tests.conformance.specification import NAME, found
from tests.end_to_end.ground import Ground, made, serving


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Models of every datatype behind the project's own server."""
    with server("tests.conformance.plain_server", [], tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A filled store and a published model, not to be changed."""
    return made(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def pair(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """The fraud application's predictor and transformer."""
    with serving(ground, tmp_path_factory.mktemp("logs")) as running:
        yield running


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """kserve's own server as a predictor, and as a transformer before it."""
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as running:
        predictor = running.enter_context(
            server("tests.conformance.stock", ["--role", "predictor", *ports()], logs, "predictor")
        )
        flags = ["--role", "transformer", *ports(), "--predictor_host", predictor.http, "--predictor_protocol", "v2"]
        transformer = running.enter_context(server("tests.conformance.stock", flags, logs, "transformer"))
        for each in (predictor, transformer):
            wait_ready(each)
        yield predictor, transformer


def ports() -> list[str]:
    """Return flags with two free ports of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as http, socket.create_server(("127.0.0.1", 0)) as grpc:
        return ["--http_port", str(http.getsockname()[1]), "--grpc_port", str(grpc.getsockname()[1])]


@pytest.fixture(scope="session")
def protocol() -> Path:
    """Where the protocol's OpenAPI file is: it is the protocol's, so that a test that needs it is left out without."""
    path = found()
    if path is None:
        pytest.skip(f"the Open Inference Protocol's {NAME} is not here: name the folder above it by HEADRACE_SPECS")
    return path
