"""The kubectl that the golden renders are made with, and KServe's definitions where this machine has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.manifests.kubectl import KubectlAbsent, fetch_kubectl, find_kubectl
from tests.manifests.definitions import WHERE, crds


@pytest.fixture(scope="session", autouse=True)
def kubectl() -> Path:
    """Have the kubectl of known version, whatever this machine has installed; it is fetched once."""
    try:
        return fetch_kubectl()
    except KubectlAbsent:  # no Linux on x86-64, or no packages: the one that is installed
        return find_kubectl()


@pytest.fixture(scope="session")
def kserve_crds() -> Path:
    """Where KServe's definitions are: they are KServe's, so that a test that needs them is left out without."""
    folder = crds()
    if folder is None:
        pytest.skip(WHERE)
    return folder
