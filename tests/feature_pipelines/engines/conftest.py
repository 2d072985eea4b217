"""Engines that need an environment of their own run where that is: `make test-engines` makes it."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

#: Each such engine and the package without which it does not run.
NEEDS = {"spark": "pyspark", "flink": "pyflink"}
REASON = "needs make test-engines"


def pytest_configure(config):
    config.addinivalue_line("markers", "engine(name): runs where the named engine is installed")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("engine"):
            if not find_spec(NEEDS[mark.args[0]]):
                item.add_marker(pytest.mark.skip(reason=REASON))
