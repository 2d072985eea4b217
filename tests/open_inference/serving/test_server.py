"""The process around both doors: how it says where it listens, how it refuses to start, how it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from headrace.open_inference import PredictorFailed, Tensor, make_app
from headrace.open_inference.client.model_client import PredictorClient
from headrace.open_inference.serving.server import PortTaken, run
from tests.open_inference.live import Live, launched, started


@pytest.mark.parametrize("flag", ["--http-port", "--grpc-port"])
def test_a_taken_port_is_named_and_nothing_is_started(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said, complained = (process := launched(flag, str(port))).communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert complained == f"port {port} on 127.0.0.1 is taken, needs a free one, or 0 for any: nothing was started\n"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_port_for_both_doors_is_refused_as_that(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    flags = ("--http-port", port, "--grpc-port", port, "--workers", workers)
    said, complained = (process := launched(*flags)).communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert f"port {port} is given to HTTP and to gRPC, needs one for each: nothing was started\n" in complained


def test_an_address_that_cannot_be_listened_on_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(make_app({}), {}, host="192.0.2.1", http_port=0) == 1
    complained = capsys.readouterr().err
    assert complained.startswith("port 0 on 192.0.2.1 cannot be listened on (")
    assert complained.endswith("): nothing was started\n")
    assert issubclass(PortTaken, OSError)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_word(number: signal.Signals) -> None:
    live = started()
    live.process.send_signal(number)
    said, complained = live.process.communicate(timeout=20)
    assert (live.process.returncode, said, complained) == (0, "", "")


def test_no_request_fails_while_it_stops() -> None:
    """Eight callers ask without a pause while the signal comes; each stops when it is told to leave."""
    live = started("--drain-s", "30")

    async def ask_until_told_to_leave(session: aiohttp.ClientSession, answered: asyncio.Event) -> None:
        while True:
            async with session.post(f"http://{live.http}/v2/models/echo/infer", data=AMOUNT) as said:
                assert said.status == 200
                await said.read()
                answered.set()
                if said.headers.get("Connection") == "close":
                    return

    async def scene() -> int:
        async with aiohttp.ClientSession() as session:
            answered = [asyncio.Event() for _ in range(8)]
            callers = [asyncio.create_task(ask_until_told_to_leave(session, event)) for event in answered]
            await asyncio.gather(*(event.wait() for event in answered))
            live.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*callers)
            async with session.get(f"http://{live.http}/v2/health/ready") as said:
                live.process.send_signal(signal.SIGTERM)  # a second signal ends the draining at once
                return said.status

    assert asyncio.run(scene()) == 503
    assert live.process.wait(20) == 0


AMOUNT = b'{"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": [1.5]}]}'


def raw(live: Live, *pieces: bytes) -> bytes:
    """Send bytes as they are and return all that comes back until the server hangs up."""
    host, _, port = live.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return connection.makefile("rb").read()


def test_what_is_no_http_is_refused_in_json(echo: Live) -> None:
    said = raw(echo, b"nonsense\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 400 ")
    assert said.endswith(b'{"error":"Invalid HTTP request received."}')


def test_a_head_without_end_is_refused(echo: Live) -> None:
    said = raw(echo, b"GET /v2 HTTP/1.1\r\nx: ", b"x" * (65 << 10))
    assert said.endswith(b'{"error":"the head of the request has more than 65536 bytes, needs fewer"}')


def test_a_caller_that_hangs_up_in_its_body_leaves_the_server_well(echo: Live) -> None:
    host, _, port = echo.http.partition(":")
    head = b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head + b'{"inputs"')
    said = raw(echo, b"GET /v2/health/ready HTTP/1.1\r\nconnection: close\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")


def test_a_large_body_is_refused_before_it_is_sent(echo: Live) -> None:
    said = raw(
        echo,
        b"POST /v2/models/echo/infer HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999999\r\n\r\n",
    )
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b'{"error":"the body has 99999999999 bytes, needs at most 1048576"}')


def test_the_client_speaks_to_the_server(echo: Live) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        async with PredictorClient(f"http://{echo.http}/", "echo", version="1") as client:
            tensors = [Tensor.of("amount", [1.5, 2.5]), Tensor.of("category", ["a", "b"])]
            said = await client.infer(tensors, ["category"], loop.time() + 10, request_id="7")
            assert (said.model, said.version, said.id) == ("echo", "1", "7")
            assert [tensor.name for tensor in said.outputs] == ["category"]
            assert said.output("category").tolist() == [b"a", b"b"]
            assert await client.ready()
            assert (await client.metadata())["platform"] == "echo"
            assert (await client.config())["parameters"]["headrace_fingerprint"]["string_value"] == "f" * 64
            with pytest.raises(PredictorFailed) as failed:
                await client.infer(tensors, ["score"])
            assert failed.value.message == (
                "the predictor of 'echo' said 400: output 'score' is unknown, needs one of amount, category"
            )

    asyncio.run(scene())


def test_the_files_stay_small() -> None:
    for file in (Path(__file__).parents[3] / "headrace" / "open_inference").rglob("*.py"):
        assert len(file.read_text().splitlines()) <= 250, file.name
