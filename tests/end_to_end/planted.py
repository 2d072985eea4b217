"""A predictor that does what a test tells it, in a thread on loopback: it answers, fails, or says nonsense."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import orjson

from applications.fraud.app import APP
from headrace.open_inference.codec.bodies import encode_response
from headrace.open_inference.tensors import InferRequest, InferResponse, Tensor

OUTPUT = APP.outputs[0].name
#: Given how many rows were asked for, what is answered: outputs, a status that refuses, bytes sent as they are, or
#: None for hanging up.
Act = Callable[[int], list[Tensor] | int | bytes | None]


def scores(rows: int) -> list[Tensor]:
    """Answer as a model would."""
    return [Tensor(OUTPUT, "FP32", np.full(rows, 0.5, np.float32))]


@dataclass
class Planted:
    """What the predictor does, how often it was asked, and the headers of the last request."""

    act: Act = scores
    asked: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    address: str = ""


def _handler(planted: Planted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            told: dict[str, Any] = {"name": APP.name, "ready": True}
            if self.path.endswith("/config"):
                told["parameters"] = {"headrace_fingerprint": {"string_value": APP.view.fingerprint}}
            self._say(200, orjson.dumps(told))

        def do_POST(self) -> None:
            planted.asked += 1
            planted.headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = orjson.loads(body[: int(self.headers["Inference-Header-Content-Length"])])
            did = planted.act(head["inputs"][0]["shape"][0])
            if did is None:
                self.close_connection = True
            elif isinstance(did, bytes):
                self.close_connection = True
                self.wfile.write(did)
            elif isinstance(did, int):
                self._say(did, b'{"error": "CUDA error: device lost"}')
            else:
                answer, length = encode_response(
                    InferResponse(APP.name, "1", "", did), InferRequest(APP.name, binary_default=True)
                )
                self._say(200, answer, length)

        def _say(self, status: int, body: bytes, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if length is not None:
                self.send_header("Inference-Header-Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *said: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def planted_predictor() -> Iterator[Planted]:
    """Run the predictor until the block ends."""
    planted = Planted()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(planted)) as server:
        server.daemon_threads = True
        planted.address = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield planted
        server.shutdown()
