"""One broker for the tests of this folder, real and on the loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.cli.broker import local_broker
from tests.feature_pipelines.hopsworks.stand_in import CARDS, TERMINALS, applied, settled
from tests.feature_pipelines.kafka.cluster import Cluster
from tests.hopsworks import StandIn


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker that runs as long as the tests do."""
    with local_broker(tmp_path_factory.mktemp("broker")) as servers:
        yield Cluster(servers)


@pytest.fixture(scope="session")
def cluster_of_hopsworks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A stand-in of Hopsworks with the fraud application applied."""
    with applied(tmp_path_factory.mktemp("hopsworks")) as standing:
        yield standing


@pytest.fixture
def hopsworks(cluster_of_hopsworks: StandIn) -> StandIn:
    """The same, without a row."""
    for of in (CARDS, TERMINALS):
        settled(cluster_of_hopsworks, of)
        keys = [[key] for key in cluster_of_hopsworks.rows(of.name, of.version)]
        cluster_of_hopsworks.delete(of.name, of.version, keys)
    return cluster_of_hopsworks
