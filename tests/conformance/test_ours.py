"""The project's own servers: the judge finds nothing in any of them."""

from __future__ import annotations

import pytest

from headrace.cli.stack import Server
from headrace.conformance import server as judged
from headrace.conformance.judge import Report, judge
from headrace.conformance.judging import Outcome


def judgement(running: Server, model: str = "") -> Report:
    """Judge a running server over HTTP and gRPC."""
    return judge(judged.Server(f"http://{running.http}", model=model, grpc=running.grpc))


def said(report: Report) -> list[tuple[str, str, str]]:
    """Return each finding's check, reason and what came back, for a failing test to show."""
    return [(f"{each.check.id} {each.check.name}", each.why, each.got) for each in report.findings]


def unjudged(report: Report) -> set[str]:
    """Return the ids of the checks that could not be judged."""
    return {each.check.id for each in report.results if each.outcome is Outcome.NOT_JUDGED}


@pytest.mark.parametrize(
    ("model", "left_out"), [("plain", {"BIN-007"}), ("one", {"BIN-002", "BIN-022"}), ("all", None)]
)
def test_every_datatype(plain: Server, model: str, left_out: set[str] | None) -> None:
    report = judgement(plain, model)
    assert said(report) == []
    assert report.exit_code == 0
    assert left_out is None or unjudged(report) == left_out


def test_the_predictor(pair: tuple[Server, Server]) -> None:
    report = judgement(pair[0])
    assert said(report) == []
    assert unjudged(report) == {"BIN-002", "BIN-022", "REST-040"}


def test_the_transformer(pair: tuple[Server, Server]) -> None:
    report = judgement(pair[1])
    assert said(report) == []
    assert unjudged(report) <= {"BIN-007", "BIN-022", "REST-034", "REST-040", "REST-050", "GRPC-015", "HTTP-002"}
