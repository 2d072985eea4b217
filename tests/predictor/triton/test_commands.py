"""`headrace up --predictor triton`: says how old it is, answers as the embedded predictor, and ends with Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from predictor.local_triton.cache import cache_folder
from tests.end_to_end.asking import infer
from tests.end_to_end.ground import OUTPUT, Ground
from tests.end_to_end.payments import asked
from tests.end_to_end.test_readiness import until
from tests.predictor.triton.running import alive, below, told

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "headrace.cli", "up", "fraud", "--predictor", "triton"]


def test_up_with_triton(ground: Ground, tmp_path: Path) -> None:
    flags = ["--store", str(ground.store), "--models", str(ground.models), "--http-port", "0", "--grpc-port", "0"]
    clean = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "HEADRACE_CACHE": str(cache_folder(os.environ))}
    with subprocess.Popen(
        [*COMMAND, *flags], cwd=tmp_path, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as up:
        assert up.stdout is not None
        said = ""
        while "Ctrl-C stops all" not in said:
            line = up.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        assert "done   Triton: in the cache" in said
        assert "it is for laptops and CI, on loopback only, never for an image" in said
        (transformer,) = re.findall(r"transformer\s+http (\S+)", said)
        (predictor,) = re.findall(r"predictor\s+http (\S+)", said)
        assert told(predictor, "/v2")["version"].startswith("2.51.")
        found = infer(transformer, asked(5)).output(OUTPUT)
        assert found == pytest.approx(ground.probabilities(asked(5)), abs=1e-5)
        started = below(up.pid)
        up.send_signal(signal.SIGINT)
        rest = up.stdout.read()
        code = up.wait(60)
    assert "Traceback" not in rest
    assert (code, rest.strip()) == (0, "stopped")
    until(lambda: not alive(started), "the end of every process")
