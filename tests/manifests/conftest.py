"""The kubectl that the golden renders are made with, and sets of objects to find faults in."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.manifests.kubectl import fetch_kubectl


@pytest.fixture(scope="session", autouse=True)
def kubectl() -> Path:
    """Have the kubectl of known version, whatever this machine has installed; it is fetched once."""
    return fetch_kubectl()
