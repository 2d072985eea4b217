"""The Spark engine leaves what the local engine leaves; runs in the environment that `make test-engines` makes."""

from __future__ import annotations

import pytest

from feature_pipelines.engines import load_engine
from feature_pipelines.files import SourceError
from tests.feature_pipelines.engines import events
from tests.feature_pipelines.engines.broker import topic_of
from tests.feature_pipelines.engines.local import assert_as_local, job, letters_at, run, run_killed

pytestmark = pytest.mark.engine("spark")

COUNT = 6_000
#: Everything on this machine, without pages that watch it.
HERE = {
    "spark.master": "local[2]", "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": "2",
}  # fmt: skip
PROGRAM = """
import sys
from pathlib import Path
from tests.feature_pipelines.engines.local import job, run
from tests.feature_pipelines.engines.test_spark import HERE
app, source, store = sys.argv[1:]
run("spark", job(app, source, Path(store), batch="500", most="500", buckets="4", **HERE))
"""


@pytest.fixture
def source(tmp_path):
    return events.written(tmp_path / "payments.parquet", events.payments(COUNT))


def test_the_same_tiles_as_the_local_engine_after_many_events(tmp_path):
    source = events.written(tmp_path / "payments.parquet", events.payments())
    report = run("spark", job("APP", source, tmp_path / "spark", **HERE))
    assert report.events == events.EVENTS
    assert_as_local(tmp_path / "spark", "APP", source, tmp_path / "local")


def test_a_run_that_was_done_is_not_done_again(tmp_path, source):
    given = job("BURSTS", source, tmp_path / "spark", most="2000", **HERE)
    first, second = run("spark", given), run("spark", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "spark", "BURSTS", source, tmp_path / "local")


def test_killed_again_and_again_it_loses_nothing_and_counts_nothing_twice(tmp_path, source):
    assert run_killed(PROGRAM, "BURSTS", source, tmp_path / "spark", [1, 4])
    assert_as_local(tmp_path / "spark", "BURSTS", source, tmp_path / "local")


def test_partitions_of_a_topic_are_read_side_by_side(tmp_path, source):
    with topic_of(events.payments(COUNT), tmp_path / "broker", partitions=3) as address:
        given = job("CARDS_ONLY", address, tmp_path / "spark", most="4000", **HERE)
        first, second = run("spark", given), run("spark", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "spark", "CARDS_ONLY", source, tmp_path / "local", letters="as many")


def test_a_folder_that_files_arrive_in(tmp_path, source):
    folder = tmp_path / "arriving"
    folder.mkdir()
    payments = events.payments(COUNT)
    given = job("BURSTS", folder, tmp_path / "spark", **HERE)
    for number in range(3):
        events.written(folder / f"{number}.parquet", payments.slice(number * COUNT // 3, COUNT // 3))
        assert run("spark", given).events == COUNT // 3
    assert_as_local(tmp_path / "spark", "BURSTS", source, tmp_path / "local", letters="as many")


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, source):
    given, grown = job("BURSTS", source, tmp_path / "spark", most="300", batch="300", **HERE), []

    def grow() -> bool:
        if letters_at(tmp_path / "spark") and not grown:
            grown.append(events.written(source, events.payments(COUNT + 1)))
        return False

    with pytest.raises(SourceError, match=r"the Spark query failed: .*has other contents than when it was begun"):
        load_engine("spark").run(given, grow)
