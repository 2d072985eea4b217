"""The outermost edge of every request, over HTTP and gRPC: unforeseen faults end here.

The caller gets an id; the log gets the same id with the fault's type and where it was raised. The
fault's own message is left out, because it may quote what was in the request.
"""

from __future__ import annotations

import logging
import secrets
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from headrace.open_inference.errors import InternalError, OpenInferenceError

Answer = TypeVar("Answer")
#: Where a server has set up its log, faults are said there; else on stderr.
LOG = logging.getLogger("headrace")


async def shielded(work: Awaitable[Answer]) -> Answer:
    """Await a request's work; any fault that is no refusal becomes an InternalError."""
    try:
        return await work
    except OpenInferenceError:
        raise
    except Exception as fault:  # noqa: BLE001  one bad request must never end the server
        raise as_refusal(fault) from None


def outcome(step: Callable[..., Answer], *given: Any) -> Answer | OpenInferenceError:
    """Return what one step of a request gives, or what is said of its fault, where no task waits for it."""
    try:
        return step(*given)
    except Exception as fault:  # noqa: BLE001  as above
        return _alone(as_refusal(fault))


def as_refusal(fault: Exception) -> OpenInferenceError:
    """Return what is said of a fault: itself where it is a refusal, else an InternalError."""
    return fault if isinstance(fault, OpenInferenceError) else InternalError(f"internal error, id {_logged(fault)}")


def _alone(refusal: OpenInferenceError) -> OpenInferenceError:
    # Whoever keeps it keeps no frames of those who raised it, and what they held, in cycles with itself.
    refusal.__cause__ = refusal.__context__ = None
    return refusal.with_traceback(None)


def tell_fault(said: str, fault: BaseException) -> None:
    """Say of a fault what is said and where it was raised, in the log or on stderr; not the fault's own message."""
    frames = "".join(traceback.format_tb(fault.__traceback__))
    if LOG.handlers:
        LOG.error("%s", said, extra={"frames": frames})
    else:
        say(f"{said}\n{frames}")


def say(lines: str) -> None:
    """Say something in the log, or write it to stderr; whoever read it may have gone, which ends nothing."""
    if LOG.handlers:
        LOG.warning("%s", lines.rstrip("\n"))
        return
    with suppress(OSError):
        sys.stderr.write(lines)
        sys.stderr.flush()


def _logged(fault: Exception) -> str:
    label = secrets.token_hex(6)
    tell_fault(f"internal error, id {label}: {type(fault).__qualname__}", fault)
    return label
