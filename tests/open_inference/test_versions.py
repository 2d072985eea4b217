"""A model of several versions: who is asked in its place, and what the repository's index says."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.open_inference import InferRequest, InferResponse, make_app
from tests.open_inference.asking import ask
from tests.open_inference.echo_server import Echo

AMOUNT = {"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.5]}]}


class Version(Echo):
    """One version, which answers under its own number."""

    def __init__(self, version: str) -> None:
        super().__init__("echo")
        self.versions = (version,)

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        return InferResponse(self.name, self.versions[0], request.id, list(request.inputs.values()))


class Several(Echo):
    """Two versions, of which the second is asked where none is named."""

    def __init__(self) -> None:
        super().__init__("echo")
        self.versions = ("3", "4")

    def at(self, version: str) -> Version:
        return Version(version or "4")


@pytest.mark.parametrize(("path", "answered"), [("", "4"), ("/versions/3", "3"), ("/versions/4", "4")])
def test_the_version_that_is_named_is_asked(path: str, answered: str) -> None:
    said = ask(make_app({"echo": Several()}), "POST", f"/v2/models/echo{path}/infer", AMOUNT)
    assert (said.status, said.json["model_version"]) == (200, answered)


def test_a_version_that_is_not_there_is_named() -> None:
    said = ask(make_app({"echo": Several()}), "POST", "/v2/models/echo/versions/5/infer", AMOUNT)
    assert (said.status, said.error) == (404, "model 'echo' has no version '5', needs one of 3, 4")


ROWS: list[dict[str, Any]] = [
    {"name": "echo", "version": "3", "state": "READY", "reason": ""},
    {"name": "echo", "version": "4", "state": "READY", "reason": ""},
    {"name": "away", "version": "1", "state": "UNAVAILABLE", "reason": "no features yet"},
]


@pytest.mark.parametrize(
    ("body", "rows"), [(b"", ROWS), ({}, ROWS), ({"ready": False}, ROWS), ({"ready": True}, ROWS[:2])]
)
def test_the_index_lists_every_version_of_every_model(body: Any, rows: list[dict[str, Any]]) -> None:
    models = {"echo": Several(), "away": Echo("away", "no features yet")}
    said = ask(make_app(models), "POST", "/v2/repository/index", body)
    assert (said.status, said.json) == (200, rows)


def test_an_index_is_posted_for() -> None:
    app = make_app({"echo": Several()})
    said = ask(app, "GET", "/v2/repository/index")
    assert (said.status, said.error) == (405, "the method is 'GET', needs POST")
    said = ask(app, "POST", "/v2/repository/index", b"{")
    assert said.status == 400
    assert said.error.startswith("the body is not JSON (")
