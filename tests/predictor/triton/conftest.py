"""The real Triton, fetched into the cache once; tests that need it are left out where it cannot be had, and say why."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from headrace.cache_folder import cache_folder
from predictor.local_triton.getting import Installed, TritonMissing, get
from tests.end_to_end.ground import Ground, made
from tests.end_to_end.test_readiness import until
from tests.predictor.triton.running import Up, alive, up


@pytest.fixture(scope="session")
def installed() -> Installed:
    """Triton and what its models need; `headrace triton get` says the same reason where it cannot be had."""
    try:
        return get(cache_folder(os.environ))
    except TritonMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def ground(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A filled store and a published model, not to be changed."""
    return made(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def live(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The running command `headrace up fraud --predictor triton`; at the end it stops all that it started."""
    with up(ground, tmp_path_factory.mktemp("up")) as running:
        yield running
    until(lambda: not alive(running.processes), "the end of every process")
    assert "Traceback" not in running.rest
    assert (running.code, running.rest.strip()) == (0, "stopped")
