"""What is kept of requests that were run together, each under its own name, and of those that were refused."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from headrace.application import Application
from headrace.open_inference import make_app
from headrace.predictions import Columns, PredictionLog
from headrace.predictions.records import records_of
from headrace.telemetry.tracing import open_tracing
from tests.transformer.receiver import attributes, receiving
from tests.transformer.small import APP, NOW, VIEW, Tiny, path_to, stored, summed
from transformer.asking import ALWAYS
from transformer.model import FeatureTransformer
from transformer.recording import Recording
from transformer.request_path import RequestPath

PARENT = "b7ad6b7169203331"
Send = Callable[..., Awaitable[tuple[int, dict[bytes, bytes], Any]]]


class Kept:
    """A sink that keeps what it is given."""

    every_s, most_rows = 3600.0, 1_000_000

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.since = 0

    def write(self, table: pa.Table) -> None:
        self.records += records_of(table)
        self.since += table.num_rows

    def settled(self) -> int:
        written, self.since = self.since, 0
        return written

    def close(self) -> None:
        """Nothing is open."""


def sender(app: Any) -> Send:
    """Return what asks an ASGI application for these users."""

    async def send(*users: str, headers: Mapping[str, str] = {}, **said: Any) -> tuple[int, dict[bytes, bytes], Any]:
        data = {"user": ("BYTES", users), "at": ("INT64", [NOW] * len(users)), "amount": ("FP64", [1.0] * len(users))}
        inputs = [{"name": n, "datatype": k, "shape": [len(users)], "data": v} for n, (k, v) in data.items()]
        body, answer = orjson.dumps({**said, "inputs": inputs}), []
        scope = {"type": "http", "method": "POST", "path": "/v2/models/small/infer", "raw_path": b""}
        scope["headers"] = [(name.encode(), value.encode()) for name, value in headers.items()]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def sent(message: dict[str, Any]) -> None:
            answer.append(message)

        await app(scope, receive, sent)
        start, rest = answer
        return start["status"], dict(start["headers"]), orjson.loads(rest["body"])

    return send


def scene(
    then: Callable[[Send, RequestPath], Awaitable[None]], model: Tiny, tracing: Any = None, app: Application = APP
) -> list[dict[str, Any]]:
    """Play a scene before a watched transformer; return what was logged."""
    sink = Kept()

    async def played() -> None:
        store = stored([("ann", NOW - 60_000, 7.0), ("bob", NOW - 60_000, 5.0)])
        async with path_to(model, store, app) as path:
            log = PredictionLog(sink, Columns("small", VIEW, {"score": "FP32"}).table)
            recording = Recording(path, log, tracing)
            transformer = FeatureTransformer(path, default_deadline_s=20.0)
            assert await transformer.check() is None
            served = make_app({"small": transformer}, default_deadline_s=20.0, forward=ALWAYS)
            try:
                await then(sender(recording.around(served)), path)
            finally:
                recording.close()

    asyncio.run(played())
    return sink.records


def test_requests_that_are_run_together_are_kept_apart(monkeypatch):
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        model, answers = Tiny(), []

        async def then(send: Send, path: RequestPath) -> None:
            def one(number: int) -> Awaitable[Any]:
                traceparent = f"00-{str(number) * 32}-{PARENT}-01"
                users = ("ann", "nobody", "bob")[:number]
                return send(*users, id=f"r{number}", headers={"traceparent": traceparent, "x-request-id": f"c{number}"})

            answers.extend(await asyncio.gather(one(1), one(2), one(3)))

        records = scene(then, model, open_tracing({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url}))
        assert [array.shape[0] for array in model.asked[-1:]] == [6]
        assert [(r["request_id"], r["row"], r["call_id"], r["trace_id"]) for r in records] == [
            (f"r{number}", row, f"c{number}", str(number) * 32) for number in (1, 2, 3) for row in range(number)
        ]
        for number, (status, headers, said) in enumerate(answers, start=1):
            own = [record for record in records if record["request_id"] == f"r{number}"]
            assert (status, headers[b"x-request-id"], said["id"]) == (200, f"c{number}".encode(), f"r{number}")
            assert [record["outputs"]["score"] for record in own] == pytest.approx(said["outputs"][0]["data"])
            assert [record["features"]["amount_sum_1h"] for record in own] == [7.0, 0.0, 5.0][:number]
            assert attributes(receiver.trace(str(number) * 32, 6)["infer"])["headrace.rows"] == number
        predict = receiver.trace("1" * 32, 6)["predict"]
        assert model.headers[-1]["traceparent"] == f"00-{'1' * 32}-{predict.span_id.hex()}-01"
        assert model.headers[-1]["x-request-id"] == "c1"


def test_the_version_that_is_kept_is_that_of_the_answer():
    model = Tiny(version="1")

    async def then(send: Send, path: RequestPath) -> None:
        await send("ann")
        model.version = "2"
        await asyncio.gather(send("bob"), send("ann"))

    assert [record["model_version"] for record in scene(then, model)] == ["1", "2", "2"]


def test_a_request_that_is_refused_among_others_is_not_in_the_log():
    answers = []

    async def then(send: Send, path: RequestPath) -> None:
        answers.extend(await asyncio.gather(send("ann", id="good"), send("", id="bad"), send("bob", id="fine")))

    records = scene(then, Tiny())
    assert [status for status, _, _ in answers] == [200, 400, 200]
    assert [(record["request_id"], record["features"]["amount_sum_1h"]) for record in records] == [
        ("good", 7.0),
        ("fine", 5.0),
    ]


def test_who_has_left_while_others_of_the_run_are_answered_is_not_in_the_log():
    asked, goes = asyncio.Event(), asyncio.Event()

    async def held(features: np.ndarray) -> Mapping[str, np.ndarray]:
        if len(features) > 1:
            asked.set()
            await goes.wait()
        return summed(features)

    async def then(send: Send, path: RequestPath) -> None:
        leaves, stays = (asyncio.create_task(send(user, id=user)) for user in ("ann", "bob"))
        await asked.wait()
        leaves.cancel()
        await asyncio.wait([leaves])
        goes.set()
        assert (await stays)[0] == 200

    records = scene(then, Tiny(held))
    assert [record["request_id"] for record in records] == ["bob"]


def test_the_very_answer_is_in_the_log_and_is_not_made_again():
    made = itertools.count()
    app = dataclasses.replace(APP, respond=lambda of: {"score": of["score"] * 0 + next(made)})

    async def then(send: Send, path: RequestPath) -> None:
        answers.extend(await asyncio.gather(send("ann", id="0"), send("bob", id="1"), send("ann", id="2")))

    answers: list[Any] = []
    records = scene(then, Tiny(), app=app)
    assert [said["outputs"][0]["data"] for _, _, said in answers] == [[r["outputs"]["score"]] for r in records]
    assert next(made) == 3


def test_a_prediction_that_was_not_answered_is_not_in_the_log():
    async def then(send: Send, path: RequestPath) -> None:
        status, headers, said = await send("ann")
        assert (status, list(said)) == (502, ["error"])
        assert len(headers[b"x-request-id"]) == 16

    assert scene(then, Tiny(lambda features: {"other": features[:, 0]})) == []


@pytest.mark.parametrize("stage", ["parse", "decode", "store", "assemble", "predict", "respond", "encode"])
def test_every_stage_is_counted(stage):
    async def then(send: Send, path: RequestPath) -> None:
        await send("ann")
        assert sum(path.metrics.stages[stage].counts) == 1

    scene(then, Tiny())


def test_nothing_is_watched_where_nothing_is_kept():
    async def played() -> None:
        async with path_to(Tiny(), stored([])) as path:
            app = make_app({}, forward=ALWAYS)
            assert Recording(path, None, None).around(app) is app
            assert path.after is None

    asyncio.run(played())
