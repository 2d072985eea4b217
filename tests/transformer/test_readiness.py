"""Why a transformer cannot answer: what differs, what is missing, what cannot be asked."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import orjson
import pytest

from headrace.features import FeatureView
from headrace.open_inference import Tensor
from headrace.open_inference.client.model_client import PredictorClient
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import OnlineStore
from tests.transformer.small import NOW, SHARE, USERS, VIEW, Tiny, path_to, served, stored
from transformer.model import FeatureTransformer
from transformer.readiness import differing, disagreement, reason_not_ready

FILLED = stored([("ann", NOW - 1000, 5.0)])
WIDTH = len(VIEW.names)


def parameters(view: FeatureView, columns: Any = None) -> dict[str, Any]:
    """Return what our predictor and Triton tell of a model of this view."""
    told = orjson.dumps(list(view.names) if columns is None else columns).decode()
    return {"headrace_fingerprint": {"string_value": view.fingerprint}, "headrace_columns": {"string_value": told}}


def reason(model: Tiny | None, store: OnlineStore = FILLED, unproved: bool = False) -> str | None:
    """Return why a transformer is not ready in front of a model; None is a predictor that is not there."""

    async def scene() -> str | None:
        if model is None:
            with socket.create_server(("127.0.0.1", 0)) as free:
                url = f"http://127.0.0.1:{free.getsockname()[1]}"
            async with PredictorClient(url, "small") as predictor:
                return await reason_not_ready(VIEW, store, predictor, unproved=unproved)
        async with served(model) as url, PredictorClient(url, "small") as predictor:
            return await reason_not_ready(VIEW, store, predictor, unproved=unproved)

    return asyncio.run(scene())


def test_ready_when_store_model_and_view_belong_together() -> None:
    assert reason(Tiny()) is None
    assert reason(Tiny(parameters=parameters(VIEW))) is None


@pytest.mark.parametrize("told", [None, {}], ids=["fingerprint", "unproved"])
def test_a_model_without_an_output_of_the_applications_is_refused(told: dict[str, Any] | None) -> None:
    async def scene(*outputs: str) -> str | None:
        model = Tiny(outputs=outputs) if told is None else Tiny(outputs=outputs, parameters=told)
        async with path_to(model, FILLED) as path:
            return await FeatureTransformer(path, unproved=told is not None).check()

    assert asyncio.run(scene("score", "more")) is None
    assert asyncio.run(scene()) is None  # it names none, and is asked
    assert asyncio.run(scene("probability")) == (
        "the application needs score of the model, which gives probability: declare its outputs"
    )


def test_the_store_is_looked_at_first(tmp_path: Path) -> None:
    assert reason(None, MemoryStore()) == "the store holds no key of group 'users': run its pipeline first"
    absent = reason(None, EmbeddedStore(tmp_path / "store", readonly=True, shown="store"))
    assert absent == "there is no store at 'store': run a pipeline first"
    other = MemoryStore()
    other.declare((dataclasses.replace(USERS, version=2),))
    assert "holds group 'users' under another declaration" in (reason(None, other) or "")


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (None, "the predictor of 'small' cannot be reached"),
        (Tiny(reason="it warms up"), "it warms up"),
        (Tiny(name="other"), "model 'small' is unknown, needs one of other"),
    ],
)
def test_a_predictor_that_is_not_ready_and_why(model: Tiny | None, why: str) -> None:
    said = reason(model)
    assert said is not None
    assert said.startswith("the predictor is not ready: ")
    assert why in said


@pytest.mark.parametrize("told", [{}, {"headrace_fingerprint": {"string_value": ""}}, None])
def test_a_model_without_a_fingerprint_is_refused_unless_that_is_allowed(told: Any) -> None:
    said = "the predictor tells no fingerprint of its model, needs one: set unproved_predictor to do without"
    assert reason(Tiny(parameters=told)) == said
    assert reason(Tiny(parameters=told), unproved=True) is None


def test_a_model_without_a_fingerprint_must_be_as_wide_at_least() -> None:
    said = f"the predictor reads FP32 of shape [-1, 3], needs FP32 of shape [-1, {WIDTH}]"
    assert reason(Tiny(parameters={}, input_shape=(-1, 3)), unproved=True) == said


def test_a_fingerprint_that_differs_is_a_reason_whatever_is_allowed() -> None:
    other = dataclasses.replace(VIEW, columns=VIEW.columns[1:])
    for unproved in (False, True):
        said = reason(Tiny(parameters=parameters(other)), unproved=unproved)
        assert said == (
            f"view 'small' has fingerprint {VIEW.fingerprint[:16]}, the model was trained on "
            f"{other.fingerprint[:16]}: amount only in the view; train and export the model again"
        )


class Mute(BaseHTTPRequestHandler):
    """A server with an answer for every row, and no route about its models: TorchServe is one."""

    told: ClassVar[dict[str, Any]] = {}

    def do_GET(self) -> None:
        self.send_error(404)

    def do_POST(self) -> None:
        output = {"name": "score", "datatype": "FP32", "shape": [1], "data": [0.5]}
        body = orjson.dumps({"model_name": "small", "outputs": [output], "parameters": self.told})
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *said: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("told", "unproved", "said"),
    [
        ({}, False, "the predictor is not ready"),
        ({}, True, None),
        ({"headrace_fingerprint": VIEW.fingerprint}, True, None),
        (
            {"headrace_fingerprint": "0" * 64},
            True,
            f"the model was trained on {'0' * 16}: it does not tell its columns",
        ),
    ],
)
def test_a_server_that_tells_nothing_of_its_models_is_known_by_its_answer(
    told: dict[str, Any], unproved: bool, said: str | None
) -> None:
    handler = type("Told", (Mute,), {"told": told})

    async def scene(url: str) -> str | None:
        async with PredictorClient(url, "small") as predictor:
            return await reason_not_ready(VIEW, FILLED, predictor, unproved=unproved)

    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = asyncio.run(scene(f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
    assert found == said if said is None else said in (found or "")


def production(version: str) -> dict[str, Any]:
    return parameters(VIEW) | {"headrace_production": {"string_value": version}}


def test_production_is_asked_by_its_number_and_followed() -> None:
    model = Tiny(versions=("3", "4"), parameters=production("3"))

    async def scene() -> list[str]:
        async with served(model) as url, PredictorClient(url, "small") as predictor:
            asked = []
            for version in ("3", "4", ""):
                model.parameters = production(version)
                assert await reason_not_ready(VIEW, FILLED, predictor, unproved=False) is None
                await predictor.infer([Tensor.of("features", np.zeros((1, WIDTH), np.float32))])
                asked.append(predictor.version)
            return asked

    assert asyncio.run(scene()) == ["3", "4", ""]


def test_production_that_is_not_loaded() -> None:
    said = reason(Tiny(versions=("4",), parameters=production("3")))
    assert said == "the predictor has not loaded version 3 of its model, which is production"
    said = reason(Tiny(parameters=production("../3")))
    assert said == "the predictor tells '../3' as the version that is production, needs a number"


@pytest.mark.parametrize("columns", [None, VIEW.describe()])
def test_there_is_no_disagreement_with_itself(columns: Any) -> None:
    assert disagreement(VIEW, parameters(VIEW, columns)) is None


@pytest.mark.parametrize("columns", ["{", "7", "null", '{"amount": 1}', "[1, null, {}]", "[{}]", ""])
def test_columns_that_cannot_be_read_hide_no_disagreement(columns: str) -> None:
    told = {"headrace_fingerprint": {"string_value": "f" * 64}, "headrace_columns": {"string_value": columns}}
    said = disagreement(VIEW, told)
    assert said is not None
    assert said.startswith(f"view 'small' has fingerprint {VIEW.fingerprint[:16]}, the model was trained on ffff")
    assert said.endswith(": it does not tell its columns; train and export the model again")


def names(view: FeatureView) -> list[dict[str, Any]]:
    return [{"name": name} for name in view.names]


FURTHER = dataclasses.replace(SHARE, name="share")


@pytest.mark.parametrize(
    ("columns", "known", "said"),
    [
        (VIEW.columns[:-1], True, "amount_share only in the view"),
        ((*VIEW.columns, FURTHER), True, "share only in the model"),
        ((FURTHER, *VIEW.columns[1:]), True, "amount only in the view; share only in the model"),
        (VIEW.columns[::-1], True, "the columns stand in another order"),
        (VIEW.columns[::-1], False, "the columns stand in another order"),
        ((*VIEW.columns[:-1], dataclasses.replace(SHARE, missing=0.0)), True, "amount_share declared otherwise"),
        ((*VIEW.columns[:-1], dataclasses.replace(SHARE, missing=0.0)), False, "the columns are the same, a window's"),
        (VIEW.columns, True, "the columns are the same, a window's parameters or a function's source differ"),
    ],
)
def test_what_differs_is_named(columns: Any, known: bool, said: str) -> None:
    """A model says its columns' names at least; a manifest describes them."""
    theirs = dataclasses.replace(VIEW, columns=tuple(columns))
    assert differing(VIEW.describe(), theirs.describe() if known else names(theirs)).startswith(said)
