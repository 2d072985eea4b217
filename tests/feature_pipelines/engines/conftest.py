"""Engines that need an environment of their own run where that is: `make test-engines` makes it."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

REASON = "needs make test-engines"


def pytest_configure(config):
    config.addinivalue_line("markers", "engine(name): runs where the named engine is installed")


def pytest_collection_modifyitems(items):
    for item in items:
        for mark in item.iter_markers("engine"):
            if not _is_here(mark.args[0]):
                item.add_marker(pytest.mark.skip(reason=REASON))


def _is_here(engine):
    if engine == "spark":
        return find_spec("pyspark") is not None
    from feature_pipelines.engines.flink import interpreter  # not before it is asked for

    try:
        return bool(interpreter({}, os.environ))
    except ValueError:
        return False
