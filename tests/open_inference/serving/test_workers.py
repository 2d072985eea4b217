"""Several processes on one port: one view of their metrics, one readiness, and somebody who starts them anew."""

from __future__ import annotations

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from headrace.cores import as_cores_allow
from headrace.open_inference.grpc.messages import INFERENCE
from tests.descriptors import sockets_of
from tests.open_inference.live import Live, launched, started
from tests.open_inference.sockets import AMOUNT, answer, connected, metric, post, until
from tests.open_inference.test_overload import ASK, call_of

STATISTICS, ANSWERED = "/inference.GRPCInferenceService/ModelStatistics", INFERENCE["ModelStatisticsResponse"]


@pytest.fixture(scope="module")
def two() -> Iterator[Live]:
    """Two workers; they end in order, however often they were started anew."""
    live = started("--workers", "2")
    until(lambda: ready(live)[0] == 200, "that both are ready")
    yield live
    live.process.send_signal(signal.SIGTERM)
    assert live.process.wait(20) == 0


def ready(live: Live) -> tuple[int, str]:
    """Return the status of the readiness route, and why it is not ready."""
    with connected(live) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        try:
            status, _, told = answer(connection)
        except (ConnectionResetError, IndexError):
            return 0, "the one that was asked has just died"
    return status, json.loads(told).get("error", "")


def statistics(live: Live) -> dict[str, Any]:
    """Return the statistics of the one model."""
    with urllib.request.urlopen(f"http://{live.http}/v2/models/echo/stats", timeout=20) as said:
        (told,) = json.loads(said.read())["model_stats"]
    return told


def workers(live: Live) -> list[int]:
    """Return the processes that a parent has started."""
    children = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text()
    return [int(number) for number in children.split()]


def test_connections_and_calls_reach_all_of_them_and_their_metrics_are_one(two: Live) -> None:
    assert metric(two, "echo_up") == 2
    opened = metric(two, "headrace_connections_opened_total")
    kept = [connected(two) for _ in range(40)]
    for connection in kept:
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
    assert metric(two, "headrace_connections") >= 40
    assert metric(two, "headrace_connections_opened_total") >= opened + 40
    for connection in kept:
        connection.close()
    sockets = [inodes(number) for number in workers(two)]
    assert all(len(each) >= 2 for each in sockets)  # each listens at both ports
    with grpc.insecure_channel(two.grpc) as channel:
        assert channel.unary_unary(ASK, lambda message: message.SerializeToString())(call_of("amount"), timeout=20)


def test_statistics_are_those_of_all(two: Live) -> None:
    def told() -> list[dict[str, int]]:
        with grpc.insecure_channel(two.grpc) as channel:
            ask = channel.unary_unary(STATISTICS, lambda message: message.SerializeToString(), ANSWERED.FromString)
            (over_grpc,) = ask(INFERENCE["ModelStatisticsRequest"](name="echo"), timeout=20).model_stats
        over_http = statistics(two)
        names = "execution_count", "inference_count", "last_inference"
        return [{name: getattr(over_grpc, name) for name in names}, {name: over_http[name] for name in names}]

    before, same = told()
    assert before == same
    asked = [connected(two) for _ in range(40)]  # at both workers, but for a chance of one in 2**39
    for connection in asked:
        connection.sendall(post(AMOUNT))
        assert answer(connection)[0] == 200
        connection.close()
    after, same = told()
    assert after == same
    assert after["execution_count"] - before["execution_count"] == 40
    assert after["inference_count"] - before["inference_count"] == 40
    assert after["last_inference"] > before["last_inference"]


def inodes(number: int) -> set[str]:
    """Return the sockets of a process that listen."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    table += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    listening = {fields[9] for fields in table if fields[3] == "0A"}
    return listening & sockets_of(number)


def test_one_that_dies_makes_the_whole_not_ready_and_is_started_anew(two: Live) -> None:
    before = workers(two)
    os.kill(before[0], signal.SIGKILL)
    until(lambda: ready(two)[0] == 503, "that it is not ready")
    until(lambda: ready(two)[0] == 200, "that it is ready again")
    after = workers(two)
    assert len(after) == 2
    assert before[1] in after
    assert before[0] not in after
    assert metric(two, "echo_up") == 2


def test_what_was_counted_is_not_lost_with_who_counted_it(two: Live) -> None:
    def counted() -> tuple[float, int]:
        return metric(two, "headrace_connections_opened_total"), statistics(two)["execution_count"]

    for _ in range(20):
        with connected(two) as connection:
            connection.sendall(post(AMOUNT))
            assert answer(connection)[0] == 200
    connections, answers = counted()
    assert answers >= 20
    for number in workers(two):
        os.kill(number, signal.SIGKILL)
        until(lambda: ready(two)[0] == 503, "that it is not ready")
        until(lambda: ready(two)[0] == 200, "that it is ready again")
    after = counted()
    assert after[0] >= connections
    assert after[1] == answers
    assert metric(two, "echo_up") == 2


def test_they_end_when_their_parent_is_killed() -> None:
    live = started("--workers", "2")
    left = workers(live)
    live.process.kill()
    live.process.wait(20)
    until(lambda: not any(Path(f"/proc/{number}").exists() for number in left), "that they end")


def test_a_taken_port_is_told_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launched("--workers", "2", "--http-port", str(port))
        said, complained = process.communicate(timeout=20)
    assert (process.returncode, said) == (1, "")
    assert complained.endswith(
        f"port {port} on 127.0.0.1 is taken, needs a free one, or 0 for any: nothing was started\n"
    )


def test_one_that_cannot_start_ends_all_of_them() -> None:
    process = launched("--workers", "2", "--tls", "no-certificate", "no-key", "")
    said, complained = process.communicate(timeout=30)
    assert (process.returncode, said) == (1, "")
    assert "ended with code 1 before it listened: all are stopped\n" in complained


def test_there_are_no_more_than_cores(capsys: pytest.CaptureFixture[str]) -> None:
    assert as_cores_allow(100, 4) == 4
    assert capsys.readouterr().out == "100 workers were asked for, 4 are started: one for each core\n"
    assert as_cores_allow(2, 4) == 2
    assert capsys.readouterr().out == ""


def test_the_metrics_of_all_can_be_asked_of_any(two: Live) -> None:
    for _ in range(8):
        with urllib.request.urlopen(f"http://{two.http}/metrics", timeout=20) as told:
            assert told.read().decode().count("echo_up 2.0") == 1
