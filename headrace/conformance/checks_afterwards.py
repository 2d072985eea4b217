"""After all that was sent: the server is up, ready, and answers as it did to begin with."""

from __future__ import annotations

from headrace.conformance.answers import answer_of
from headrace.conformance.grpc_requests import answer_of as answer_of_message
from headrace.conformance.grpc_requests import request
from headrace.conformance.judging import Check, Finding, Level, NotJudged, checks_of
from headrace.conformance.server import Server

_check = checks_of("afterwards")


@_check("AFTER-001 up", Level.MUST, "malformed requests do not end a server: it is live and ready")
def _up(server: Server) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"{server.path}/ready"):
        if server.get(path).status != 200:
            raise Finding(f"{path} no longer answers 200")


@_check("AFTER-002 same", Level.MUST, "malformed requests do not change the answers to others")
def _same(server: Server) -> None:
    if server.why_unasked:
        raise NotJudged(server.why_unasked)
    server.same(answer_of(server.ask_plainly()))


@_check("AFTER-003 same-over-grpc", Level.MUST, "malformed messages do not change the answers to others")
def _same_over_grpc(server: Server) -> None:
    if not server.answered_grpc:
        raise NotJudged("it did not answer to begin with, or was not asked")
    server.same(answer_of_message(server.grpc.call("ModelInfer", request(server))))


CHECKS: tuple[Check, ...] = (_up, _same, _same_over_grpc)
