"""Over HTTP and over gRPC, plain and over TLS, a client says the same of the same server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.open_inference import (
    DeadlinePassed,
    InferRequest,
    InferResponse,
    NotReady,
    OpenInferenceError,
    Overloaded,
    PredictorFailed,
    Tensor,
)
from headrace.open_inference.client.model_client import Asking, PredictorClient
from headrace.open_inference.grpc.service import serve_grpc
from tests.open_inference.certificates import Authority
from tests.open_inference.echo_server import Echo
from tests.open_inference.live import Live, started

WAYS = pytest.mark.parametrize("way", ["v2", "grpc-v2"])
Ask = Callable[[PredictorClient], Awaitable[Any]]


def url_of(live: Live, way: str, scheme: str = "http") -> str:
    return f"{scheme}://{live.http if way == 'v2' else live.grpc}"


def asked(url: str, way: str, ask: Ask, **how: Any) -> Any:
    """Ask a server by one way; return what was said or the error."""

    async def scene() -> Any:
        async with PredictorClient(url, "echo", how=Asking(way, **how)) as client:
            try:
                return await ask(client)
            except OpenInferenceError as failed:
                return failed

    return asyncio.run(scene())


@WAYS
def test_tensors_come_back_as_they_went(echo: Live, way: str) -> None:
    tensors = [
        Tensor.of("amount", np.array([[1.5, -0.0], [np.pi, 1e300]])),
        Tensor.of("small", np.zeros((0, 3), np.float32)),
        Tensor.of("half", np.array([1.5], np.float16)),
        Tensor.of("flag", np.array([True, False])),
        Tensor.of("category", ["", "grocery", "é"]),
    ]

    async def ask(client: PredictorClient) -> InferResponse:
        return await client.infer(tensors, request_id="r-7")

    said = asked(url_of(echo, way), way, ask)
    assert (said.model, said.version, said.id) == ("echo", "1", "r-7")
    for tensor in tensors:
        back = said.output(tensor.name)
        assert back.dtype == tensor.array.dtype
        assert back.shape == tensor.array.shape
        assert back.tobytes() == tensor.array.tobytes() or tensor.datatype == "BYTES"
    assert said.output("category").tolist() == [b"", b"grocery", "é".encode()]


@WAYS
def test_only_what_is_asked_for_is_answered(echo: Live, way: str) -> None:
    async def ask(client: PredictorClient) -> InferResponse:
        return await client.infer([Tensor.of("amount", [1.0]), Tensor.of("count", [2])], ["count"])

    assert [tensor.name for tensor in asked(url_of(echo, way), way, ask).outputs] == ["count"]


@WAYS
def test_what_is_told_of_the_model(echo: Live, way: str) -> None:
    async def ask(client: PredictorClient) -> tuple[Any, ...]:
        return (
            await client.ready(),
            await client.ready("1"),
            await client.ready("9"),
            await client.config(),
            (await client.metadata()),
        )

    ready, first, ninth, config, metadata = asked(url_of(echo, way), way, ask)
    assert (ready, first, ninth) == (True, True, False)
    assert config["parameters"] == {"headrace_fingerprint": {"string_value": "f" * 64}}
    assert metadata["versions"] == ["1"]
    assert metadata["inputs"][0] == {"name": "amount", "datatype": "FP64", "shape": [-1]}


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("broken", PredictorFailed, {"v2": "said 500: internal error", "grpc-v2": "said INTERNAL: internal error"}),
        ("refuse", NotReady, {"v2": "said 503: the echo is gone", "grpc-v2": "said UNAVAILABLE: the echo is gone"}),
        ("wait", DeadlinePassed, dict.fromkeys(("v2", "grpc-v2"), "had no answer when the request's deadline passed")),
    ],
)
@WAYS
def test_a_refusal_is_of_the_same_kind(
    echo: Live, way: str, name: str, kind: type[Exception], said: dict[str, str]
) -> None:
    async def ask(client: PredictorClient) -> InferResponse:
        await client.ready()  # so that connecting takes nothing of the deadline
        deadline = asyncio.get_running_loop().time() + (0.2 if name == "wait" else 20.0)
        return await client.infer([Tensor.of(name, [1.0])], deadline=deadline)

    found = asked(url_of(echo, way), way, ask)
    assert type(found) is kind
    assert said[way] in found.message


@WAYS
def test_nobody_listening(way: str) -> None:
    async def ask(client: PredictorClient) -> InferResponse:
        return await client.infer([Tensor.of("a", [1.0])])

    found = asked("http://127.0.0.1:1", way, ask)
    assert type(found) is NotReady
    cause = "connection refused"
    assert found.message == f"the predictor of 'echo' cannot be reached ({cause}), needs a listening server: try later"


@WAYS
def test_a_client_knows_why_its_predictor_is_not_ready(echo: Live, secured: tuple[Live, Path], way: str) -> None:
    async def why(client: PredictorClient) -> Any:
        return "" if await client.ready() else client.unready

    assert asked(url_of(echo, way), way, why) == ""
    assert "cannot be reached (connection refused)" in asked("http://127.0.0.1:1", way, why)
    assert "'nowhere.invalid' has no address" in asked("http://nowhere.invalid", way, why)
    foreign = asked(url_of(secured[0], way, "https"), way, why)
    assert "has a certificate that was not accepted: unable to get local issuer certificate" in foreign
    no_tls = asked(url_of(echo, way, "https"), way, why, ca_file=str(secured[1]))
    assert "the predictor of 'echo' cannot be reached (TLS failed" in no_tls


@WAYS
def test_an_answer_that_is_too_long(echo: Live, way: str) -> None:
    async def ask(client: PredictorClient) -> InferResponse:
        return await client.infer([Tensor.of("amount", np.zeros(1000))])

    found = asked(url_of(echo, way), way, ask, longest=2000)
    assert type(found) is PredictorFailed
    assert found.message == (
        "the predictor of 'echo' gave an answer of more than 2000 bytes, which is the most that is read"
    )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Live, Path]]:
    """An echo server with a certificate, and the authority that signed it."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder / "ca.pem")
    authority.sign("echo", folder / "tls.crt", folder / "tls.key")
    live = started("--tls", str(folder / "tls.crt"), str(folder / "tls.key"), "")
    yield live, authority.path
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0


async def once(client: PredictorClient) -> Any:
    """Ask for one number."""
    return (await client.infer([Tensor.of("amount", [2.5])])).output("amount").tolist()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@WAYS
def test_tls_with_an_authority_of_ones_own(secured: tuple[Live, Path], way: str, host: str) -> None:
    live, authority = secured
    url = url_of(live, way, "https").replace("127.0.0.1", host)
    assert asked(url, way, once, ca_file=str(authority)) == [2.5]


@WAYS
def test_tls_is_refused_where_it_cannot_be_trusted(secured: tuple[Live, Path], way: str) -> None:
    live, _ = secured
    found = asked(url_of(live, way, "https"), way, once)
    assert type(found) is NotReady
    if way == "v2":
        assert "has a certificate that was not accepted: unable to get local issuer certificate" in found.message


@WAYS
def test_who_speaks_tls_and_who_does_not_do_not_meet(echo: Live, secured: tuple[Live, Path], way: str) -> None:
    live, authority = secured
    for found in (
        asked(url_of(echo, way, "https"), way, once, ca_file=str(authority)),
        asked(url_of(live, way, "http"), way, once),
    ):
        assert isinstance(found, NotReady | PredictorFailed)


class Full(Echo):
    """Has no room, as Triton says it over gRPC, or no room as ours does."""

    def __init__(self, said: OpenInferenceError) -> None:
        super().__init__("echo")
        self.said, self.seen = said, 0

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        self.seen += 1
        raise self.said


@pytest.mark.parametrize("said", [Overloaded("no room"), NotReady("Exceeds maximum queue size")])
def test_no_room_is_an_overload_over_grpc_too(said: OpenInferenceError) -> None:
    async def scene() -> Any:
        async with AsyncExitStack() as stack:
            server = await serve_grpc({"echo": Full(said)}, "127.0.0.1:0")
            stack.push_async_callback(server.stop, None)
            client = PredictorClient(f"http://127.0.0.1:{server.headrace_port}", "echo", how=Asking("grpc-v2"))
            await stack.enter_async_context(client)
            with pytest.raises(Overloaded) as refused:
                await client.infer([Tensor.of("a", [1.0])])
            return refused.value.retry_after_s

    assert asyncio.run(scene()) == 1.0


@WAYS
def test_a_header_beyond_ascii_fails_no_request(echo: Live, way: str) -> None:
    async def ask(client: PredictorClient) -> InferResponse:
        return await client.infer([Tensor.of("a", [1.0])], headers={"x-request-id": "café", "tracestate": "a\x7f"})

    assert isinstance(asked(url_of(echo, way), way, ask), InferResponse)


def test_over_grpc_another_pod_answers_for_one_that_stops() -> None:
    async def scene() -> list[int]:
        first, second = Full(NotReady("gone")), Echo("echo")
        async with AsyncExitStack() as stack:
            one = await serve_grpc({"echo": first}, "127.0.0.1:0")
            stack.push_async_callback(one.stop, None)
            other = await serve_grpc({"echo": second}, f"127.0.0.2:{one.headrace_port}")
            stack.push_async_callback(other.stop, None)

            async def resolve(host: str, port: int) -> list[str]:
                return ["127.0.0.2", "127.0.0.1"]

            how = Asking("grpc-v2", resolve=resolve)
            client = PredictorClient(f"http://pods:{one.headrace_port}", "echo", how=how)
            await stack.enter_async_context(client)
            answers = [await once(client) for _ in range(5)]
            assert answers == [[2.5]] * 5
            await one.stop(None)
            client.endpoints._known[1].succeeded()
            assert [await once(client) for _ in range(4)] == [[2.5]] * 4
            return [first.seen, client.budget.spent]

    assert asyncio.run(scene()) == [1, 2]


def test_over_grpc_a_model_says_how_many_rows_it_takes_and_patience_has_no_bound() -> None:
    class Batching(Echo):
        def config(self) -> dict[str, Any]:
            return {**super().config(), "max_batch_size": 32}

    async def scene() -> tuple[Any, int, list[float]]:
        server = await serve_grpc({"echo": Batching("echo")}, "127.0.0.1:0")
        async with PredictorClient(f"http://127.0.0.1:{server.headrace_port}", "echo", how=Asking("grpc-v2")) as client:
            most = (await client.config())["max_batch_size"]
            answer = await client.infer([Tensor.of("amount", [2.5])], deadline=1e17)
        await server.stop(None)
        return most, client.most_rows, answer.output("amount").tolist()

    assert asyncio.run(scene()) == (32, 32, [2.5])


@WAYS
def test_headers_that_are_too_long_for_the_server_are_no_overload(echo: Live, way: str) -> None:
    def ask(client: PredictorClient) -> Awaitable[Any]:
        return client.infer([Tensor.of("amount", np.array([1.5]))], headers={"authorization": "x" * 100_000})

    refused = asked(url_of(echo, way), way, ask)
    assert isinstance(refused, PredictorFailed)
