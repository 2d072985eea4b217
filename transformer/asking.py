"""How a transformer asks its predictor, as its settings say; and which headers of a request go on to it."""

from __future__ import annotations

import re

from headrace.open_inference.client.model_client import Asking, PredictorClient
from headrace.settings import SettingsError, TransformerSettings

#: What goes on unless told otherwise, so that one request can be followed through every server.
ALWAYS = ("traceparent", "tracestate", "x-request-id")
#: What a hop says of itself: never another's to pass on.
_OF_A_HOP = frozenset(
    (
        *("connection", "content-encoding", "content-length", "content-type", "expect", "headrace-deadline-ms", "host"),
        *("inference-header-content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_NAME_IN_GRPC = re.compile(r"[a-z0-9_.-]+(?<!-bin)")


def predictor_client(settings: TransformerSettings, model: str) -> PredictorClient:
    """Return the client of a model at the predictor; SettingsError for an address or file that cannot be used."""
    how = Asking(
        settings.predictor_protocol,
        settings.predictor_ca_file,
        settings.predictor_refresh_s,
        settings.second_attempts,
        settings.predictor_answer_mib << 20,
    )
    try:
        return PredictorClient(settings.predictor_url, model, how=how)
    except ValueError as wrong:
        raise SettingsError(str(wrong)) from wrong


def forwarded(settings: TransformerSettings) -> tuple[str, ...]:
    """Return the names, in small letters, of the headers that go on; SettingsError for one that cannot.

    >>> forwarded(TransformerSettings(forward_headers="X-Tenant, authorization"))
    ('traceparent', 'tracestate', 'x-request-id', 'x-tenant', 'authorization')
    """
    further = [name.strip().lower() for name in settings.forward_headers.split(",") if name.strip()]
    known = _NAME_IN_GRPC if settings.predictor_protocol == "grpc-v2" else _NAME
    for name in further:
        if not known.fullmatch(name) or name in _OF_A_HOP or name.startswith("grpc-"):
            raise SettingsError(f"setting forward_headers has {name[:50]!r}, needs names of headers that may go on")
    return tuple(dict.fromkeys((*ALWAYS, *further)))
