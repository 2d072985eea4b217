"""One real server for all tests, where its programs and KServe's definitions are; what each made is cleared away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.real.programs import REASON, find_programs
from tests.kubernetes.real.server import RealServer
from tests.manifests.definitions import WHERE, crds

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    reason = REASON if find_programs() is None else WHERE if crds() is None else ""
    for item in items:
        if reason and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """The server, with nothing in it but KServe's definitions and two namespaces."""
    programs, definitions = find_programs(), crds()
    assert programs is not None
    assert definitions is not None
    with RealServer.started(programs, tmp_path_factory.mktemp("kubernetes"), definitions) as server:
        yield server


@pytest.fixture
def stand_in(real: RealServer) -> Iterator[RealServer]:
    """The real server in the place of the one that stands in for it elsewhere, with controllers that are played."""
    with real.played():
        yield real
