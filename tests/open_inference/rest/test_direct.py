"""An inference without a task says what the application says, byte for byte, and counts alike; on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import uvloop

from headrace.open_inference import make_app
from headrace.open_inference.calls import WatchedApp
from headrace.open_inference.rest.connections import Bounds
from headrace.open_inference.rest.direct import Direct
from headrace.open_inference.serving.server import serve
from tests.open_inference.rest.askable import (
    Answering,
    AskedOnly,
    Chosen,
    Exchanged,
    Server,
    Silent,
    answers_in,
    played,
    sent,
    tensors,
    without_ids,
)
from tests.open_inference.sockets import INFER

ONE = tensors("amount")
RAW = struct.pack("<2d", 1.5, 2.5)
OFFER = ("connection: upgrade", "upgrade: h2c")
CUT = "inference-header-content-length: "
LATE = b'{"error":"model \'echo\' had no answer when the request\'s deadline passed: 20 ms were allowed"}'


def binary(head: str, raw: bytes, *headers: str, **how: Any) -> bytes:
    return sent(head.encode() + raw, f"{CUT}{len(head)}", *headers, **how)


HALF = '{"inputs":[{"name":"amount","shape":[2],"datatype":"FP64","parameters":{"binary_data_size":16}}%s]%s}'
PLAIN_TOO = ',{"name":"count","shape":[1],"datatype":"INT64","data":[7]}'
BINARY_OUT = ',"parameters":{"binary_data_output":true}'
ASKED_FOR = (
    ',"outputs":[{"name":"category"},{"name":"amount","parameters":{"binary_data":true}}]',
    ',"outputs":[{"name":"nothing"}]',
)
REQUESTS = {
    "good": sent(ONE),
    "id": sent(tensors("amount", request="seven")),
    "id that is no string": sent(ONE.replace(b"{", b'{"id":7,', 1)),
    "two inputs": sent(tensors("amount", "count")),
    "in chunks": sent(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    + b"%x\r\n%s\r\n0\r\n\r\n" % (len(ONE), ONE),
    "binary": binary(HALF % ("", BINARY_OUT), RAW),
    "binary in, JSON out": binary(HALF % ("", ""), RAW),
    "mixed": binary(HALF % (PLAIN_TOO, ""), RAW),
    "binary that is too short": binary(HALF % ("", ""), RAW[:-1]),
    "a length that is no number": sent(ONE, f"{CUT}soon"),
    "a length beyond the body": sent(ONE, f"{CUT}1000"),
    "raw": sent(RAW, f"{CUT}0"),
    "raw that is not whole": sent(RAW[:-1], f"{CUT}0"),
    "outputs asked for": sent(tensors("amount", "category", more=ASKED_FOR[0])),
    "an output that is unknown": sent(tensors("amount", more=ASKED_FOR[1])),
    "binary asked for": sent(tensors("amount", more=BINARY_OUT)),
    "labels asked for": sent(
        tensors("amount", more=',"outputs":[{"name":"amount","parameters":{"classification":1}}]')
    ),
    "no JSON": sent(b'{"inputs": ['),
    "no object": sent(b"[]"),
    "no inputs": sent(b"{}"),
    "no body": sent(b""),
    "a shape that is wrong": sent(ONE.replace(b"[1]", b"[2]")),
    "a datatype that is unknown": sent(ONE.replace(b"FP64", b"FP65")),
    "refused": sent(tensors("refuse", request="gone")),
    "refused at once": sent(tensors("refuse_at_once", request="gone")),
    "broken": sent(tensors("broken")),
    "broken at once": sent(tensors("broken_at_once")),
    "stopped": sent(tensors("stopped")),
    "NaN in JSON": sent(tensors("nan")),
    "NaN in binary": sent(tensors("nan", more=BINARY_OUT)),
    "a deadline": sent(ONE, "headrace-deadline-ms: 20000"),
    "a deadline that is no number": sent(ONE, "headrace-deadline-ms: soon"),
    "a deadline of nothing": sent(ONE, "headrace-deadline-ms: 0"),
    "a deadline that passes": sent(tensors("wait"), "headrace-deadline-ms: 20"),
    "a timeout": sent(tensors("amount", more=',"parameters":{"timeout":20000000}')),
    "a timeout that is none": sent(tensors("amount", more=',"parameters":{"timeout":"soon"}')),
    "a timeout that passes": sent(tensors("wait", more=',"parameters":{"timeout":20000}')),
    "headers that go on": sent(ONE, "x-trace: 1", "X-Trace: 2", "x-other: 3"),
    "a query": sent(ONE, path=INFER + "?a=b"),
    "a slash too many": sent(ONE, path=INFER + "/"),
    "a proxy's target": sent(ONE, path="http://somewhere" + INFER),
    "encoded": sent(ONE, path="/v2/models/%65cho/infer"),
    "a version": sent(ONE, path="/v2/models/echo/versions/1/infer"),
    "another version": sent(ONE, path="/v2/models/echo/versions/2/infer"),
    "a version that is unknown": sent(ONE, path="/v2/models/echo/versions/9/infer"),
    "a model that is unknown": sent(ONE, path="/v2/models/other/infer"),
    "compressed": sent(gzip.compress(ONE), "content-encoding: gzip"),
    "compressed, it says": sent(ONE, "content-encoding: gzip"),
    "coded as it is": sent(ONE, "content-encoding: identity"),
    "many": sent(tensors("many")),
    "many, compressed": sent(tensors("many"), "accept-encoding: br, gzip"),
    "many, compressed otherwise": sent(tensors("many", more=BINARY_OUT), "accept-encoding: deflate"),
    "many, in no coding of ours": sent(tensors("many"), "accept-encoding: br"),
    "few, compressed": sent(ONE, "accept-encoding: gzip"),
    "HTTP/1.0": sent(ONE, version="1.0", last=False),
    "HTTP/1.0, refused": sent(b"[]", version="1.0", last=False),
    "the head alone": sent(b"", method="HEAD"),
    "what is there": sent(b"", method="GET"),
    "what is allowed": sent(b"", method="OPTIONS"),
    "another method": sent(ONE, method="PUT"),
    "waiting to be asked": sent(ONE, "expect: 100-continue"),
    "another protocol offered": sent(ONE, *OFFER, last=False) + sent(ONE),
    "another protocol offered, refused": sent(b"[]", *OFFER, last=False) + sent(ONE),
    "one after another": sent(ONE, last=False) + sent(tensors("count"), last=False) + sent(tensors("flag")),
    "refusals one after another": b"".join(sent(b"[%d" % at, last=False) for at in range(4)) + sent(b"{"),
    "refusals among answers": sent(ONE, last=False)
    + sent(b"[]", last=False)
    + sent(tensors("refuse_at_once"), last=False)
    + sent(tensors("refuse"), last=False)
    + sent(tensors("count"), last=False)
    + sent(b"{}"),
    "an answer before such an offer": sent(ONE, last=False) + sent(b"[]", *OFFER, last=False) + sent(ONE),
}


async def once(server: Server, request: bytes) -> tuple[Any, ...]:
    said = without_ids(await server.said(request))
    await server.until(lambda: not server.connections.open)
    return said, server.told, server.refused, server.counts, server.under_way, server.connections.cut


@pytest.mark.parametrize("kind", [Answering, Chosen])
@pytest.mark.parametrize("asked", REQUESTS)
def test_what_is_said_and_counted_is_what_the_application_says(
    asked: str, kind: type[Answering], capfd: pytest.CaptureFixture[str]
) -> None:
    def way(*, direct: bool) -> tuple[Any, ...]:
        found = played(lambda server: once(server, REQUESTS[asked]), direct=direct, kind=kind)
        return *found, [line.split(": ")[-1] for line in capfd.readouterr().err.splitlines() if "internal" in line]

    directly = way(direct=True)
    assert directly == way(direct=False)
    assert directly[0].startswith(b"HTTP/1.1 ") or asked == "stopped"
    assert directly[4] == (0, 0, 0)


def test_the_table_holds_answers_and_refusals_of_every_kind() -> None:
    async def all_of(server: Server) -> set[int]:
        for request in REQUESTS.values():
            await server.said(request)
        return {status for _, status in server.told}

    assert played(all_of) == {200, 400, 404, 499, 500, 503, 504}


WAIT = tensors("wait", request="mine")


def both(scene: Any, **made: Any) -> Any:
    """Play a scene with the direct way and without, and return what it gave, which must be the same."""
    directly, by_the_application = (played(scene, direct=direct, **made) for direct in (True, False))
    assert directly == by_the_application
    return directly


def draining(server: Server) -> None:
    server.gate.draining = True


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (draining, b'"model_name":"echo"'),
        (
            lambda server: setattr(server.gate, "max_in_flight", 0),
            b'{"error":"0 requests are under way, needs fewer than 0: try later"}',
        ),
        (
            lambda server: setattr(server.model, "reason", "no features yet"),
            b'{"error":"model \'echo\' is not ready: no features yet"}',
        ),
    ],
)
def test_who_is_let_in_is_the_same(state: Any, told: bytes) -> None:
    async def scene(server: Server) -> Any:
        state(server)
        return [await once(server, sent(body)) for body in (ONE, b"[]", tensors("refuse"))]

    found = both(scene)
    assert told in found[0][0]


def test_a_server_that_drains_ends_the_connection_with_its_answer_whatever_that_is() -> None:
    async def scene(server: Server) -> list[bytes]:
        draining(server)
        return [await server.said(sent(body, last=False)) for body in (ONE, b"[]", tensors("broken"))]

    for said in map(without_ids, played(scene)):
        ((head, _),) = answers_in(said)
        assert head.endswith(b"\r\nconnection: close")


def test_a_deadline_ends_what_was_asked_and_the_connection_goes_on() -> None:
    async def scene(server: Server) -> Any:
        requests = sent(WAIT, "headrace-deadline-ms: 20", last=False) + sent(ONE)
        said = answers_in(await server.said(requests))
        return said, server.model.cancelled, server.told, server.refused, server.under_way

    said, cancelled, told, refused, under_way = both(scene)
    assert [head.split()[1] for head, _ in said] == [b"504", b"200"]
    assert (said[0][1], cancelled, under_way) == (LATE, ["mine"], (0, 0, 0))
    assert (told, refused) == ([("echo", 504), ("echo", 200)], [("echo", "DeadlinePassed")])


def test_a_caller_that_hangs_up_takes_what_it_asked_with_it() -> None:
    async def scene(server: Server) -> Any:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent(WAIT))
        await server.model.waits.wait()
        during = server.under_way
        writer.transport.abort()
        await server.until(lambda: server.told != [])
        return during, server.under_way, server.model.cancelled, server.told, server.counts, server.connections.cut

    during, after, cancelled, told, counts, cut = both(scene)
    assert (during, after) == ((1, 1, 1), (0, 0, 0))
    assert (cancelled, told, cut) == (["mine"], [("echo", 499)], {"gone": 1})
    assert counts == {"rows": 0, "answered": 0, "refused": 1}


def test_a_caller_that_hangs_up_while_its_answer_is_compressed_was_answered_all_the_same() -> None:
    async def scene(server: Server) -> Any:
        held = threading.Event()
        with ThreadPoolExecutor(1) as aside:
            asyncio.get_running_loop().set_default_executor(aside)
            aside.submit(held.wait)
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent(tensors("many"), "accept-encoding: gzip"))
            await server.until(lambda: server.counts["answered"] == 1)
            writer.transport.abort()
            await server.until(lambda: server.told != [])
            held.set()
        return server.told, server.counts, server.under_way

    told, counts, under_way = both(scene)
    assert (told, under_way) == ([("echo", 499)], (0, 0, 0))
    assert counts == {"rows": 1, "answered": 1, "refused": 0}


def test_an_answer_that_cannot_be_compressed_is_a_fault_and_no_connection_waits_for_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def scene(server: Server) -> Any:
        await asyncio.get_running_loop().shutdown_default_executor()
        return await once(server, sent(tensors("many"), "accept-encoding: gzip"))

    said, told, refused, *_ = both(scene)
    assert said.endswith(b'{"error":"internal error, id ????????????"}')
    assert (told, refused) == ([("echo", 500)], [])
    assert capfd.readouterr().err.count("internal error, id ") == 2


def test_a_fault_is_logged_under_the_id_its_caller_gets_without_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    said = played(lambda server: server.said(sent(tensors("broken"))))
    label = said.rpartition(b"id ")[2][:12].decode()
    logged = capfd.readouterr().err
    assert logged.startswith(f"internal error, id {label}: RuntimeError\n")
    assert "no idea" not in logged


def test_answers_keep_the_order_of_their_requests_whatever_they_wait_for() -> None:
    async def scene(server: Server) -> Any:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        behind = [sent(tensors("amount", request="2"), last=False), sent(b"[]", last=False), sent(b"{}")]
        writer.write(sent(WAIT, last=False) + b"".join(behind))
        await server.model.waits.wait()
        server.model.asked[0].end()
        said = await reader.read()
        writer.close()
        return said

    said = answers_in(both(scene))
    assert [json.loads(body).get("id") for _, body in said] == ["mine", "2", None, None]
    assert [head.split()[1] for head, _ in said] == [b"200", b"200", b"400", b"400"]
    assert [b"connection: close" in head for head, _ in said] == [False, False, False, True]


@pytest.mark.parametrize("behind", [sent(ONE), sent(b"{}"), b"nonsense\r\n\r\n", b"\r\n"])
def test_a_refusal_that_is_the_connections_last_is_its_last(behind: bytes) -> None:
    ((head, body),) = answers_in(played(lambda server: server.said(sent(b"[]") + behind)))
    assert head.endswith(b"connection: close")
    assert body == b'{"error":"the body is a JSON list, needs an object"}'


def test_too_many_sent_ahead_of_an_answer_end_the_connection_after_theirs() -> None:
    async def scene(server: Server) -> Any:
        asking = asyncio.create_task(server.said(sent(WAIT, last=False) + sent(ONE, last=False) * 3))
        await server.until(lambda: server.model.asked != [] and server.connections.cut == {"pipelined": 1})
        server.model.asked[0].end()
        return [head.split()[1] for head, _ in answers_in(await asking)], server.connections.cut, server.under_way

    assert both(scene, bounds=Bounds(pipelined=2)) == ([b"200"] * 3 + [b"400"], {"pipelined": 1}, (0, 0, 0))


@pytest.mark.parametrize("reads", [False, True])
def test_who_does_not_read_its_answers_is_not_listened_to_until_it_has(reads: bool) -> None:
    many = sent(tensors("many"), last=False)

    async def scene(server: Server) -> Any:
        one = await server.said(many, answers=1)
        await server.until(lambda: not server.connections.open)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        asked, answered = 0, True
        while answered and asked < 300:
            writer.write(many)
            asked += 1
            answered = await counted(server, asked + 1)
        (connection,) = server.connections.open
        if reads:
            assert await reader.readexactly(asked * len(one)) == asked * one
        else:
            connection.expire()
        writer.transport.abort()
        return answered, server.connections.cut

    assert both(scene) == (False, {} if reads else {"unread": 1})


async def counted(server: Server, answers: int) -> bool:
    for _ in range(200):
        if server.counts["answered"] == answers:
            return True
        await asyncio.sleep(0)
    return False


def test_who_waits_has_no_task() -> None:
    async def scene(server: Server) -> int:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(sent(WAIT))
        await server.model.waits.wait()
        tasks = len(asyncio.all_tasks())
        writer.transport.abort()
        return tasks

    assert played(scene, direct=True) == played(scene, direct=False) - 1


@pytest.mark.parametrize("name", ["%65cho", "a/b", "a b", "é"])
def test_a_model_whose_name_is_written_otherwise_in_a_path_is_found_as_the_application_finds_it(name: str) -> None:
    async def scene(server: Server) -> bytes:
        return await server.said(b"".join(sent(ONE, path=path, last=False) for path in paths), answers=len(paths))

    paths = [f"/v2/models/{written}/infer" for written in (name, quote(name, safe=""), "echo")]
    paths[0] = paths[0].encode().decode("latin-1").replace(" ", "%20")
    both(scene, name=name)


def test_a_model_that_is_exchanged_while_it_serves_is_asked_for_the_one_that_serves() -> None:
    async def scene(server: Server) -> Any:
        server.model.at = lambda version: Answering("other")  # type: ignore[attr-defined]
        server.connections.direct = server.connections.direct and Direct(server.gate)
        await server.said(sent(ONE))
        return [told["name"] for told in server.gate.statistics.told({"other": server.model}, "1")], server.told

    both(scene)


@pytest.mark.parametrize("path", [INFER, "/v2/models/echo/versions/1/infer"])
@pytest.mark.parametrize("model", [AskedOnly, Exchanged])
@pytest.mark.parametrize("watched", [False, True])
def test_a_server_asks_directly_where_nobody_watches(
    watched: bool, model: type[AskedOnly], path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> bytes:
        models = {"echo": model()}
        app = make_app(models)
        server = Server(models["echo"], direct=True)
        over: Any = WatchedApp(app, Silent) if watched else app
        running = asyncio.create_task(serve(over, models, http_port=0, grpc_port=None))
        said = ""
        while "listening" not in said:
            await asyncio.sleep(0)
            said += capsys.readouterr().out
        server.port = int(said.split()[1].rpartition(":")[2])
        answer = await server.said(sent(ONE, path=path))
        running.cancel()
        await asyncio.wait([running])
        return answer

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(scene()).split()[1] == (b"503" if watched else b"200")
