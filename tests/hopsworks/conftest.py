"""One cluster per module of tests, with a broker, and the SDK logged in to it."""

import pytest

from tests.hopsworks import StandIn
from tests.hopsworks.sdk import logged_in


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with StandIn.started(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def project(cluster, tmp_path_factory):
    with logged_in(cluster, tmp_path_factory.mktemp("sdk")) as found:
        yield found


@pytest.fixture(scope="module")
def store(project):
    return project.get_feature_store()
