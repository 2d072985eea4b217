"""The compiled loop over JSON numbers by itself: what it reads is exact, and it looks at nothing beyond a text."""

from __future__ import annotations

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from headrace.open_inference.codec import json_numbers
from tests.open_inference.codec.json_bodies import DECIMALS, body, halves, loads


@pytest.fixture(autouse=True)
def _every_body(monkeypatch: pytest.MonkeyPatch) -> None:
    json_numbers.prepare()
    monkeypatch.setattr(json_numbers, "LEAST_BYTES", 0)


@given(st.one_of(DECIMALS, halves()))
@example("13493738785449705e0")  # each halfway between two float64, or beside that
@example("269998812917507860e-1")
@example("340222317397558675e-2")
@example("5501761019778724670e-146")
@example("6186789689658862000e-2")
def test_the_loop_reads_a_number_as_python_does_to_the_bit(number: str) -> None:
    expected, mantissa = float(json.loads(number)), number.lower().partition("e")[0]
    digits = mantissa.strip("-").replace(".", "").lstrip("0")
    assume(len(digits) <= 19)
    assume(not digits or sys.float_info.min <= abs(expected) < math.inf)
    found = loads(body(f"[{number}, 0.5]"))
    assert found is not None
    assert struct.pack("<d", found["inputs"][0]["data"].values[0]) == struct.pack("<d", expected)


def test_nothing_beyond_a_text_is_looked_at_or_changes_what_is_read(tmp_path: Path) -> None:
    env = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-m", "tests.open_inference.codec.beyond_a_text"]
    asked = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert (asked.returncode, asked.stdout.strip()) == (0, "alike"), asked.stderr[-2000:]
