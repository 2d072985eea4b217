"""What a server says on stderr: lines of text or of JSON, bounded in number, and never what was in a request.

Lines are written by a thread of their own, from a bounded queue: a reader that stands still, a full disk or a closed
stream costs lines, which are counted, and no request its time. More than `most_per_s` lines a second are left out too,
and their number is said with the next one. Only the loggers below `headrace` are set up; nothing happens at import.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from queue import Full, Queue
from threading import Thread
from time import monotonic
from typing import TextIO

from headrace.open_inference.calls import CALL
from headrace.open_inference.errors import OpenInferenceError

FORMATS, LEVELS = ("text", "json"), ("debug", "info", "warning", "error")
REQUESTS = "headrace.requests"
_ROOT = "headrace"
_MOST_LINES = 1_000
_CLOSE_S = 2.0
_LONGEST_ID = 200
#: Attributes of a record that a line says, where it has them.
_SAID = ("request_id", "model", "status", "reason", "seconds", "frames")


class LogsError(ValueError):
    """Logs cannot be written as they were to be; the text says why."""


class Lines(logging.Handler):
    """Writes records to a stream from a thread, at most so many a second; the others are counted in `dropped`."""

    def __init__(
        self, stream: TextIO, *, most_per_s: int = 100, clock: Callable[[], float] = monotonic, most: int = _MOST_LINES
    ) -> None:
        super().__init__()
        self._dropped = self._unwritten = 0  # before they were queued; by the thread, which alone counts these
        self._stream, self._most_per_s, self._clock = stream, most_per_s, clock
        self._second, self._in_second, self._said = -1, 0, 0
        self._queue: Queue[str | None] = Queue(most)
        self._thread = Thread(target=self._write, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over, or count it."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second > self._most_per_s:
            self._dropped += 1
            return
        dropped = self.dropped
        record.__dict__["left_out"] = dropped - self._said
        try:
            self._queue.put_nowait(self.format(record))
        except Full:
            self._dropped += 1
        else:
            self._said = dropped

    @property
    def dropped(self) -> int:
        """How many lines were left out."""
        return self._dropped + self._unwritten

    def close(self) -> None:
        """Write what is left, unless the stream takes too long."""
        try:
            self._queue.put(None, timeout=_CLOSE_S)
            self._thread.join(_CLOSE_S)
        except Full:
            self._dropped += self._queue.qsize()
        super().close()

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # the disk is full, or the stream is closed
                self._unwritten += 1


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and what is said of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: getattr(record, name) for name in _SAID if getattr(record, name, None) not in (None, "")},
        }
        if left_out := getattr(record, "left_out", 0):
            said["lines_left_out"] = left_out
        return json.dumps(said)


class TextLines(logging.Formatter):
    """A record as a person reads it; a fault's frames follow it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or lines."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        left_out = getattr(record, "left_out", 0)
        more = f" ({left_out} lines before it were left out)" if left_out else ""
        frames = getattr(record, "frames", "").rstrip()
        return f"{at} {record.levelname.lower()} {record.getMessage()}{more}" + (f"\n{frames}" if frames else "")


def configure(kind: str, level: str, stream: TextIO | None = None) -> Lines:
    """Have the loggers of Headrace write such lines, to stderr unless said; close what is returned at the end.

    Raises LogsError for another format or level.
    """
    if kind not in FORMATS:
        raise LogsError(f"setting log_format is {kind!r}, needs one of {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise LogsError(f"setting log_level is {level!r}, needs one of {', '.join(LEVELS)}")
    lines = Lines(stream or sys.stderr)
    lines.setFormatter(JsonLines() if kind == "json" else TextLines())
    root = logging.getLogger(_ROOT)
    root.handlers, root.propagate = [lines], False
    root.setLevel(level.upper())
    logging.getLogger("opentelemetry").handlers = [lines]  # says again and again that a receiver is away
    logging.getLogger("opentelemetry").propagate = False
    logging.getLogger("opentelemetry.trace").setLevel(logging.CRITICAL)  # it quotes callers' headers
    return lines


def refused(model: str, why: OpenInferenceError, seconds: float) -> None:
    """Say that a request was refused: by whom and why, in kinds, and not what it held.

    The caller's own mistakes are said from level info on, what failed here from level warning on.
    """
    log = logging.getLogger(REQUESTS)
    level = logging.WARNING if why.http_status >= 500 or why.http_status == 429 else logging.INFO
    if not log.isEnabledFor(level):
        return
    call = CALL.get()
    request_id = (why.request_id or (call.id if call is not None else ""))[:_LONGEST_ID]
    status, reason = why.http_status, type(why).__name__
    about = {"request_id": request_id, "model": model, "status": status, "reason": reason, "seconds": round(seconds, 6)}
    of = f", request {request_id!r}" if request_id else ""
    log.log(level, "%s: %d %s after %.1f ms%s", model or "no model", status, reason, seconds * 1e3, of, extra=about)
