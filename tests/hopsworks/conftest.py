"""One cluster per module of tests, with a broker, and the SDK logged in to it; MariaDB where it is installed."""

import pytest

from tests.hopsworks import StandIn
from tests.hopsworks.mariadb import INSTALL, program
from tests.hopsworks.sdk import logged_in


def pytest_configure(config):
    config.addinivalue_line("markers", "mariadb: runs where MariaDB is installed")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("mariadb") and not program():
            item.add_marker(pytest.mark.skip(reason=f"needs {INSTALL}"))


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
