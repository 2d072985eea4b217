"""The Flink engine leaves what the local engine leaves; runs where `make flink` has made its environment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress

import orjson
import pytest

from feature_pipelines.engines.flink import _environment, _with_paths, interpreter
from feature_pipelines.engines.flink_plan import recovery_path, state_folder, told
from feature_pipelines.engines.opening import text_of
from feature_pipelines.files import SourceError
from tests.architecture.code import ROOT
from tests.feature_pipelines.engines import events
from tests.feature_pipelines.engines.broker import topic_of
from tests.feature_pipelines.engines.local import WAIT_S, assert_as_local, job, run

pytestmark = pytest.mark.engine("flink")

COUNT = 6_000


@pytest.fixture
def source(tmp_path):
    return events.written(tmp_path / "payments.parquet", events.payments(COUNT))


def test_the_same_tiles_as_the_local_engine_after_many_events(tmp_path):
    source = events.written(tmp_path / "payments.parquet", events.payments())
    report = run("flink", job("APP", source, tmp_path / "flink", parallelism="2"))
    assert report.events == events.EVENTS
    assert_as_local(tmp_path / "flink", "APP", source, tmp_path / "local")


def test_late_events_and_what_a_file_goes_on_with(tmp_path, source):
    given = job("BURSTS", source, tmp_path / "flink", batch="500")
    first, second = run("flink", given), run("flink", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "flink", "BURSTS", source, tmp_path / "local")
    other = events.written(tmp_path / "other.parquet", _renamed(events.payments(3_000, seed=5)))
    run("flink", job("BURSTS", other, tmp_path / "flink"))
    run("local", job("BURSTS", other, tmp_path / "local"))
    stores, groups = (tmp_path / "flink", tmp_path / "local"), events.BURSTS.groups
    events.assert_equal(*(events.records(store, groups) for store in stores))
    assert events.letters(stores[0]) == events.letters(stores[1])
    with pytest.raises(SourceError, match="cannot follow: needs the last of them, a file that is new"):
        run("flink", given)


def test_a_topic_through_the_connector(tmp_path, source):
    with topic_of(events.payments(COUNT), tmp_path / "broker", partitions=1) as address:
        given = job("BURSTS", address, tmp_path / "flink", batch="500", linger_ms="20")
        first, second = run("flink", given), run("flink", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "flink", "BURSTS", source, tmp_path / "local", letters="as many")
    late = [event for _, _, reason, event in events.letters(tmp_path / "flink") if reason.startswith("too late")]
    assert late
    assert all(orjson.loads(event).keys() == set(events.PAYMENTS.names) for event in late)


def test_killed_it_goes_on_from_its_checkpoint(tmp_path, source):
    with topic_of(events.payments(COUNT), tmp_path / "broker", partitions=3) as address:
        given = job("CARDS_ONLY", address, tmp_path / "flink", batch="50", checkpoint_s="1")
        _kill(given, tmp_path)
        assert run("flink", given).events < COUNT
    assert_as_local(tmp_path / "flink", "CARDS_ONLY", source, tmp_path / "local", letters="as many")


def test_another_store_s_records_are_refused(tmp_path, source):
    run("local", job("BURSTS", source, tmp_path / "store"))
    with pytest.raises(SourceError, match=r"the store holds payments from .* needs to be new to engine:flink"):
        run("flink", job("BURSTS", source, tmp_path / "store"))


def _renamed(table):
    """Return events whose ids are no other file's."""
    return table.set_column(0, "tid", [[f"other {tid}" for tid in table.column("tid").to_pylist()]])


def _kill(given, folder):
    """Run a job in a process group, and kill all of it when a checkpoint is there that holds events."""
    python = interpreter(given.options, os.environ)
    asked, kept = folder / "job.json", _with_paths(given, python)
    asked.write_text(text_of(kept))
    state = state_folder(kept)
    state.mkdir(parents=True)
    with (state / "log").open("w") as log:
        process = subprocess.Popen(
            [str(python), "-m", "feature_pipelines.engines.flink_job", "--here", str(asked)],
            cwd=ROOT, env=_environment(python, state), stdin=subprocess.PIPE, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        until, empty = time.monotonic() + WAIT_S, None
        while time.monotonic() < until:
            checkpoint = recovery_path(state)
            if not told(state)[0]:
                empty = checkpoint
            elif checkpoint not in (None, empty):
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
