"""What an inference over HTTP says in its headers and its body, and how it is counted and answered."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from headrace.open_inference.codec.bodies import decode_request
from headrace.open_inference.codec.raw_request import decode_raw
from headrace.open_inference.errors import InvalidRequest, OpenInferenceError
from headrace.open_inference.forwarding import REQUEST_ID, Forwards, of_http
from headrace.open_inference.rest.answers import Answer
from headrace.open_inference.rest.coding import chosen, packed
from headrace.open_inference.servable import Servable
from headrace.open_inference.statistics import Counting, Counts
from headrace.open_inference.tensors import InferRequest

Headers = Mapping[bytes, bytes]


@contextmanager
def counted(counts: Counts, headers: Headers) -> Iterator[Counting]:
    """Count an inference from here to the end of the block, as answered or refused; a refusal gets the request's id."""
    told = Counting(counts)
    try:
        yield told
    except OpenInferenceError as refused:
        refused.request_id = refused.request_id or id_of(headers)
        raise
    else:
        told.answered()
    finally:
        told.ended()


def id_of(headers: Headers) -> str:
    """Return the id that a request's caller gave it beside its body; empty where there is none."""
    return headers.get(REQUEST_ID, b"").decode("latin-1")


def read_request(
    model: str, version: str, servable: Servable, headers: Headers, body: bytes, forwards: Forwards
) -> InferRequest:
    """Read an inference request that is no longer compressed; InvalidRequest says what is wrong with it."""
    length = _header_length(headers)
    if length == 0:
        request = decode_raw(body, servable.metadata(), model, version)
    else:
        request = decode_request(body, length, model, version)
    if forwards:
        request.headers = of_http(forwards, headers)
    return request


def answer_of(body: bytes, json_length: int | None) -> Answer:
    """Return the answer whose body an inference's outputs are, all of it JSON where no length of that is given."""
    length = b"content-length", b"%d" % len(body)
    if json_length is None:
        return 200, [(b"content-type", b"application/json"), length], body
    cut = b"inference-header-content-length", b"%d" % json_length
    return 200, [(b"content-type", b"application/octet-stream"), length, cut], body


async def packed_for(answer: Answer, asked: Headers) -> Answer:
    """Return an answer in the coding that its caller accepts, if any."""
    coding = chosen(asked.get(b"accept-encoding", b""))
    if coding is None:
        return answer
    status, headers, body = answer
    body = await packed(body, coding)
    kept = [header for header in headers if header[0] != b"content-length"]
    return status, [*kept, (b"content-encoding", coding), (b"content-length", b"%d" % len(body))], body


def allowed_s(headers: Headers) -> float | None:
    """Return the seconds a request says that it can wait, if it does; InvalidRequest where that is no such number."""
    said = headers.get(b"headrace-deadline-ms")
    if said is None:
        return None
    try:
        allowed = float(said)
    except ValueError:
        allowed = math.nan
    if not 0 < allowed < math.inf:
        raise InvalidRequest("the header headrace-deadline-ms is no positive number, needs milliseconds such as 50")
    return allowed / 1000


def _header_length(headers: Headers) -> int | None:
    said = headers.get(b"inference-header-content-length")
    if said is None:
        return None
    if not said.isdigit() or len(said) > 18:
        raise InvalidRequest("the header Inference-Header-Content-Length is no number of bytes, needs one such as 120")
    return int(said)
