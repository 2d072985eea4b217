"""One broker for the tests of this folder, real and on the loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.cli.broker import local_broker
from tests.feature_pipelines.kafka.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker that runs as long as the tests do."""
    with local_broker(tmp_path_factory.mktemp("broker")) as servers:
        yield Cluster(servers)
