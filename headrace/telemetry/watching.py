"""What is known of a request beyond its tensors: its id, and the trace it is part of.

A request has the id its caller sent as `x-request-id`; where there is none, or one that is no id, it is given one, and
the answer says which. The id goes on to the predictor like any other header that is passed on.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headrace.open_inference.calls import Headers

if TYPE_CHECKING:
    from headrace.telemetry.tracing import Trace, Tracing

REQUEST_ID, TRACEPARENT, TRACESTATE = b"x-request-id", b"traceparent", b"tracestate"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class TracingError(ValueError):
    """Traces cannot be sent as the environment says; the text says why."""


class Watched:
    """One request under way; a Call of `open_inference.calls`."""

    __slots__ = ("answer", "id", "instead", "trace")

    def __init__(self, request_id: bytes, trace: Trace | None) -> None:
        self.id, self.trace = request_id.decode(), trace
        self.instead = {REQUEST_ID: request_id}
        self.answer: Headers = [(REQUEST_ID, request_id)]
        if trace is not None:
            self.instead[TRACEPARENT] = trace.onward

    def ended(self, status: int) -> None:
        """Give the trace its end."""
        if self.trace is not None:
            self.trace.ended(status)


class Watching:
    """Begins requests: gives them ids, and traces where there is tracing."""

    def __init__(self, tracing: Tracing | None = None) -> None:
        self.tracing = tracing

    def __call__(self, headers: Headers) -> Watched:
        """Begin a request with these headers."""
        found = dict(headers)
        states = [value for name, value in headers if name == TRACESTATE]
        state = b",".join(states)  # of several headers, all together are the list
        given = found.get(REQUEST_ID, b"")
        if not _ID.fullmatch(given):
            given = b"%016x" % random.getrandbits(64)
        if self.tracing is None:
            return Watched(given, None)
        watched = Watched(given, self.tracing.begin(found.get(TRACEPARENT, b""), state))
        if len(states) > 1:
            watched.instead[TRACESTATE] = state
        return watched


def traces_asked(environment: Mapping[str, str]) -> bool:
    """Tell whether the environment asks for traces: it names a receiver or an exporter, and does not forbid them.

    >>> traces_asked({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}), traces_asked({})
    (True, False)
    """
    exporter = environment.get("OTEL_TRACES_EXPORTER", "")
    off = environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none"
    return not off and bool(exporter or any(environment.get(name) for name in _ENDPOINTS))


def tracing_of(environment: Mapping[str, str], service: str) -> Tracing | None:
    """Open the traces that the environment asks for, by a service of this name unless it has another; None without.

    Raises TracingError where they cannot be sent as it says. Where the extra is missing, a line on stderr says so.
    """
    if not traces_asked(environment):
        return None
    try:
        from headrace.telemetry.tracing import open_tracing
    except ModuleNotFoundError as absent:
        if not (absent.name or "").startswith("opentelemetry"):
            raise
        sys.stderr.write("OTEL_* asks for traces, which need headrace[tracing]: none are written\n")
        return None
    return open_tracing(environment, service)
