"""The queue and its thread: everything is written or counted, and nobody is waited for."""

from __future__ import annotations

import logging
from threading import Event

import pyarrow as pa
import pytest

from headrace.predictions import PredictionLog, SinkFailed
from tests.predictions.runs import columns, run

BOUND_S = 30.0


class Kept:
    """A sink that keeps tables, fails while it is told to, and stands still until it is let go."""

    every_s, most_rows = 0.0, 1_000

    def __init__(self, *, goes: bool = True) -> None:
        self.tables: list[pa.Table] = []
        self.since = 0
        self.failing = self.closed = False
        self.entered, self.goes = Event(), Event()
        if goes:
            self.goes.set()

    def write(self, table: pa.Table) -> None:
        self.entered.set()
        assert self.goes.wait(BOUND_S)
        if self.failing:
            raise SinkFailed("the disk is full")
        self.tables.append(table)
        self.since += table.num_rows

    def settled(self) -> int:
        written, self.since = self.since, 0
        return written

    def close(self) -> None:
        self.closed = True

    @property
    def ids(self) -> list[str]:
        return [name for table in self.tables for name in table["request_id"].to_pylist()]


def until(true) -> None:
    """Wait for the log's thread to have done something."""
    waited, pause = 0.0, Event()
    while not true():
        pause.wait(0.01)
        waited += 0.01
        assert waited < BOUND_S


def test_what_is_offered_is_written_in_order_and_all_of_it_when_it_is_closed():
    sink = Kept()
    sink.every_s = 3600.0
    log = PredictionLog(sink, columns().table)
    for name in ("a", "b", "c"):
        log.offer(run(name))
    log.close()
    assert sink.ids == ["a", "b", "c"]
    assert len(sink.tables) == 1
    assert (log.written, log.full, log.failed, log.waiting, sink.closed) == (3, 0, 0, 0, True)


def test_many_rows_are_written_before_they_are_due():
    sink = Kept()
    sink.every_s, sink.most_rows = 3600.0, 4
    log = PredictionLog(sink, columns().table)
    log.offer(run("a", rows=5))
    until(lambda: log.written == 5)
    log.close()


def test_a_sink_that_stands_still_costs_rows_and_nothing_else():
    sink = Kept(goes=False)
    log = PredictionLog(sink, columns().table, most_rows=10)
    log.offer(run("first"))
    assert sink.entered.wait(BOUND_S)
    for _ in range(50):
        log.offer(run("a", rows=4))
    assert (log.waiting, log.full) == (8, 48 * 4)
    sink.goes.set()
    log.close()
    assert log.written == 9


def test_a_sink_that_fails_is_said_once_counted_always_and_used_again(caplog):
    sink, now = Kept(), [100.0]
    sink.failing = True
    with caplog.at_level(logging.WARNING, "headrace.predictions"):
        log = PredictionLog(sink, columns().table, clock=lambda: now[0])
        log.offer(run("a", rows=3))
        until(lambda: log.failed == 3)
        log.offer(run("b", rows=2))
        until(lambda: log.failed == 5)
        sink.failing = False
        now[0] += 11
        log.offer(run("c"))
        log.close()
    assert sink.ids == ["c"]
    assert [record.getMessage() for record in caplog.records] == [
        "predictions are lost, serving goes on: the disk is full",
        "predictions are written again; 5 rows were lost",
    ]


def test_a_sink_that_fails_again_and_again_is_said_once(caplog):
    sink, now = Kept(), [100.0]
    with caplog.at_level(logging.WARNING, "headrace.predictions"):
        log = PredictionLog(sink, columns().table, clock=lambda: now[0])
        for turn in range(1, 4):
            sink.failing = True
            log.offer(run("a"))
            until(lambda turn=turn: log.failed == turn)
            sink.failing = False
            log.offer(run("b"))
            until(lambda turn=turn: log.written == turn)
            now[0] += 3
        log.close()
    assert [record.getMessage() for record in caplog.records] == [
        "predictions are lost, serving goes on: the disk is full",
        "predictions are written again; 3 rows were lost",
    ]


def test_rows_of_requests_that_were_refused_among_others_are_none_that_are_left_out_or_dropped():
    one = run("a", "b", "c", rows=2)
    one = one._replace(answered=one.answered[:1])
    shared, full = (PredictionLog(Kept(), columns().table, **how) for how in ({"share": 0.0}, {"most_rows": 1}))
    for log in (shared, full):
        log.offer(one)
        log.close()
    assert (shared.left_out, full.full) == (2, 2)


def test_a_run_that_no_columns_can_be_made_of_is_lost_alone(caplog):
    sink = Kept()
    log = PredictionLog(sink, columns().table)
    log.offer(run("a", blocks={}))
    until(lambda: log.failed == 1)
    log.offer(run("b"))
    log.close()
    assert sink.ids == ["b"]
    assert "columns could not be made (KeyError)" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_share_of_the_runs_is_kept(share):
    sink = Kept()
    log = PredictionLog(sink, columns().table, share=share)
    one = run("a")
    for _ in range(2000):
        log.offer(one)
    log.close()
    assert log.written + log.left_out == 2000
    assert log.written == 0 if not share else 800 < log.written < 1200
