"""A live echo server for the tests that ask over the network, one for the whole folder."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.open_inference.live import Live, started


@pytest.fixture(scope="session")
def echo() -> Iterator[Live]:
    """A running echo server; it must end with code 0 and without a word on stderr that nobody expected."""
    live = started()
    yield live
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(10) == 0
