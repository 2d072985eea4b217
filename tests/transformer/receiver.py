"""A receiver of OpenTelemetry traces on loopback: OTLP over HTTP, kept as it came."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

BOUND_S = 30.0


@dataclass
class Receiver:
    """What was received: spans, those of a predictor named so, and the resource of the last ones."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    resource: dict[str, str] = field(default_factory=dict)
    came: Condition = field(default_factory=Condition)

    def take(self, body: bytes) -> None:
        """Keep one export."""
        with self.came:
            for of in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resource = {one.key: one.value.string_value for one in of.resource.attributes}
                predictor = self.resource["service.name"] == "headrace-predictor"
                for span in (span for scope in of.scope_spans for span in scope.spans):
                    span.name = f"predictor {span.name}" if predictor else span.name
                    self.spans.append(span)
            self.came.notify_all()

    def trace(self, trace_id: str, spans: int) -> dict[str, Any]:
        """Return the spans of a trace by name, once there are so many."""

        def found() -> list[Any]:
            return [span for span in self.spans if span.trace_id.hex() == trace_id]

        with self.came:
            assert self.came.wait_for(lambda: len(found()) >= spans, BOUND_S), self.spans
        assert len(found()) == spans
        return {span.name: span for span in found()}


def attributes(span: Any) -> dict[str, Any]:
    """Return a span's attributes."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive traces until the block ends."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *said: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield receiver
        server.shutdown()
