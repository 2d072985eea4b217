"""A running transformer whose predictor fails, lies, is lost or is killed: refused with the reason, never passed on."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.cli.stack import Server, not_ready, server, wait_ready
from headrace.open_inference import OpenInferenceError, Tensor
from headrace.open_inference.client.model_client import Asking, PredictorClient
from tests.end_to_end.asking import PREDICT, Said, ask, infer, instances
from tests.end_to_end.ground import OUTPUT, Ground, predictor_flags, transformer_flags
from tests.end_to_end.payments import asked
from tests.end_to_end.planted import Act, Planted, planted_predictor, scores

COLUMNS = asked(3)
WAIT_S = 60.0
Running = tuple[Planted, Server]


@pytest.fixture(scope="module")
def running(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A transformer in front of a planted predictor."""
    flags = ("--predictor_answer_mib", "1", "--forward_headers", "X-Tenant")
    with (
        planted_predictor() as planted,
        server(
            "transformer",
            transformer_flags(ground.store, planted.address, *flags),
            tmp_path_factory.mktemp("logs"),
        ) as transformer,
    ):
        wait_ready(transformer)
        yield planted, transformer


@contextmanager
def acting(planted: Planted, act: Act) -> Iterator[None]:
    """Make the predictor do this until the block ends, and answer as it should from then on."""
    planted.act = act
    try:
        yield
    finally:
        planted.act = scores


def until(so: Callable[[], object]) -> None:
    """Wait until it is so."""
    end, pause = time.monotonic() + WAIT_S, threading.Event()
    while not so():
        assert time.monotonic() < end
        pause.wait(0.05)


def answer(of: Server, **headers: str) -> Said:
    """Ask for three payments, of a transformer that is ready."""
    until(lambda: not not_ready(of))
    return infer(of.http, COLUMNS, Content_Type="application/json", **headers)


def outputs(values: object, datatype: str = "FP32", name: str = OUTPUT) -> Act:
    """Return an act that answers with these values, whatever was asked."""
    array = np.array(values, dtype=object if datatype == "BYTES" else None)
    return lambda rows: [Tensor(name, datatype, array if datatype == "BYTES" else array.astype(np.float32))]


HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b" " * 1_200_000
NONSENSE: dict[str, tuple[Act, str]] = {
    "too few values": (outputs([0.5]), f"the predictor gave 1 values of {OUTPUT!r}, needs 3"),
    "too many values": (outputs([[0.5, 0.5]] * 3), f"the predictor gave 6 values of {OUTPUT!r}, needs 3"),
    "no values": (outputs([]), f"the predictor gave 0 values of {OUTPUT!r}, needs 3"),
    "NaN": (outputs([0.5, np.nan, 0.5]), f"the predictor gave {OUTPUT!r} that is not finite, needs numbers"),
    "infinity": (outputs([0.5, 0.5, np.inf]), f"the predictor gave {OUTPUT!r} that is not finite, needs numbers"),
    "text": (outputs([b"a", b"b", b"c"], "BYTES"), f"the predictor gave {OUTPUT!r} that is not numbers, needs them"),
    "another output": (outputs([0.5] * 3, name="other"), f"the predictor gave no {OUTPUT!r}, needs it"),
    "no outputs": (lambda rows: [], f"the predictor gave no {OUTPUT!r}, needs it"),
    "an empty answer": (lambda rows: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "gave no answer: the body has 0"),
    "half an answer": (lambda rows: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "broke off its answer"),
    "no HTTP": (lambda rows: b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "did not answer in HTTP, needs a v2 server"),
    "a huge answer": (lambda rows: HUGE, "gave an answer of more than 1048576 bytes"),
    "an error": (lambda rows: 500, "said 500: CUDA error: device lost"),
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_nonsense_is_refused_with_its_reason_and_never_passed_on(running: Running, nonsense: str) -> None:
    planted, transformer = running
    act, reason = NONSENSE[nonsense]
    assert answer(transformer).status == 200  # so that no two failures stand in a row
    with acting(planted, act):
        said = answer(transformer)
    assert said.status == 502
    assert reason in said.error


@pytest.mark.parametrize(
    ("act", "status"), [(lambda rows: 503, 503), (lambda rows: None, 503), (lambda rows: 429, 429)]
)
def test_who_is_away_or_full_is_told_to_come_back(running: Running, act: Act, status: int) -> None:
    planted, transformer = running
    with acting(planted, act):
        before = planted.asked
        said = answer(transformer)
    assert said.status == status
    assert int(said.headers["retry-after"]) >= 1
    # Only a connection that broke is tried again where there is one endpoint alone.
    assert planted.asked - before == (2 if act(3) is None else 1)
    assert answer(transformer).output(OUTPUT) == [0.5] * 3


def test_a_lost_gpu_is_told_by_readiness_and_its_return_too(running: Running) -> None:
    planted, transformer = running
    with acting(planted, lambda rows: 500):

        def told() -> bool:
            said = infer(transformer.http, COLUMNS, Content_Type="application/json")
            assert said.status in (502, 503)
            return said.status == 503

        until(told)
        why = not_ready(transformer)
        assert "the predictor fails every request: the predictor of 'fraud' said 500: CUDA error: device lost" in why
    until(lambda: not not_ready(transformer))
    assert answer(transformer).status == 200


def test_named_headers_go_on_and_no_others(running: Running) -> None:
    planted, transformer = running
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = {
        "traceparent": trace,
        "X_Request_Id": "r-7",
        "X_Tenant": "shop",
        "Authorization": "Bearer a",
        "X_Other": "1",
    }
    assert answer(transformer, **sent).status == 200
    went = {name: planted.headers.get(name) for name in ("x-request-id", "x-tenant", "authorization", "x-other")}
    assert went == {"x-request-id": "r-7", "x-tenant": "shop", "authorization": None, "x-other": None}
    assert planted.headers["traceparent"][3:35] == trace[3:35]


def test_headers_of_v1_go_on_too(running: Running) -> None:
    planted, transformer = running
    said = ask(transformer.http, "POST", PREDICT, {"instances": instances(COLUMNS)}, X_Request_Id="r-8", X_Other="1")
    assert said.status == 200
    assert (planted.headers.get("x-request-id"), planted.headers.get("x-other")) == ("r-8", None)


def test_endpoints_are_counted_and_not_named(running: Running) -> None:
    planted, transformer = running
    text = ask(transformer.http, "GET", "/metrics").body.decode()
    assert 'headrace_predictor_endpoints{model_name="fraud"} 1.0' in text
    assert 'headrace_predictor_endpoints_left_out{model_name="fraud"} ' in text
    assert 'headrace_predictor_second_attempts_total{model_name="fraud"} ' in text
    assert planted.address not in text


def test_a_transformer_that_asks_by_grpc_answers_the_same(ground: Ground, tmp_path: Path) -> None:
    with server("predictor", predictor_flags(ground.models), tmp_path) as predictor:
        flags = transformer_flags(ground.store, predictor.grpc, "--predictor_protocol", "grpc-v2")
        with server("transformer", flags, tmp_path) as transformer:
            wait_ready(transformer)
            said = answer(transformer)
    np.testing.assert_allclose(said.output(OUTPUT), ground.probabilities(COLUMNS).ravel(), atol=1e-6)


def test_a_predictor_that_is_killed_under_load_fails_no_request(ground: Ground, tmp_path: Path) -> None:
    matrix = ground.features(COLUMNS)

    @contextmanager
    def pod(address: str, port: str) -> Iterator[Server]:
        logs = tmp_path / address
        logs.mkdir(exist_ok=True)
        with server("predictor", ["--host", address, *predictor_flags(ground.models, port)], logs) as started:
            wait_ready(started)
            yield started

    async def scene(first: Server, port: str) -> list[OpenInferenceError]:
        names = ["127.0.0.1", "127.0.0.2"]

        async def resolve(host: str, port: int) -> list[str]:
            return names

        failed: list[OpenInferenceError] = []
        done = 0
        over = asyncio.Event()
        killed = asyncio.Event()

        async def load(client: PredictorClient) -> None:
            nonlocal done
            while not over.is_set():
                try:
                    said = await client.infer([Tensor("features", "FP32", matrix)], [OUTPUT])
                    assert said.output(OUTPUT).size == 3
                except OpenInferenceError as refused:
                    failed.append(refused)
                done += 1
                if done == 200:
                    first.process.send_signal(signal.SIGKILL)
                    killed.set()
                if done == 600:
                    over.set()

        async with PredictorClient(f"http://pods:{port}", APP.name, how=Asking(resolve=resolve)) as client:
            await asyncio.gather(*(load(client) for _ in range(8)))
            assert killed.is_set()
            assert client.endpoints.healthy(asyncio.get_running_loop().time()) <= 2
            assert 1 <= client.budget.spent <= 60
        return failed

    with pod("127.0.0.1", "0") as first:
        port = first.http.rpartition(":")[2]
        with pod("127.0.0.2", port):
            assert asyncio.run(scene(first, port)) == []
