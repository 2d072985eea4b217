"""HTTP answers: a status, headers and a body, for everything but inference."""

from __future__ import annotations

import math
from typing import Any

import orjson

from headrace.open_inference.errors import OpenInferenceError

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


def answer_json(status: int, content: Any) -> Answer:
    """Return content as JSON."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return status, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))], body


def metrics_answer(text: bytes) -> Answer:
    """Return Prometheus' text."""
    kind = b"text/plain; version=0.0.4; charset=utf-8"
    return 200, [(b"content-type", kind), (b"content-length", b"%d" % len(text))], text


def ready_answer(about: dict[str, Any], reason: str | None) -> Answer:
    """Return 200 when there is no reason against, else 503 with it; clients read the status or `ready`."""
    if reason is None:
        return answer_json(200, {**about, "ready": True})
    return answer_json(503, {**about, "ready": False, "error": reason})


def refusal(refused: OpenInferenceError, status: int | None = None, allowed: list[str] | None = None) -> Answer:
    """Return an error as `{"error": message}` with the headers that belong to its status."""
    code, headers, body = answer_json(status or refused.http_status, {"error": refused.message})
    if refused.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(refused.retry_after_s))))
    if allowed:
        headers.append((b"allow", ", ".join(allowed).encode()))
    return code, headers, body
