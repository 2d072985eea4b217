"""One broker for the tests of this folder, real and on the loopback; each test has topics of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from headrace.cli.broker import local_broker
from tests.cli.conftest import headrace
from tests.feature_pipelines.kafka import mock_host
from tests.feature_pipelines.kafka.cluster import PARTITIONS, SESSION_S, Cluster

__all__ = ["cluster", "headrace", "mock"]

#: The topics of the mock cluster, each for one use.
TOPICS = ("consumer", "range", "cooperative", "leaving", "yielding", "large")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker that runs as long as the tests do."""
    with local_broker(tmp_path_factory.mktemp("broker")) as servers:
        yield Cluster(servers)


@pytest.fixture(scope="session")
def mock() -> Iterator[Cluster]:
    """A mock cluster in a process of its own."""
    topics = [word for name in TOPICS for word in (name, str(PARTITIONS))]
    host = subprocess.Popen(
        [sys.executable, mock_host.__file__, str(SESSION_S * 1000), *topics],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert host.stdin is not None
    assert host.stdout is not None
    yield Cluster(host.stdout.readline().strip())
    host.stdin.close()
    host.wait()
