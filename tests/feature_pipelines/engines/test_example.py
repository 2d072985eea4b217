"""The example runs, and finds both stores alike."""

import os
import subprocess
import sys

import pytest

from tests.architecture.code import ROOT


@pytest.mark.parametrize(
    "engine", ["bytewax", *(pytest.param(name, marks=pytest.mark.engine(name)) for name in ("spark", "flink"))]
)
def test_both_stores_answer_alike(engine):
    command = [sys.executable, "examples/engines.py", engine]
    told = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{engine}: 20,000 events, 0 repeated, 0 dead" in done.stdout
