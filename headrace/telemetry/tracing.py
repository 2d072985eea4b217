"""OpenTelemetry traces of requests: one span for the request, one for each of its stages.

The OTEL_* variables say what is sent, where to and how much of it, as everywhere. A request that comes with a W3C
`traceparent` goes on in its trace, and so does what is sent to the predictor. Attributes say how many rows there were,
which model and view, and how it ended; values, keys and messages are in none of them.

Nothing is made while a request runs but its ids. When it has ended it is handed to the SDK's batches as it is; spans
are made of it in the thread that exports them, and what there is no room for is dropped there.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from threading import Thread
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Sampler
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
from headrace.telemetry.watching import TracingError

INFER = "infer"
STAGES = ("decode", "store", "assemble", "predict", "respond")
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SCOPE = InstrumentationScope("headrace", headrace.__version__)
#: How long a process that ends waits for its last traces to be taken.
_CLOSE_S = 2.0
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class Trace:
    """One request in a trace; only one that is sampled is recorded."""

    __slots__ = (
        *("_answered_ns", "_began_ns", "_ended_ns", "_parent", "_predict", "_sampled", "_stage_ms", "_status", "_told"),
        *("_tracing", "context", "onward"),
    )

    def __init__(self, tracing: Tracing, parent: SpanContext | None, trace_id: int, sampled: bool) -> None:
        self._tracing, self._parent, self._sampled = tracing, parent, sampled
        flags = _SAMPLED if sampled else TraceFlags(TraceFlags.DEFAULT)
        state = parent.trace_state if parent is not None else None
        self.context = SpanContext(trace_id, random.getrandbits(64) or 1, False, flags, state)
        self._predict = random.getrandbits(64) or 1
        self._began_ns = time.time_ns()
        self._answered_ns = self._ended_ns = self._status = 0
        self._stage_ms: Sequence[float] = ()
        self._told: Mapping[str, Any] = {}
        #: The traceparent of what is asked on behalf of this request: the stage that asks the predictor.
        self.onward = b"00-%032x-%016x-%02x" % (trace_id, self._predict, flags)

    @property
    def id(self) -> str:
        """The trace's id as it is written."""
        return f"{self.context.trace_id:032x}"

    def ran(self, stage_ms: Sequence[float], told: Mapping[str, Any]) -> None:
        """Hear how long each of STAGES took, up to now, and attributes of the request."""
        if self._sampled:
            self._answered_ns, self._stage_ms, self._told = time.time_ns(), stage_ms, told

    def ended(self, status: int) -> None:
        """Hand the request over to be exported."""
        if self._sampled:
            self._ended_ns, self._status = time.time_ns(), status
            self._tracing.hand_over(self)

    def spans(self, resource: Resource) -> Iterator[ReadableSpan]:
        """Give the spans of a request that has ended, its own first."""
        told = {**self._told, "http.response.status_code": self._status}
        failed = StatusCode.ERROR if self._status >= 500 else StatusCode.UNSET
        times = self._began_ns, self._ended_ns
        yield _span(INFER, SpanKind.SERVER, self.context, self._parent, times, resource, told, failed)
        end = self._answered_ns
        for name, took in zip(STAGES[: len(self._stage_ms)][::-1], reversed(self._stage_ms), strict=True):
            begin = end - int(took * 1e6)
            asks = name == "predict"
            span_id = self._predict if asks else random.getrandbits(64) or 1
            context = SpanContext(self.context.trace_id, span_id, False, _SAMPLED, self.context.trace_state)
            yield _span(
                name, SpanKind.CLIENT if asks else SpanKind.INTERNAL, context, self.context, (begin, end), resource
            )
            end = begin


class Tracing:
    """What the environment says of traces, opened once; `close` sends what is left."""

    def __init__(self, sampler: Sampler, processor: SpanProcessor) -> None:
        self._sampler, self._processor = sampler, processor

    def begin(self, traceparent: bytes, tracestate: bytes = b"") -> Trace:
        """Begin a request: in the caller's trace, where it names one, else in one of its own."""
        parent = _parent(traceparent, tracestate)
        trace_id = parent.trace_id if parent is not None else random.getrandbits(128) or 1
        context = set_span_in_context(NonRecordingSpan(parent)) if parent is not None else None
        decided = self._sampler.should_sample(context, trace_id, INFER, SpanKind.SERVER)
        return Trace(self, parent, trace_id, decided.decision.is_sampled())

    def hand_over(self, ended: Trace) -> None:
        """Let the SDK's thread export a request; it is dropped where that has no room."""
        self._processor.on_end(ended)  # type: ignore[arg-type]  # the exporter below makes spans of it

    def close(self) -> None:
        """Send what is left; what a receiver that hangs has not taken within seconds is given up."""
        ending = Thread(target=self._processor.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(_CLOSE_S)


def open_tracing(environment: Mapping[str, str], service: str = "headrace") -> Tracing:
    """Open what the OTEL_* variables say; the SDK reads them itself, from the process's environment.

    `service` is the name of the process's service where they name none.

    Raises TracingError for an exporter or a protocol that is not known here.
    """
    provider = TracerProvider(shutdown_on_exit=False)
    if not environment.get("OTEL_SERVICE_NAME") and "service.name" not in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        provider = TracerProvider(
            resource=provider.resource.merge(Resource({"service.name": service})), shutdown_on_exit=False
        )
    return Tracing(provider.sampler, BatchSpanProcessor(_Requests(_exporter(environment), provider.resource)))


class _Requests(SpanExporter):
    """Exports requests that ended as the spans they are made of."""

    def __init__(self, exporter: SpanExporter, resource: Resource) -> None:
        self._exporter, self._resource = exporter, resource

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        return self._exporter.export([span for ended in spans for span in ended.spans(self._resource)])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _span(
    name: str,
    kind: SpanKind,
    context: SpanContext,
    parent: SpanContext | None,
    times: tuple[int, int],
    resource: Resource,
    told: Mapping[str, Any] | None = None,
    failed: StatusCode = StatusCode.UNSET,
) -> ReadableSpan:
    return ReadableSpan(
        name,
        context,
        parent,
        resource,
        told,
        kind=kind,
        status=Status(failed),
        start_time=times[0],
        end_time=times[1],
        instrumentation_scope=_SCOPE,
    )


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
