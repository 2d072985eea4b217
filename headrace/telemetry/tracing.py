"""OpenTelemetry traces of requests: one span for the request, one for each of its stages.

The OTEL_* variables say what is sent, where to and how much of it, as everywhere. A request that comes with a W3C
`traceparent` goes on in its trace, and so does what is sent to the predictor. Attributes say how many rows there were,
which model and view, and how it ended; values, keys and messages are in none of them.

Nothing is made while a request runs but its ids. Its spans are made when it has ended, and handed to the SDK's
batches, whose thread exports them; what that has no room for is dropped there.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace.span import TraceState

import headrace

SERVICE, INFER = "headrace-transformer", "infer"
STAGES = ("decode", "store", "assemble", "predict", "respond")
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SCOPE = InstrumentationScope("headrace", headrace.__version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class TracingError(Exception):
    """Traces cannot be sent as the environment says; the text says why."""


class Trace:
    """One request in a trace; only one that is sampled is recorded."""

    __slots__ = ("_began_ns", "_context", "_parent", "_predict", "_sampled", "_stages", "_told", "_tracing", "onward")

    def __init__(self, tracing: Tracing, parent: SpanContext | None, trace_id: int, sampled: bool) -> None:
        self._tracing, self._parent, self._sampled = tracing, parent, sampled
        flags = _SAMPLED if sampled else TraceFlags(TraceFlags.DEFAULT)
        state = parent.trace_state if parent is not None else None
        self._context = SpanContext(trace_id, random.getrandbits(64) or 1, False, flags, state)
        self._predict = random.getrandbits(64) or 1
        self._began_ns = time.time_ns()
        self._stages: Sequence[tuple[str, int, int]] = ()
        self._told: dict[str, Any] = {}
        #: The traceparent of what is asked on behalf of this request: the stage that asks the predictor.
        self.onward = b"00-%032x-%016x-%02x" % (trace_id, self._predict, flags)

    @property
    def id(self) -> str:
        """The trace's id as it is written."""
        return f"{self._context.trace_id:032x}"

    def ran(self, stage_ms: Sequence[float], told: Mapping[str, Any]) -> None:
        """Hear how long each of STAGES took, up to now, and attributes of the request."""
        if self._sampled:
            end = time.time_ns()
            stages = []
            for name, took in zip(STAGES[: len(stage_ms)][::-1], reversed(stage_ms), strict=True):
                begin = end - int(took * 1e6)
                stages.append((name, begin, end))
                end = begin
            self._stages, self._told = stages[::-1], dict(told)

    def ended(self, status: int) -> None:
        """Hand the spans of the request to be exported."""
        if not self._sampled:
            return
        told = {**self._told, "http.response.status_code": status}
        failed = Status(StatusCode.ERROR) if status >= 500 else Status(StatusCode.UNSET)
        spans = [(self._context, self._parent, INFER, SpanKind.SERVER, (self._began_ns, time.time_ns()), told, failed)]
        for name, begin, end in self._stages:
            asks = name == "predict"
            span_id = self._predict if asks else random.getrandbits(64) or 1
            context = SpanContext(self._context.trace_id, span_id, False, _SAMPLED, self._context.trace_state)
            kind = SpanKind.CLIENT if asks else SpanKind.INTERNAL
            spans.append((context, self._context, name, kind, (begin, end), {}, Status(StatusCode.UNSET)))
        self._tracing.export(spans)


class Tracing:
    """What the environment says of traces, opened once; `close` sends what is left."""

    def __init__(self, provider: TracerProvider, processor: SpanProcessor) -> None:
        self._sampler, self._resource, self._processor = provider.sampler, provider.resource, processor

    def begin(self, traceparent: bytes, tracestate: bytes = b"") -> Trace:
        """Begin a request: in the caller's trace, where it names one, else in one of its own."""
        parent = _parent(traceparent, tracestate)
        trace_id = parent.trace_id if parent is not None else random.getrandbits(128) or 1
        context = set_span_in_context(NonRecordingSpan(parent)) if parent is not None else None
        decided = self._sampler.should_sample(context, trace_id, INFER, SpanKind.SERVER)
        return Trace(self, parent, trace_id, decided.decision.is_sampled())

    def export(self, spans: Sequence[Any]) -> None:
        """Hand finished spans over."""
        for context, parent, name, kind, (began, ended), told, status in spans:
            self._processor.on_end(
                ReadableSpan(
                    name,
                    context,
                    parent,
                    self._resource,
                    told,
                    kind=kind,
                    status=status,
                    start_time=began,
                    end_time=ended,
                    instrumentation_scope=_SCOPE,
                )
            )

    def close(self) -> None:
        """Send what is left; gives up where the receiver is away."""
        self._processor.shutdown()


def open_tracing(environment: Mapping[str, str]) -> Tracing:
    """Open what the OTEL_* variables say; the SDK reads them itself, from the process's environment.

    Raises TracingError for an exporter or a protocol that is not known here.
    """
    provider = TracerProvider(shutdown_on_exit=False)
    if not environment.get("OTEL_SERVICE_NAME") and "service.name" not in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        provider = TracerProvider(
            resource=provider.resource.merge(type(provider.resource)({"service.name": SERVICE})), shutdown_on_exit=False
        )
    return Tracing(provider, BatchSpanProcessor(_exporter(environment)))


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    exporter = environment.get("OTEL_TRACES_EXPORTER") or "otlp"
    if exporter == "console":
        return ConsoleSpanExporter()
    if exporter != "otlp":
        raise TracingError(f"OTEL_TRACES_EXPORTER is {exporter!r}, needs otlp, console or none")
    named = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if named in (None, "", "http/protobuf"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp()
    if named == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

        return OverGrpc()
    raise TracingError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {named!r}, needs http/protobuf or grpc")


def _parent(traceparent: bytes, tracestate: bytes) -> SpanContext | None:
    found = _PARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in found.groups()[:3])
    if not trace_id or not span_id:
        return None
    state = TraceState.from_header([tracestate.decode("latin-1")]) if tracestate else None
    return SpanContext(trace_id, span_id, True, TraceFlags(flags & TraceFlags.SAMPLED), state)
