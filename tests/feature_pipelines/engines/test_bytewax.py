"""The bytewax engine leaves what the local engine leaves, also when its process is killed and started again."""

from __future__ import annotations

import random
import shutil

import orjson
import pytest

from feature_pipelines.engines import load_engine
from feature_pipelines.files import SourceError
from headrace.application import load_application
from headrace.cli.broker import free_port
from tests.feature_pipelines.engines import events
from tests.feature_pipelines.engines.broker import topic_of
from tests.feature_pipelines.engines.local import assert_as_local, forever, job, run, run_killed, run_together

COUNT = 6_000
PROGRAM = """
import sys
from pathlib import Path
from tests.feature_pipelines.engines.local import job, run
app, source, store = sys.argv[1:]
run("bytewax", job(app, source, Path(store), batch="100", epoch_s="1", buckets="4"))
"""
PROGRAM_OF_TWO = """
import sys
from pathlib import Path
from tests.feature_pipelines.engines.local import job, run
app, source, store, addresses, process = sys.argv[1:]
run("bytewax", job(app, source, Path(store), batch="500", buckets="6", addresses=addresses, process=process))
"""


@pytest.fixture
def source(tmp_path):
    return events.written(tmp_path / "payments.parquet", events.payments(COUNT))


@pytest.mark.parametrize("app", ["APP", "BURSTS"])
def test_the_same_tiles_and_dead_letters_as_the_local_engine(tmp_path, source, app):
    report = run("bytewax", job(app, source, tmp_path / "bytewax", batch="500"))
    assert report.events == COUNT
    assert_as_local(tmp_path / "bytewax", app, source, tmp_path / "local")


def test_the_same_tiles_as_the_local_engine_after_many_events(tmp_path):
    source = events.written(tmp_path / "payments.parquet", events.payments())
    report = run("bytewax", job("APP", source, tmp_path / "bytewax"))
    assert report.events == events.EVENTS
    assert_as_local(tmp_path / "bytewax", "APP", source, tmp_path / "local")


def test_a_run_that_was_done_is_not_done_again(tmp_path, source):
    given = job("APP", source, tmp_path / "bytewax")
    first, second = run("bytewax", given), run("bytewax", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "bytewax", "APP", source, tmp_path / "local")


def test_a_run_that_was_stopped_goes_on_where_it_stopped(tmp_path, source):
    given, asked = job("BURSTS", source, tmp_path / "bytewax", batch="100"), iter(range(10))
    part = load_engine("bytewax").run(given, lambda: next(asked, None) is None)
    assert 0 < part.events < COUNT
    assert part.events + load_engine("bytewax").run(given, forever).events == COUNT
    assert_as_local(tmp_path / "bytewax", "BURSTS", source, tmp_path / "local")


def test_killed_again_and_again_it_loses_nothing_and_counts_nothing_twice(tmp_path, source):
    chance, store = random.Random("bytewax"), tmp_path / "bytewax"
    assert run_killed(PROGRAM, "BURSTS", source, store, [1, *sorted(chance.sample(range(1, 9), 2))])
    assert_as_local(store, "BURSTS", source, tmp_path / "local")


def test_partitions_of_a_topic_are_read_side_by_side(tmp_path, source):
    with topic_of(events.payments(COUNT), tmp_path / "broker", partitions=3) as address:
        given = job("CARDS_ONLY", address, tmp_path / "bytewax", batch="500")
        first, second = run("bytewax", given), run("bytewax", given)
    assert (first.events, second.events) == (COUNT, 0)
    assert_as_local(tmp_path / "bytewax", "CARDS_ONLY", source, tmp_path / "local", letters="as many")


def test_two_processes_share_the_keys_of_a_store(tmp_path, source):
    store = tmp_path / "bytewax"
    addresses = ",".join(f"127.0.0.1:{free_port()}" for _ in range(2))
    run_together(PROGRAM_OF_TWO, "BURSTS", source, store, addresses, 2)
    assert_as_local(store, "BURSTS", source, tmp_path / "local")


def test_an_event_of_a_topic_that_is_too_late_is_kept_as_it_came(tmp_path, source):
    with topic_of(events.payments(COUNT), tmp_path / "broker", partitions=1) as address:
        run("bytewax", job("BURSTS", address, tmp_path / "bytewax", batch="500"))
    assert_as_local(tmp_path / "bytewax", "BURSTS", source, tmp_path / "local", letters="as many")
    late = [event for _, _, reason, event in events.letters(tmp_path / "bytewax") if reason.startswith("too late")]
    assert late
    assert all(orjson.loads(event).keys() == set(events.PAYMENTS.names) for event in late)


def test_what_a_step_refuses_is_refused_by_the_run(tmp_path, source):
    given, polls = job("BURSTS", source, tmp_path / "bytewax", batch="100"), iter(range(5))

    def lost() -> bool:
        if next(polls, None) is None:
            raise SourceError("the source is away")
        return False

    with pytest.raises(SourceError, match="the source is away"):
        load_engine("bytewax").run(given, lost)
    run("bytewax", given)
    assert_as_local(tmp_path / "bytewax", "BURSTS", source, tmp_path / "local")


def test_a_store_that_another_engine_began_is_refused(tmp_path, source):
    run("local", job("BURSTS", source, tmp_path / "store"))
    with pytest.raises(ValueError, match=r"the store holds payments from payments.parquet@.*use another store"):
        run("bytewax", job("BURSTS", source, tmp_path / "store"))


def test_the_local_engine_refuses_a_store_that_another_engine_began(tmp_path, source):
    run("bytewax", job("BURSTS", source, tmp_path / "store"))
    with pytest.raises(ValueError, match=r"the store holds payments as engine bytewax:.* left it.*use another store"):
        run("local", job("BURSTS", source, tmp_path / "store"))


def test_a_file_after_another_is_added_to_the_state(tmp_path):
    whole = events.payments(COUNT)
    files = [
        events.written(tmp_path / f"part{at}.parquet", whole.slice(at * COUNT // 2, COUNT // 2)) for at in range(2)
    ]
    for engine in ("bytewax", "local"):
        for file in (*files, files[1]):
            run(engine, job("BURSTS", file, tmp_path / engine))
    groups = load_application(f"{events.__name__}:BURSTS").groups
    events.assert_equal(*(events.records(tmp_path / engine, groups) for engine in ("bytewax", "local")))
    assert events.letters(tmp_path / "bytewax") == events.letters(tmp_path / "local")


def test_a_state_that_was_lost_is_not_begun_anew_over_its_records(tmp_path, source):
    given = job("BURSTS", source, tmp_path / "store")
    run("bytewax", given)
    shutil.rmtree(tmp_path / "store" / "bytewax")
    with pytest.raises(ValueError, match=r"the store holds payments from engine:bytewax:.*the state that began it"):
        run("bytewax", given)


def test_a_state_keeps_its_number_of_buckets(tmp_path, source):
    run("bytewax", job("BURSTS", source, tmp_path / "store", buckets="8"))
    with pytest.raises(
        ValueError, match=r"the state in '\S*/payments' has 8 buckets, was to have 32: needs the number it"
    ):
        run("bytewax", job("BURSTS", source, tmp_path / "store"))


def test_a_file_that_grew_is_refused(tmp_path, source):
    given = job("BURSTS", source, tmp_path / "store")
    run("bytewax", given)
    events.written(source, events.payments(COUNT + 1))
    with pytest.raises(ValueError, match=r"'payments.parquet' was read into this store with other contents"):
        run("bytewax", given)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"bukkets": "3"}, "engine 'bytewax' has no option bukkets, needs some of order"),
        ({"buckets": "none"}, "option buckets is 'none', needs a whole number of at least 1"),
        ({"epoch_s": "0"}, "option epoch_s is '0', needs a whole number of at least 1"),
    ],
)
def test_an_option_that_means_nothing_is_refused(tmp_path, source, options, found):
    with pytest.raises(ValueError, match=found):
        run("bytewax", job("BURSTS", source, tmp_path / "store", **options))
