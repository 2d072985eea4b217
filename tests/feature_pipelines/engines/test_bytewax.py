"""The bytewax engine leaves what the local engine leaves, also when its process is killed and started again."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from feature_pipelines.engines.opening import identity
from feature_pipelines.files import SourceError
from headrace.stores.embedded import EmbeddedStore
from tests.architecture.code import ROOT
from tests.feature_pipelines.engines import events
from tests.feature_pipelines.engines.local import assert_as_local, forever, job, run

COUNT = 6_000
WAIT_S, POLL_S = 60, 0.005
PROGRAM = """
import sys
from pathlib import Path
from tests.feature_pipelines.engines.local import job, run
app, source, store = sys.argv[1:]
run("bytewax", job(app, source, Path(store), batch="50", epoch_s="1", buckets="8"))
"""


@pytest.fixture
def source(tmp_path):
    return events.written(tmp_path / "payments.parquet", events.payments(COUNT))


@pytest.mark.parametrize("app", ["APP", "BURSTS"])
def test_the_same_tiles_and_dead_letters_as_the_local_engine(tmp_path, source, app):
    report = run("bytewax", job(app, source, tmp_path / "bytewax", batch="500"))
    assert report.events == COUNT
    assert_as_local(tmp_path / "bytewax", app, source, tmp_path / "local")


def test_a_run_that_was_done_is_not_done_again(tmp_path, source):
    given = job("APP", source, tmp_path / "bytewax")
    first, second = run("bytewax", given), run("bytewax", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "bytewax", "APP", source, tmp_path / "local")


def test_a_run_that_was_stopped_goes_on_where_it_stopped(tmp_path, source):
    from feature_pipelines.engines import load_engine

    given, asked = job("BURSTS", source, tmp_path / "bytewax", batch="100"), iter(range(10))
    part = load_engine("bytewax").run(given, lambda: next(asked, None) is None)
    assert 0 < part.events < COUNT
    assert part.events + load_engine("bytewax").run(given, forever).events == COUNT
    assert_as_local(tmp_path / "bytewax", "BURSTS", source, tmp_path / "local")


def test_killed_again_and_again_it_loses_nothing_and_counts_nothing_twice(tmp_path, source):
    chance, store = random.Random("bytewax"), tmp_path / "bytewax"
    command = [sys.executable, "-c", PROGRAM, "BURSTS", str(source), str(store)]
    killed = 0
    for letters in [1, *sorted(chance.sample(range(1, 9), 3))]:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while process.poll() is None and _letters(store) < letters:
            try:
                process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.communicate()
        killed += process.returncode == -9
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert killed
    assert_as_local(store, "BURSTS", source, tmp_path / "local")


def _letters(store: Path) -> int:
    path = store / "dead_letters" / "payments.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
