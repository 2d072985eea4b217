"""What a client of a model needs of a way to ask one endpoint, and how such a way says what went wrong.

An endpoint is one address of a server. There are two ways: `client.http` and `client.grpc`. Both say the same in
the same words, so that a caller cannot tell them apart.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from typing import Any, Protocol

from headrace.http.connection import LONGEST_ANSWER
from headrace.open_inference.errors import (
    DeadlinePassed,
    InvalidRequest,
    NotReady,
    OpenInferenceError,
    Overloaded,
    PredictorFailed,
)
from headrace.open_inference.tensors import InferRequest, InferResponse

#: How Triton, which is ready all the same, refuses what its queue has no room or no time for: as if it were not.
_NO_ROOM = ("Exceeds maximum queue size", "Request timeout expired")
_LONGEST_REASON = 300
#: Why there is no answer where the other side hung up.
CLOSED = "connection closed"


@dataclass(frozen=True, slots=True)
class Site:
    """A server as it is named: `host` for its certificate and its Host header, `tls` None for plain text."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    authorities: bytes | None = None  # certificates in PEM that gRPC trusts; None for the system's
    longest: int = LONGEST_ANSWER  # bytes of an answer that are read

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Channel(Protocol):
    """Asks one endpoint, as often as needed at the same time.

    Deadlines are instants of the running loop's clock; a call that is cancelled ends, and with it what it took up.
    Raises Retriable for what another endpoint may answer, else an OpenInferenceError.
    """

    #: There is no other endpoint: opening a connection may take all of the time there is.
    alone: bool

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Ask a model; the request's headers go with it."""

    async def metadata(self, model: str, version: str, deadline: float) -> dict[str, Any]:
        """Return a version's metadata."""

    async def config(self, model: str, deadline: float) -> dict[str, Any]:
        """Return the model's configuration, in the shape of Triton's."""

    async def ready(self, model: str, version: str, deadline: float) -> bool:
        """Tell whether a version is ready."""

    def retire(self) -> None:
        """Keep nothing open that nobody waits for."""

    async def close(self) -> None:
        """End everything at once."""


class Retriable(Exception):
    """An endpoint did not answer, and another may: `error` is what to say if none does.

    `same` tells that the same one may be asked again too, for it broke a connection before any byte of an answer.
    """

    def __init__(self, error: OpenInferenceError, *, same: bool = False) -> None:
        super().__init__(error.message)
        self.error, self.same = error, same


def unreachable(model: str, cause: str, *, same: bool = False) -> Retriable:
    """Return what a connection that cannot be opened comes to; `same` for one that ended without an answer."""
    away = NotReady(f"the predictor of {model!r} cannot be reached ({cause}), needs a listening server: try later")
    return Retriable(away, same=same)


def untrusted(model: str, why: str) -> Retriable:
    """Return what a certificate comes to that was not accepted."""
    return Retriable(NotReady(f"the predictor of {model!r} has a certificate that was not accepted: {why}"))


def cause_of(gone: OSError) -> str:
    """Return why a connection could not be opened or ended, in few words and without its address.

    >>> cause_of(ConnectionRefusedError(111, "Connect call failed ('10.0.0.7', 8080)"))
    'connection refused'
    """
    if isinstance(gone, TimeoutError):
        return "no connection in time"
    if isinstance(gone, ssl.SSLError):
        return f"TLS failed: {(gone.reason or 'no reason given').replace('_', ' ').lower()}"
    return os.strerror(gone.errno).lower() if gone.errno else CLOSED


def broken_off(model: str) -> Retriable:
    """Return what an answer comes to that ended before it was whole."""
    return Retriable(PredictorFailed(f"the predictor of {model!r} broke off its answer"))


def too_long(model: str, longest: int) -> PredictorFailed:
    """Return what an answer comes to that is longer than what is read of one, in bytes."""
    return PredictorFailed(
        f"the predictor of {model!r} gave an answer of more than {longest} bytes, which is the most that is read"
    )


def no_answer(model: str, wrong: InvalidRequest) -> PredictorFailed:
    """Return what an answer comes to that does not follow the protocol."""
    return PredictorFailed(f"the predictor of {model!r} gave no answer: {wrong.message}")


def late(model: str) -> DeadlinePassed:
    """Return what a deadline comes to that passed first."""
    return DeadlinePassed(f"the predictor of {model!r} had no answer when the request's deadline passed")


def refused(model: str, status: int | str, said: str) -> OpenInferenceError | Retriable:
    """Return what a refusal comes to, by its status in HTTP or the name of gRPC's."""
    reason = f"the predictor of {model!r} said {status}: {said[:_LONGEST_REASON] or 'no reason given'}"
    if status in (429, "RESOURCE_EXHAUSTED"):
        return Overloaded(reason)
    if status in (503, "UNAVAILABLE"):
        return Overloaded(reason) if any(room in said for room in _NO_ROOM) else Retriable(NotReady(reason))
    return DeadlinePassed(reason) if status in (504, "DEADLINE_EXCEEDED") else PredictorFailed(reason)
