"""Machine code that is kept on disk is that of the sources as they are; to load it is to look for garbage rarely."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.compiled import load

LOOP = """
from headrace.compiled import LONG, compiled
from step import step

@compiled(LONG, returns=LONG)
def loop(value):
    return step(value)
"""
STEP = """
from headrace.compiled import compiled, inlined

@{how}
def step(value):
    return value + {more}
"""


HELD = {
    "a constant": ("from step import MORE as more", "value + more", "MORE = {more}"),
    "the order of fields": (
        "from step import Pair",
        "Pair(value + 1, value + 2).wanted",
        "from typing import NamedTuple\nPair = NamedTuple('Pair', [(name, int) for name in {order}])",
    ),
}


@pytest.mark.parametrize("what", HELD)
def test_a_loop_is_compiled_again_when_what_it_holds_has_changed(tmp_path, what):
    imports, value, step = HELD[what]
    text = LOOP.replace("from step import step", imports).replace("step(value)", value)
    (tmp_path / "loop.py").write_text(text)
    found = []
    for more, order in ((1, ("wanted", "other")), (2, ("other", "wanted"))):
        (tmp_path / "step.py").write_text(step.format(more=more, order=order))
        found.append(_asked(tmp_path))
    assert found == ["41", "42"]


@pytest.mark.parametrize("how", ["compiled()", "inlined"])
def test_a_loop_is_compiled_again_when_one_that_it_calls_has_changed(tmp_path, how):
    (tmp_path / "loop.py").write_text(LOOP)
    found = []
    for more in (1, 2):
        (tmp_path / "step.py").write_text(STEP.format(how=how, more=more))
        found.append(_asked(tmp_path))
    assert found == ["41", "42"]
    assert len(list(tmp_path.glob("kept/**/*.nbi"))) > 1  # both were kept


@pytest.fixture
def thresholds():
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_two_thousand_views_of_rows_are_not_looked_through(thresholds):
    gc.set_threshold(700)  # Python's own
    load()
    looks = []
    gc.callbacks.append(lambda *told: looks.append(told))
    try:
        views = [memoryview(b"a row") for _ in range(2000)]
    finally:
        gc.callbacks.pop()
    assert len(views) == 2000
    assert not looks


def _asked(folder: Path) -> str:
    paths = os.pathsep.join((str(folder), *filter(None, sys.path)))
    # What Python keeps of a source is told by its size and the second it was written in.
    env = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(folder / "kept"), "PYTHONDONTWRITEBYTECODE": "1"}
    asked = [sys.executable, "-c", "from loop import loop; print(loop(40))"]
    return subprocess.run(asked, env=env, check=True, capture_output=True, text=True, timeout=120).stdout.strip()
