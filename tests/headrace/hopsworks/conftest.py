"""A cluster on the wire that the tests of a module share, and settings of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.hopsworks.session import HopsworksSettings, Session, connect
from tests.hopsworks import StandIn


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    """A cluster without Kafka."""
    with StandIn.started(tmp_path_factory.mktemp("cluster"), kafka=False) as running:
        yield running


@pytest.fixture
def settings(cluster: StandIn, monkeypatch: pytest.MonkeyPatch) -> HopsworksSettings:
    """Settings that reach the cluster, in an environment that says nothing of another."""
    for name in ("HOPSWORKS_HOSTNAME_VERIFICATION", "HOPSWORKS_TRUST_STORE_PATH", "REST_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return HopsworksSettings(cluster.host, cluster.project, cluster.api_key, cluster.port, cluster.ca_file)


@pytest.fixture
def session(settings: HopsworksSettings) -> Iterator[Session]:
    """An open session."""
    with connect(settings) as opened:
        yield opened
