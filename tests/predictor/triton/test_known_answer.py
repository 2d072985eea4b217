"""A server that is ready and answers wrongly is found out by the known answer; the wrong values are made here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from headrace.open_inference.codec.bodies import decode_request, encode_response
from headrace.open_inference.tensors import InferResponse, Tensor
from headrace.runtime import Runtime
from predictor.local_triton.command import TritonFailed
from predictor.local_triton.known_answer import check

Values = Callable[[np.ndarray, np.ndarray], np.ndarray]
LENGTH = "Inference-Header-Content-Length"


@contextmanager
def answering(model: Path, change: Values, versions: tuple[str, ...] = ("1",), status: int = 200) -> Iterator[int]:
    """Serve what `change` makes of the inputs and the right answers; gives the port."""
    runtime = Runtime.open(model / "1" / "model.onnx")

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say(json.dumps({"name": "small", "versions": versions, "max_batch_size": 8}).encode(), None)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            request = decode_request(body, int(self.headers[LENGTH]), "small")
            features = request.inputs["features"].array
            given = change(features, runtime.run(features)["p"]).astype(np.float32)
            self.say(*encode_response(InferResponse("small", "1", "", [Tensor("p", "FP32", given)]), request))

        def say(self, content: bytes, length: int | None) -> None:
            self.send_response(status)
            if length is not None:
                self.send_header(LENGTH, str(length))
            self.end_headers()
            self.wfile.write(content if status == 200 else b'{"error": "no"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_the_right_answers_are_known(published: Path) -> None:
    with answering(published / "small", lambda features, right: right.reshape(-1, 1)) as port:
        assert check(published / "small", port) == ["1"]


WRONG: dict[str, tuple[Values, str]] = {
    "zeros": (lambda features, right: np.zeros_like(right), "away from ONNX Runtime's, needs 1e-05 at most"),
    "the first for all": (lambda features, right: np.full_like(right, right[0]), "it would answer wrongly"),
    "nothing": (
        lambda features, right: right[:0],
        "Triton gave 0 values of output 'p' of model 'small' version 1, needs 5",
    ),
    "not a number": (lambda features, right: np.full_like(right, np.nan), "output 'p' of model 'small'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_answers_are_named(published: Path, what: str) -> None:
    change, said = WRONG[what]
    with answering(published / "small", change) as port, pytest.raises(TritonFailed, match=said):
        check(published / "small", port)


def test_a_refusal_is_passed_on(published: Path) -> None:
    with (
        answering(published / "small", lambda features, right: right, status=500) as port,
        pytest.raises(TritonFailed, match=r'Triton answered 500: \{"error": "no"\}'),
    ):
        check(published / "small", port)


def test_no_served_version_is_a_fault(published: Path) -> None:
    with (
        answering(published / "small", lambda features, right: right, versions=()) as port,
        pytest.raises(TritonFailed, match="Triton serves no version of model 'small', needs one"),
    ):
        check(published / "small", port)


def test_a_server_that_is_gone_is_said(published: Path) -> None:
    with answering(published / "small", lambda features, right: right) as port:
        pass
    with pytest.raises(TritonFailed, match="Triton does not answer"):
        check(published / "small", port)
