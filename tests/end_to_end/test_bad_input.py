"""Bad requests are refused with a reason, spoil nobody else's, and leave the server as it was."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from headrace.cli.stack import Server
from tests.end_to_end.asking import INFER, PREDICT, Said, ask, binary, infer, request, tensor
from tests.end_to_end.ground import OUTPUT, PATIENT_MS, Ground
from tests.end_to_end.payments import Columns, asked

HERE = Path(__file__).parent
SECRET = 4711.125  # an amount that no message may repeat
DEGRADED = "headrace_degraded_rows"


@pytest.fixture(autouse=True)
def unharmed(live: Server, ground: Ground) -> Iterator[None]:
    """After each test the process lives, and the next good request is answered rightly."""
    yield
    live.check()
    good = asked(2)
    assert infer(live.http, good).output(OUTPUT) == pytest.approx(ground.probabilities(good), abs=1e-6)


def one(**changed: Any) -> Columns:
    """Return a good single row with some columns in other words; None leaves a column out."""
    columns = asked(3)
    row = {name: values[:1] for name, values in columns.items()} | {"amount": np.array([SECRET])}
    row |= {name: np.array([value]) for name, value in changed.items() if value is not None}
    return {name: values for name, values in row.items() if changed.get(name, values) is not None}


def refused(said: Said, status: int = 400) -> str:
    """Return the reason of a refusal, in which no value of the request is repeated."""
    assert said.status == status, said.body[:300]
    reason = said.error
    assert str(SECRET) not in reason
    assert str(asked(3)["cc_num"][0]) not in reason
    assert len(reason) < 700
    return reason


def in_every_form(address: str, columns: Columns) -> list[Said]:
    """Ask in JSON and in binary."""
    body, headers = binary(columns)
    return [infer(address, columns), ask(address, "POST", INFER, body, **headers)]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"amount": None, "ammount": SECRET}, "input 'ammount' is unknown, needs one of cc_num, terminal_id, datetime"),
        ({"amount": None, "ammount": SECRET}, "; did you mean 'amount'?"),
        ({"zzz": SECRET}, "input 'zzz' is unknown, needs one of cc_num"),
        ({"amount": None}, "input 'amount' is missing, got cc_num, terminal_id, datetime"),
        ({"cc_num": None, "terminal_id": None}, "input 'cc_num', 'terminal_id' is missing"),
        ({"cc_num": 4.5}, "input 'cc_num' has datatype FP64, needs one of INT64, INT32"),
        ({"amount": True}, "input 'amount' has datatype BOOL, needs one of FP64, FP32"),
        ({"datetime": 1.5}, "input 'datetime' has datatype FP64, needs one of INT64, UINT64, BYTES"),
        ({"amount": np.nan}, "no row can be answered: amount is missing, infinite or out of range, needs a number"),
        ({"amount": -1.0}, "no row can be answered: amount is missing, infinite or out of range"),
        ({"latitude": 90.5}, "latitude is missing, infinite or out of range, needs a number from -90 to 90"),
        ({"longitude": -180.5}, "longitude is missing, infinite or out of range, needs a number from -180 to 180"),
        ({"card_present": 2.0}, "card_present is neither true nor false, needs one of them, or 1 or 0"),
        ({"datetime": 10**17}, "datetime is not an instant, needs epoch milliseconds or ISO 8601"),
    ],
)
def test_a_single_row_that_cannot_be_answered(live: Server, changed: dict[str, Any], reason: str) -> None:
    for said in in_every_form(live.http, one(**changed)):
        assert reason in refused(said)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinity_in_a_single_row(live: Server, value: float) -> None:
    """JSON has no infinity: as a bare word it is no JSON, and beyond a double it is none either."""
    body, headers = binary(one(amount=value))
    assert "amount is missing, infinite" in refused(ask(live.http, "POST", INFER, body, **headers))
    spoiled = orjson.dumps(request(one())).replace(b"4711.125", str(value).replace("inf", "Infinity").encode())
    assert "the body is not JSON" in refused(ask(live.http, "POST", INFER, spoiled))


def test_a_number_beyond_a_double(live: Server) -> None:
    spoiled = orjson.dumps(request(one())).replace(b"4711.125", b"1e999")
    assert refused(ask(live.http, "POST", INFER, spoiled))


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [
        ("amount", np.nan, "amount invalid"),
        ("amount", np.inf, "amount invalid"),
        ("latitude", 91.0, "latitude invalid"),
        ("datetime", 10**17, "datetime invalid"),
    ],
)
def test_a_bad_row_spoils_no_neighbour(live: Server, ground: Ground, column: str, value: Any, status: str) -> None:
    columns = asked(6)
    right = ground.probabilities(columns)
    columns[column][2] = value
    body, headers = binary(columns, OUTPUT, "row_status")
    said = ask(live.http, "POST", INFER, body, **headers)
    assert said.status == 200
    assert said.json["parameters"] == {DEGRADED: 1}
    found = np.array(said.output(OUTPUT))
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(found[others], right[others], rtol=0, atol=1e-6)
    assert 0 <= found[2] <= 1
    statuses = said.output("row_status")
    assert status in statuses[2]
    assert [statuses[row] for row in others[:-1]] == ["ok"] * 4


def test_a_key_never_seen_is_answered_and_said(live: Server, ground: Ground) -> None:
    columns = one(cc_num=17)
    said = infer(live.http, columns, OUTPUT, "row_status", "feature_age_ms")
    assert said.status == 200
    assert said.output("row_status") == ["card_activity missing"]
    assert said.output("feature_age_ms")[0] == -1
    assert said.output(OUTPUT) == pytest.approx(ground.probabilities(columns), abs=1e-6)
    assert "parameters" not in said.json


@pytest.mark.parametrize("key", [-(2**63), 2**63 - 1, 0])
def test_keys_at_the_ends_of_int64(live: Server, key: int) -> None:
    for said in in_every_form(live.http, one(cc_num=np.int64(key))):
        assert said.status == 200


def test_an_empty_batch(live: Server) -> None:
    nothing = {name: values[:0] for name, values in asked(1).items()}
    for said in in_every_form(live.http, nothing):
        assert refused(said) == "the request has 0 rows, needs at least 1"
    assert "the request has no inputs" in refused(ask(live.http, "POST", INFER, {"inputs": []}))


def test_columns_of_unequal_length(live: Server) -> None:
    columns = asked(3) | {"amount": np.array([SECRET, SECRET])}
    for said in in_every_form(live.http, columns):
        assert refused(said) == "input 'amount' has 2 rows, needs 3 like the columns before it"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"shape": [2]}, "tensor 'amount' has 1 elements, needs 2 for shape [2]"),
        ({"shape": [1, 1, 1]}, "input 'amount' has shape [1, 1, 1], needs [n] or [n, 1]"),
        ({"shape": []}, "input 'amount' has shape [], needs [n] or [n, 1]"),
        ({"shape": [-1]}, "tensor 'amount' has a negative dimension"),
        ({"shape": [2**40, 2**40]}, "has a shape of more than 2147483647 elements"),
        ({"shape": "1"}, "tensor 'amount' has no shape that is a list of integers"),
        ({"datatype": "FLOAT"}, "tensor 'amount' has datatype 'FLOAT', needs one of"),
        ({"datatype": "BYTES"}, "tensor 'amount' holds number, needs strings for BYTES"),
        ({"data": ["a lot"]}, "tensor 'amount' holds string, needs numbers for FP64"),
        ({"data": [[SECRET], [SECRET]]}, "tensor 'amount' has lists nested unlike its shape"),
        ({"data": SECRET}, "tensor 'amount' has no data that is a list"),
        ({"name": None}, "an input has no name"),
        ({"parameters": {"binary_data_size": 8}}, "has a binary_data_size unlike the 0 bytes"),
    ],
)
def test_a_tensor_that_contradicts_itself(live: Server, changed: dict[str, Any], reason: str) -> None:
    inputs = [tensor(name, values) for name, values in one(amount=None).items()]
    inputs.append(tensor("amount", [SECRET]) | changed)
    assert reason in refused(ask(live.http, "POST", INFER, {"inputs": inputs}))


def test_a_binary_body_that_is_cut_or_too_long(live: Server) -> None:
    body, headers = binary(one())
    for spoiled in (body[:-1], body + b"\0"):
        assert "bytes" in refused(ask(live.http, "POST", INFER, spoiled, **headers))
    for length in ("-1", "many", str(len(body) + 1)):
        assert refused(ask(live.http, "POST", INFER, body, Inference_Header_Content_Length=length))


def test_more_rows_than_are_answered_at_once(live: Server) -> None:
    many = {name: np.repeat(values[:1], 100_000) for name, values in asked(1).items()}
    for said in in_every_form(live.http, many):
        assert refused(said, 413) == "input 'cc_num' has 100000 rows, needs at most 10000"
    most = {name: values[:10_000] for name, values in many.items()}
    assert len(infer(live.http, most).output(OUTPUT)) == 10_000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body has 0 bytes, needs a JSON object"),
        (b"amount=4711.125", "the body is not JSON"),
        (b"[]", "the body is a JSON list, needs an object"),
        (b'{"inputs": {}}', "the request has no inputs"),
        (b'{"inputs": [7]}', "an input has no name"),
        (b"\xff\xfe\x00", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b'{"inputs":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "the body is not JSON"),
    ],
)
def test_a_body_that_is_no_request(live: Server, body: bytes, reason: str) -> None:
    assert reason in refused(ask(live.http, "POST", INFER, body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "the body is not JSON"),
        (b"{}", "the body has no instances"),
        ({"instances": []}, "'instances' has 0 rows, needs at least 1"),
        ({"instances": [[1, 2]]}, "'instances' is not a list of objects"),
        ({"instances": [{"cc_num": 1, "terminal_id": 1}]}, "input 'amount' is missing"),
        ({"instances": [{"cc_num": 1, "terminal_id": 1, "ammount": SECRET}]}, "did you mean 'amount'?"),
        ({"instances": [{"cc_num": "x", "terminal_id": 1, "amount": SECRET}]}, "'cc_num' holds a str in an instance"),
        ({"instances": [{"cc_num": None, "terminal_id": 1, "amount": SECRET}]}, "'cc_num' is null in an instance"),
        ({"instances": [{"cc_num": 1, "terminal_id": 1, "amount": None}]}, "amount is missing, infinite or out of"),
        ({"instances": [{"cc_num": 1, "terminal_id": 1, "amount": {}}]}, "'amount' holds a dict in an instance"),
        ({"instances": [{"cc_num": 1, "terminal_id": 1, "amount": 1, "datetime": "never"}]}, "is not an instant"),
    ],
)
def test_v1_instances_that_cannot_be_answered(live: Server, body: Any, reason: str) -> None:
    assert reason in refused(ask(live.http, "POST", PREDICT, body))


def test_more_v1_instances_than_are_answered_at_once(live: Server) -> None:
    row = {"cc_num": 1, "terminal_id": 1, "amount": 1.0}
    assert "needs at most 10000" in refused(ask(live.http, "POST", PREDICT, {"instances": [row] * 10_001}), 413)


def test_what_is_not_there(live: Server) -> None:
    good = request(one())
    for path in ("/v2/models/frod/infer", "/v1/models/frod:predict"):
        assert "needs one of" in refused(ask(live.http, "POST", path, good), 404)
    versioned = refused(ask(live.http, "POST", "/v2/models/fraud/versions/9/infer", good), 404)
    assert versioned == "model 'fraud' has no version '9', and no versions at all: needs to be asked without one"
    for path in ("/v2/models/frod", "/v2/models/frod/ready", "/nothing", "/v2/models/fraud/explain"):
        assert refused(ask(live.http, "GET", path), 404)
    assert refused(ask(live.http, "GET", INFER), 405)
    assert "/etc" not in refused(ask(live.http, "GET", "/v2/models/..%2f..%2fetc%2fpasswd"), 404)


def test_an_unknown_output_and_the_known_ones(live: Server) -> None:
    reason = refused(infer(live.http, one(), "score"))
    known = "fraud_probability, features, feature_age_ms, row_status, stage_ms"
    assert reason == f"output 'score' is unknown, needs one of {known}"
    assert "twice" in refused(infer(live.http, one(), OUTPUT, OUTPUT))


@pytest.mark.parametrize("said", ["soon", "-1", "0", "nan", "inf", "1e400", ""])
def test_a_deadline_that_is_none(live: Server, said: str) -> None:
    reason = refused(infer(live.http, one(), headrace_deadline_ms=said))
    assert reason == "the header headrace-deadline-ms is no positive number, needs milliseconds such as 50"


def test_a_deadline_that_passes(live: Server) -> None:
    assert "deadline passed" in refused(infer(live.http, one(), headrace_deadline_ms="0.001"), 504)
    assert infer(live.http, one(), headrace_deadline_ms=str(PATIENT_MS)).status == 200


def test_a_body_that_is_too_large(live: Server) -> None:
    """Announced, sent in chunks without an end, or small until it is unpacked."""
    limit = 16 << 20
    host, _, port = live.http.partition(":")
    head = f"POST {INFER} HTTP/1.1\r\nHost: {live.http}\r\n"
    with socket.create_connection((host, int(port)), timeout=60) as wire, wire.makefile("rb") as reader:
        wire.sendall(f"{head}Content-Length: {limit + 1}\r\n\r\n".encode())
        assert reader.readline().split()[1] == b"413"
    with socket.create_connection((host, int(port)), timeout=60) as wire, wire.makefile("rb") as reader:
        wire.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        with suppress(ConnectionError):  # it hangs up once the bound is passed, and what it said is there to be read
            for _ in range(17):
                wire.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
        assert reader.readline().split()[1] == b"413"
    bomb = gzip.compress(b" " * (limit + 1))
    assert "needs at most" in refused(ask(live.http, "POST", INFER, bomb, Content_Encoding="gzip"), 413)


def test_the_same_over_grpc(live: Server) -> None:
    """With tritonclient's stubs, in a process of their own."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / "judge_refusals.py"), live.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr
