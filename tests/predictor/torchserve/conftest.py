"""The small model as an archive; the real TorchServe runs where `make test-torchserve` names its environment."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from predictor.repository import read_model
from predictor.torchserve import write_archive

REASON = "needs make test-torchserve"


def pytest_configure(config):
    config.addinivalue_line("markers", "torchserve: runs where TorchServe and Java are installed")


def interpreter():
    """Return the interpreter of TorchServe's environment, None where none is named or Java is not installed."""
    named = os.environ.get("HEADRACE_TORCHSERVE", "")
    return Path(named).absolute() if named and shutil.which("java") else None


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("torchserve") and not interpreter():
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def small(published):
    """The repository's model `small`: its manifest and its bytes."""
    return read_model(published / "small")


@pytest.fixture(scope="session")
def archived(small, module, tmp_path_factory):
    """The folder that holds the archive of `small` and its settings."""
    out = tmp_path_factory.mktemp("archived")
    write_archive(*small, module, out)
    return out
