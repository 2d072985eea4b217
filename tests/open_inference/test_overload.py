"""More requests than are answered in time: what there is no room for is refused at once, over HTTP and gRPC."""

from __future__ import annotations

import json
import signal
import time

import grpc
import pytest

from headrace.open_inference.admission import EVERY, FEWEST, FULL, Admission
from headrace.open_inference.grpc.messages import INFERENCE
from tests.open_inference.live import Live, started
from tests.open_inference.sockets import AMOUNT, WAIT, answer, connected, metric, post, until

ASK = "/inference.GRPCInferenceService/ModelInfer"


def answered(admission: Admission, *, each_s: float, allowed_s: float, under_way: int) -> None:
    """Let so many requests in at once, and answer them one after another, `each_s` apart."""
    for place in [admission.enter() for _ in range(under_way)]:
        admission.leave(place, each_s * place, allowed_s)


def counted(status: int) -> str:
    """Return the sample that counts the requests answered with a status."""
    return f'headrace_requests_total{{model_name="echo",status="{status}"}}'


def test_there_is_room_for_as_many_as_are_answered_in_time() -> None:
    """At 1 ms each, of 50 ms for one, half are time for 25."""
    admission = Admission(512)
    answered(admission, each_s=0.001, allowed_s=0.05, under_way=4 * EVERY)
    assert admission.limit == 25
    assert admission.each_s == pytest.approx(0.001)


def test_room_grows_again_where_requests_are_quick() -> None:
    admission = Admission(512)
    answered(admission, each_s=0.001, allowed_s=0.05, under_way=512)
    small = admission.limit
    for _ in range(60 * EVERY):
        answered(admission, each_s=0.0001, allowed_s=0.05, under_way=1)
    assert small < 60
    assert admission.limit == 512


def test_a_few_are_always_let_in() -> None:
    admission = Admission(512)
    for _ in range(5 * EVERY):
        answered(admission, each_s=1.0, allowed_s=0.05, under_way=1)
    assert admission.limit == FEWEST
    assert not admission.full(0.05)


def test_who_is_in_a_hurry_is_refused_where_others_are_not() -> None:
    admission = Admission(512)
    answered(admission, each_s=0.001, allowed_s=1.0, under_way=EVERY)
    for _ in range(100):
        admission.enter()
    assert (admission.full(0.01), admission.full(1.0)) == (True, False)


def test_one_caller_who_allows_next_to_nothing_leaves_the_others_their_room() -> None:
    admission = Admission(512)
    for _ in range(20 * EVERY):
        answered(admission, each_s=0.005, allowed_s=1.0, under_way=9)
        answered(admission, each_s=0.005, allowed_s=0.0001, under_way=1)
    assert admission.limit == 512


def test_many_callers_who_allow_next_to_nothing_leave_the_others_their_room_too() -> None:
    admission = Admission(512)
    for _ in range(60 * EVERY):
        answered(admission, each_s=0.002, allowed_s=0.05, under_way=1)
        answered(admission, each_s=0.002, allowed_s=0.000001, under_way=9)
    assert admission.limit == 512


def test_over_http_what_there_is_no_room_for_is_refused_at_once_and_its_connection_kept() -> None:
    live = started("--most", "2", "--deadline-s", "60")
    waiting = [connected(live) for _ in range(2)]
    for connection in waiting:
        connection.sendall(post(WAIT))
    until(lambda: metric(live, "headrace_requests_pending") == 2, "two requests under way")
    with connected(live) as connection:
        for number in range(3):
            head, _, body = post(AMOUNT).partition(b"\r\n\r\n")
            connection.sendall(head + b"\r\n\r\n")
            status, headers, told = answer(connection)  # before there is a body
            assert (status, headers["retry-after"], json.loads(told)) == (429, "1", {"error": FULL})
            connection.sendall(body)
            assert metric(live, "headrace_requests_shed_total") == number + 1
            assert metric(live, counted(429)) == number + 1
        for each in waiting:
            each.close()
        until(lambda: metric(live, "headrace_requests_pending") == 0, "room")
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0


def test_who_is_refused_so_often_that_it_has_to_rest_is_answered_still_and_let_in_once_there_is_room() -> None:
    live = started("--most", "1", "--deadline-s", "60")
    waiting, many = connected(live), 100  # three times as many as are refused without a rest
    waiting.sendall(post(WAIT))
    until(lambda: metric(live, "headrace_requests_pending") == 1, "one request under way")
    with connected(live) as connection:
        for _ in range(many):
            connection.sendall(post(AMOUNT))
            assert answer(connection)[0] == 429
        assert metric(live, counted(429)) == many
        waiting.close()
        until(lambda: metric(live, "headrace_requests_pending") == 0, "room")
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] in (200, 429)  # sent while it rested, it may have waited too long
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0


def test_over_grpc_what_there_is_no_room_for_is_refused_and_a_call_given_up_makes_room() -> None:
    live = started("--most", "1", "--deadline-s", "60")
    with grpc.insecure_channel(live.grpc) as channel:
        ask = channel.unary_unary(ASK, lambda message: message.SerializeToString())
        waiting = ask.future(call_of("wait"))
        until(lambda: metric(live, "headrace_requests_pending") == 1, "one call under way")
        with pytest.raises(grpc.RpcError) as refused:
            ask(call_of("amount"), timeout=20)
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, FULL)
        assert metric(live, counted(429)) == 1
        waiting.cancel()
        until(lambda: metric(live, "headrace_requests_pending") == 0, "room")
        assert ask(call_of("amount"), timeout=20)
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0


def test_a_message_that_is_too_large_is_refused_before_it_is_read(echo: Live) -> None:
    with grpc.insecure_channel(echo.grpc) as channel:
        ask = channel.unary_unary(ASK, lambda message: message)
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"x" * (2 << 20), timeout=20)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_deadline_ends_a_request_over_both_doors(echo: Live) -> None:
    began = time.monotonic()
    with connected(echo) as connection:
        connection.sendall(post(WAIT, "headrace-deadline-ms: 50"))
        status, _, told = answer(connection)
    assert (status, json.loads(told)) == (
        504,
        {"error": "model 'echo' had no answer when the request's deadline passed: 50 ms were allowed"},
    )
    with grpc.insecure_channel(echo.grpc) as channel, pytest.raises(grpc.RpcError) as late:
        channel.unary_unary(ASK, lambda message: message.SerializeToString())(call_of("wait"), timeout=0.2)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 20
    until(lambda: metric(echo, "headrace_requests_pending") == 0, "that nothing is left of them")


def test_what_is_no_grpc_ends_its_connection_and_nothing_else(echo: Live) -> None:
    nobody = Live(echo.process, echo.grpc, echo.grpc)
    with connected(nobody) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
        while connection.recv(1 << 16):
            pass
    with grpc.insecure_channel(echo.grpc) as channel:
        ask = channel.unary_unary(ASK, lambda message: message.SerializeToString())
        assert ask(call_of("amount"), timeout=20)


def call_of(name: str) -> object:
    """Return a request with one tensor."""
    message = INFERENCE["ModelInferRequest"](model_name="echo")
    message.inputs.add(name=name, datatype="FP64", shape=[1]).contents.fp64_contents.append(1.5)
    return message
