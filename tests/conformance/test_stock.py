"""The stock server of kserve 0.21: what is known to be wrong with it, and can be seen on the wire, is found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.cli.stack import Server
from headrace.conformance import server as judged
from headrace.conformance.judge import Report, judge
from headrace.conformance.judging import Outcome

REQUEST = Path(__file__).parent / "numbers.json"

#: Defects, and the checks that find them, in the predictor and in the transformer.
IN_BOTH = {
    "malformed requests are refused without an error object": (
        "REST-060",
        "REST-061",
        "REST-063",
        "REST-068",
        "REST-069",
    ),
    "JSON nested without end is refused without an error object": ("REST-067", "REST-083"),
    "an empty list of inputs is a fault of the server": ("REST-064",),
    "data of another length are a fault of the server": ("REST-078", "REST-079", "REST-076", "REST-077"),
    "an error tells what the program is made of": ("REST-094",),
    "a request without a Content-Type is not read": ("REST-043",),
    "an output that is not there is not refused over gRPC": ("GRPC-020",),
    "an id is invented": ("REST-036",),
    "members that are not there are null": ("REST-015", "REST-031"),
    "the metadata list no inputs": ("REST-013", "GRPC-006"),
    "versions are not looked at": ("REST-051", "GRPC-017"),
    "a header length that is no number is a fault of the server": ("BIN-013",),
    "no body is too large": ("HTTP-019",),
}
IN_PREDICTOR = {
    "binary data are not advertised": ("REST-011",),
    "binary data that end early are a fault of the server": ("BIN-010",),
    "bytes after the last tensor are overlooked": ("BIN-011",),
    "a binary_data_size is not looked at": ("BIN-017", "BIN-018", "BIN-019", "BIN-020"),
    "binary answers have no Content-Type": ("BIN-003",),
    "what gRPC cannot decode is a fault of the server": ("GRPC-022", "GRPC-027", "GRPC-028"),
}
IN_TRANSFORMER = {
    "raw tensors do not reach a predictor over REST": ("GRPC-010", "GRPC-013"),
    "what the predictor refuses is a fault of the transformer": ("REST-041", "REST-081", "REST-082", "GRPC-021"),
}


def judgement(running: Server) -> Report:
    """Judge a stock server with a request that it answers: it does not say what it reads."""
    return judge(judged.Server(f"http://{running.http}", model="numbers", grpc=running.grpc, request=REQUEST))


@pytest.fixture(scope="module")
def reports(stock: tuple[Server, Server]) -> dict[str, Report]:
    predictor, transformer = stock
    return {"predictor": judgement(predictor), "transformer": judgement(transformer)}


@pytest.mark.parametrize("defect", [*IN_BOTH, *IN_PREDICTOR])
def test_known_defects_of_the_predictor(reports: dict[str, Report], defect: str) -> None:
    found = {each.check.id for each in reports["predictor"].findings}
    assert set((IN_BOTH | IN_PREDICTOR)[defect]) <= found


@pytest.mark.parametrize("defect", [*IN_BOTH, *IN_TRANSFORMER])
def test_known_defects_of_the_transformer(reports: dict[str, Report], defect: str) -> None:
    found = {each.check.id for each in reports["transformer"].findings}
    assert set((IN_BOTH | IN_TRANSFORMER)[defect]) <= found


def test_what_it_does_well_is_not_blamed(reports: dict[str, Report]) -> None:
    passed = {each.check.id for each in reports["predictor"].results if each.outcome is Outcome.PASS}
    assert passed >= {"REST-001", "REST-010", "REST-030", "REST-034", "REST-035", "BIN-001", "HTTP-013", "GRPC-010"}
    assert passed >= {"AFTER-001", "AFTER-002", "AFTER-003"}


def test_it_must_be_mended(reports: dict[str, Report]) -> None:
    assert [report.exit_code for report in reports.values()] == [1, 1]
