"""What the stock `kserve.ModelServer` answers where we refuse: our status, our words and Retry-After.

The server knows five errors of its own and calls everything else a fault, 500. Its REST side is an application
that models may add handlers to before it serves, and its gRPC side lets an exception say its own status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from grpc import StatusCode
from grpc_interceptor.exceptions import GrpcException

from headrace.open_inference.errors import DeadlinePassed, OpenInferenceError
from headrace.open_inference.rest.answers import refusal


class Refused(GrpcException):
    """One of our refusals on its way through the stock server."""

    def __init__(self, refused: OpenInferenceError) -> None:
        super().__init__(refused.message, StatusCode[refused.grpc_code])
        self.refused = refused

    def __str__(self) -> str:
        return self.refused.message


@contextmanager
def refusing(allowed_s: Callable[[], float] | None = None) -> Iterator[None]:
    """Raise our errors as those that the stock server turns into statuses; a deadline's says how long it was."""
    try:
        yield
    except DeadlinePassed as late:
        raise Refused(late.after(allowed_s()) if allowed_s else late) from late
    except OpenInferenceError as refused:
        raise Refused(refused) from refused


def answer_refusals(app: FastAPI) -> None:
    """Make the stock server's REST application answer refusals; before it serves."""
    app.add_exception_handler(Refused, _answer)  # type: ignore[arg-type]


async def _answer(request: Request, raised: Refused) -> JSONResponse:
    status, headers, _ = refusal(raised.refused)
    kept = {name.decode(): value.decode() for name, value in headers if name == b"retry-after"}
    return JSONResponse({"error": raised.refused.message}, status, kept)
