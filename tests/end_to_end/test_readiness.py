"""A transformer is ready exactly when it can answer, says why when it is not, and stops without failing anyone."""

from __future__ import annotations

import asyncio
import dataclasses
import http.client
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import onnx
import orjson
import pytest

from applications.fraud.app import APP
from headrace.cli.stack import Server, server, wait_ready
from headrace.features import FeatureView
from headrace.stores.embedded import EmbeddedStore
from predictor.repository import write_model
from tests.end_to_end.asking import INFER, ask, infer, request
from tests.end_to_end.ground import OUTPUT, Ground, predictor_flags, serving, transformer_flags
from tests.end_to_end.payments import asked, fill
from tests.transformer.small import Tiny, served

WAIT_S = 30.0


def until(found: Callable[[], bool], what: str) -> None:
    """Look again and again until it is so."""
    end, pause = time.monotonic() + WAIT_S, threading.Event()
    while not found():
        assert time.monotonic() < end, f"{what} did not come about within {WAIT_S:g} s"
        pause.wait(0.05)


def reason(of: Server) -> str:
    """Return why a server says it is not ready, empty where it is; both doors and every route agree."""
    said = ask(of.http, "GET", "/v2/health/ready")
    assert said.status == (200 if said.json["ready"] else 503)
    return said.json.get("error", "")


def unready(of: Server, about: str) -> str:
    """Wait until a server is not ready for a reason about this, and return it; its requests are refused with it."""
    until(lambda: about in reason(of), f"{about!r} as the reason")
    refused = infer(of.http, asked(1))
    assert refused.status == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert about in refused.error
    assert ask(of.http, "GET", "/v2/models/fraud/ready").status == 503
    assert ask(of.http, "GET", "/v2/health/live").status == 200
    return refused.error


def test_a_predictor_that_goes_and_comes_back(ground: Ground, tmp_path: Path) -> None:
    with server("predictor", predictor_flags(ground.models), tmp_path) as first:
        port = first.http.rpartition(":")[2]
        with server("transformer", transformer_flags(ground.store, first.http), tmp_path) as transformer:
            wait_ready(transformer)
            assert infer(transformer.http, asked(1)).status == 200
            first.process.terminate()
            assert first.process.wait(20) == 0
            assert infer(transformer.http, asked(1)).status == 503  # noticed by the request itself, at once
            unready(transformer, "the predictor")
            again = predictor_flags(ground.models, port)
            with server("predictor", again, tmp_path):
                wait_ready(transformer)
                assert infer(transformer.http, asked(1)).output(OUTPUT) == pytest.approx(
                    ground.probabilities(asked(1)), abs=1e-6
                )
                # Read before the predictor ends for the second time, which the transformer may notice or not.
                said = [line for line in transformer.log.read_text().splitlines() if "ready" in line]
        assert said[0] == said[-1] == "ready"
        assert [line for line in said if line.startswith("not ready: the predictor")]


def test_a_store_that_is_absent_then_empty_then_filled(ground: Ground, tmp_path: Path) -> None:
    path = tmp_path / "store"
    with (
        server("predictor", predictor_flags(ground.models), tmp_path) as predictor,
        server("transformer", transformer_flags(path, predictor.http), tmp_path) as transformer,
    ):
        assert "run a pipeline first" in unready(transformer, "there is no store at 'store'")
        store = EmbeddedStore(path, durable=False)
        store.declare(APP.groups)
        assert "run its pipeline first" in unready(transformer, "holds no key of group 'card_activity'")
        fill(store, ground.events, tmp_path)
        wait_ready(transformer)
        found = infer(transformer.http, asked(3)).output(OUTPUT)
        assert found == pytest.approx(ground.probabilities(asked(3)), abs=1e-6)
        store.close()


def other_view() -> FeatureView:
    """The fraud view with one column less and another one more, so of the same width."""
    view = APP.view
    columns = ["request.latitude", *(column for column in view.columns if getattr(column, "name", "") != "is_night")]
    return dataclasses.replace(view, columns=tuple(columns))


def publish_as(view: FeatureView, models: Path, into: Path) -> Path:
    """Publish the same network as one that was trained on another view of the same width."""
    model = onnx.load(models / APP.name / "1" / "model.onnx")
    (fingerprint,) = (entry for entry in model.metadata_props if entry.key == "headrace_fingerprint")
    fingerprint.value = view.fingerprint
    content = model.SerializeToString()
    write_model(into, APP.name, content, fingerprint=view.fingerprint, columns=view.describe(), outputs=[OUTPUT])
    return into


def test_a_model_of_another_view(ground: Ground, tmp_path: Path) -> None:
    other = other_view()
    assert len(other.names) == len(APP.view.names)
    models = publish_as(other, ground.models, tmp_path / "models")
    with (
        server("predictor", predictor_flags(models), tmp_path) as predictor,
        server("transformer", transformer_flags(ground.store, predictor.http), tmp_path) as transformer,
    ):
        said = unready(transformer, "fingerprint")
        assert APP.view.fingerprint[:16] in said
        assert other.fingerprint[:16] in said
        assert "is_night only in the view" in said
        assert "latitude only in the model" in said
        # A retrained model is put in its place: the predictor that serves it makes the transformer ready.
        predictor.process.terminate()
        predictor.process.wait(20)
        with server("predictor", predictor_flags(ground.models, predictor.http.rpartition(":")[2]), tmp_path):
            wait_ready(transformer)


@contextmanager
def in_a_thread(model: Tiny) -> Iterator[str]:
    """Serve a model from this process; give the address."""
    stop, address = threading.Event(), Future[str]()

    async def serve() -> None:
        async with served(model) as url:
            address.set_result(url.removeprefix("http://"))
            await asyncio.to_thread(stop.wait)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, serve())
        try:
            yield address.result(WAIT_S)
        finally:
            stop.set()
            running.result(WAIT_S)


def test_a_predictor_that_tells_nonsense_ends_no_check(ground: Ground, tmp_path: Path) -> None:
    model = Tiny(name=APP.name, parameters={"headrace_fingerprint": "f"})
    with (
        in_a_thread(model) as address,
        server("transformer", transformer_flags(ground.store, address), tmp_path) as transformer,
    ):
        said = unready(transformer, "store and predictor could not be checked: internal error, id ")
        assert "AttributeError" not in said
        model.parameters = {"headrace_fingerprint": {"string_value": APP.view.fingerprint}}
        wait_ready(transformer)


def test_a_store_of_another_layout(ground: Ground, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "store", durable=False)
    card, terminal = APP.groups
    store.declare((dataclasses.replace(card, windows=card.windows[:-1]), terminal))
    store.close()
    with (
        server("predictor", predictor_flags(ground.models), tmp_path) as predictor,
        server("transformer", transformer_flags(tmp_path / "store", predictor.http), tmp_path) as transformer,
    ):
        said = unready(transformer, "holds group 'card_activity' under another declaration")
        assert f"{card.layout.fingerprint:016x}" in said


def rows_asked(of: Server) -> float:
    """Return how many rows have passed the store so far."""
    told = ask(of.http, "GET", "/metrics").body.decode()
    return float(next(line.split()[-1] for line in told.splitlines() if line.startswith("headrace_rows_total")))


def listening(of: Server) -> bool:
    host, _, port = of.http.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_request_under_way_is_answered_after_sigterm(ground: Ground, tmp_path: Path) -> None:
    """The predictor is stopped in its tracks meanwhile, so that the request is certainly under way."""
    columns = asked(2)
    with serving(ground, tmp_path) as (predictor, transformer):
        before = rows_asked(transformer)
        predictor.process.send_signal(signal.SIGSTOP)
        try:
            connection = http.client.HTTPConnection(transformer.http, timeout=60)
            connection.request("POST", INFER, orjson.dumps(request(columns)))
            until(lambda: rows_asked(transformer) == before + 2, "a request under way")
            transformer.process.terminate()
            until(lambda: not listening(transformer), "the end of listening")
        finally:
            predictor.process.send_signal(signal.SIGCONT)
        answer = connection.getresponse()
        assert answer.status == 200
        found = {output["name"]: output["data"] for output in orjson.loads(answer.read())["outputs"]}
        assert found[OUTPUT] == pytest.approx(ground.probabilities(columns), abs=1e-6)
        connection.close()
        assert transformer.process.wait(20) == 0


def test_sigterm_under_load_fails_no_request(ground: Ground, tmp_path: Path) -> None:
    """Callers ask without a pause until they are told that the connection closes."""
    statuses: list[int | str] = []

    def call(address: str) -> None:
        connection, told = http.client.HTTPConnection(address, timeout=60), ""
        try:
            while told != "close":
                connection.request("POST", INFER, body)
                answer = connection.getresponse()
                answer.read()
                statuses.append(answer.status)
                told = answer.headers.get("connection", "")
        except (http.client.HTTPException, OSError) as failed:
            statuses.append(repr(failed))
        finally:
            connection.close()

    body = orjson.dumps(request(asked(2)))
    with serving(ground, tmp_path, "--drain_s", "1") as (_, transformer), ThreadPoolExecutor(4) as callers:
        calls = [callers.submit(call, transformer.http) for _ in range(4)]
        until(lambda: len(statuses) >= 50, "load")
        transformer.process.terminate()
        until(lambda: reason(transformer) == "the server is about to stop", "the reason")
        assert infer(transformer.http, asked(1)).status == 200  # not ready, and still answering
        for each in calls:
            each.result(WAIT_S)
        assert transformer.process.wait(20) == 0
    assert set(statuses) == {200}
    assert len(statuses) > 50
