"""What servers say on stderr: kinds and ids, in bounded number, whatever becomes of those who read it."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from headrace.open_inference.calls import CALL
from headrace.open_inference.errors import FeaturesUnavailable, InvalidRequest, OpenInferenceError
from headrace.open_inference.shield import say, shielded
from headrace.telemetry.logs import Lines, LogsError, configure, refused
from headrace.telemetry.tracing import open_tracing
from headrace.telemetry.watching import Watched
from tests.waiting import until

LOG = logging.getLogger("headrace.test")
SECRET = "4711.25"


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Leave the loggers as they were."""
    root = logging.getLogger("headrace")
    before = root.handlers, root.propagate, root.level
    yield
    root.handlers, root.propagate, root.level = before


def said(kind: str, level: str, *what: Any) -> list[str]:
    """Return the lines that are said of these refusals."""
    stream = io.StringIO()
    lines = configure(kind, level, stream)
    for why in what:
        refused("fraud", why, 0.0123)
    lines.close()
    return stream.getvalue().splitlines()


def test_a_refusal_is_said_by_its_kind_and_its_id_and_never_by_what_it_held():
    why = FeaturesUnavailable(f"the store has no {SECRET}")
    why.request_id = "order-12"
    (line,) = map(json.loads, said("json", "warning", why))
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "headrace.requests",
        "message": "fraud: 503 FeaturesUnavailable after 12.3 ms, request 'order-12'",
        "request_id": "order-12",
        "model": "fraud",
        "status": 503,
        "reason": "FeaturesUnavailable",
        "seconds": 0.0123,
    }


def test_callers_mistakes_are_said_when_asked_for():
    mistake = InvalidRequest(f"input 'amount' is {SECRET}")
    assert said("text", "warning", mistake) == []
    (line,) = said("text", "info", mistake)
    assert line.endswith(" info fraud: 400 InvalidRequest after 12.3 ms")
    assert SECRET not in line


def test_a_watched_request_without_an_id_of_its_own_is_known_by_its_calls():
    token = CALL.set(Watched(b"call-7", None))
    try:
        (line,) = said("text", "warning", FeaturesUnavailable("away"))
    finally:
        CALL.reset(token)
    assert line.endswith("503 FeaturesUnavailable after 12.3 ms, request 'call-7'")


@pytest.mark.parametrize("kind", ["text", "json"])
def test_an_unforeseen_fault_is_said_with_its_frames_and_without_its_words(kind):
    async def broken() -> None:
        raise RuntimeError(SECRET)

    stream = io.StringIO()
    lines = configure(kind, "warning", stream)
    with pytest.raises(OpenInferenceError, match="internal error, id ") as failed:
        asyncio.run(shielded(broken()))
    lines.close()
    assert str(failed.value) in stream.getvalue()
    assert "RuntimeError" in stream.getvalue()
    assert "in broken" in stream.getvalue()
    assert SECRET not in stream.getvalue()
    if kind == "json":
        assert "in broken" in json.loads(stream.getvalue())["frames"]


def test_more_lines_than_agreed_are_left_out_and_counted():
    now, stream = [0.0], io.StringIO()
    lines = configure("json", "info", stream)
    lines._clock, lines._most_per_s = (lambda: now[0]), 3
    for _ in range(10):
        LOG.info("again")
    now[0] = 1.0
    LOG.info("later")
    lines.close()
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in found] == ["again"] * 3 + ["later"]
    assert found[-1]["lines_left_out"] == lines.dropped == 7


def test_lines_that_the_disk_does_not_take_are_counted_in_the_next_that_is_written():
    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    lines = configure("json", "info", stream)
    for _ in range(3):
        LOG.info("lost")
    until(lambda: lines.dropped == 3)
    stream.full = False
    LOG.info("later")
    LOG.info("last")
    lines.close()
    assert [json.loads(line).get("lines_left_out") for line in stream.getvalue().splitlines()] == [3, None]


class Stuck(io.StringIO):
    """A stream that takes nothing until it is let go, and then fails."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.goes = Event(), Event()

    def write(self, text: str) -> int:
        self.entered.set()
        self.goes.wait(30)
        raise OSError(28, "No space left on device")


def test_a_reader_who_stands_still_costs_lines_and_nobody_waits():
    stream = Stuck()
    lines = Lines(stream, most_per_s=1_000_000, most=5)
    lines.setFormatter(logging.Formatter("%(message)s"))
    for at in range(100):
        lines.handle(logging.makeLogRecord({"msg": f"line {at}"}))
        if not at:
            assert stream.entered.wait(30)
    assert lines.dropped == 94
    stream.goes.set()
    until(lambda: lines.dropped == 100)
    lines.close()


@pytest.mark.parametrize(
    ("kind", "level", "reason"),
    [
        ("xml", "info", "setting log_format is 'xml', needs one of text, json"),
        ("json", "loud", "setting log_level is 'loud', needs one of debug, info, warning, error"),
    ],
)
def test_another_format_or_level_is_refused(kind, level, reason):
    with pytest.raises(LogsError, match=reason):
        configure(kind, level)


def test_a_header_that_is_no_trace_state_is_not_quoted(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    tracing, stream = open_tracing({"OTEL_TRACES_EXPORTER": "console"}), io.StringIO()
    lines = configure("text", "debug", stream)
    tracing.begin(b"00-" + b"1" * 32 + b"-" + b"1" * 16 + b"-00", b"," + SECRET.encode() + b",=,")
    tracing.close()
    lines.close()
    assert SECRET not in stream.getvalue()


@pytest.mark.parametrize("kind", ["text", "json"])
def test_what_is_said_beside_requests_is_a_line_of_the_log_where_there_is_one(kind, capsys):
    say("worker 2 ended with code 1: it is started anew in 1 s\n")
    stream = io.StringIO()
    lines = configure(kind, "warning", stream)
    say("the certificate before it serves on\n")
    lines.close()
    (line,) = stream.getvalue().splitlines()
    told = json.loads(line)["message"] if kind == "json" else line.partition(" warning ")[2]
    assert told == "the certificate before it serves on"
    assert capsys.readouterr().err == "worker 2 ended with code 1: it is started anew in 1 s\n"
