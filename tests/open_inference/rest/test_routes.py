"""Every route over a real socket: methods, versions, slashes, percent signs, statistics and large answers."""

from __future__ import annotations

import gzip
import http.client
import zlib
from typing import Any

import numpy as np
import orjson
import pytest

from headrace.open_inference import InferRequest, Tensor, decode_response, encode_request, make_app
from headrace.open_inference.errors import CONTROL_IS_OFF
from headrace.open_inference.rest.coding import PACK_FROM, chosen
from tests.open_inference.asking import Said, ask
from tests.open_inference.echo_server import Echo
from tests.open_inference.live import Live

INFER = "/v2/models/echo/infer"


def call(live: Live, method: str, path: str, body: bytes = b"", **headers: str) -> Said:
    connection = http.client.HTTPConnection(live.http, timeout=20)
    try:
        connection.request(method, path, body or None, {k.replace("_", "-"): v for k, v in headers.items()})
        said = connection.getresponse()
        return Said(said.status, {k.lower(): v for k, v in said.getheaders()}, said.read())
    finally:
        connection.close()


def amounts(*values: float, **more: Any) -> bytes:
    tensor = {"name": "amount", "shape": [len(values)], "datatype": "FP64", "data": values}
    return orjson.dumps({"inputs": [tensor], **more})


ASKED = "GET, HEAD, OPTIONS"
METHODS = {
    "/": ASKED,
    "/v2": ASKED,
    "/v2/": ASKED,
    "/v2/health/live": ASKED,
    "/v2/health/ready/": ASKED,
    "/livez": ASKED,
    "/readyz": ASKED,
    "/metrics": ASKED,
    "/v2/models": ASKED,
    "/v2/models/stats": ASKED,
    "/v2/models/echo": ASKED,
    "/v2/models/echo/": ASKED,
    "/v2/models/echo/ready": ASKED,
    "/v2/models/echo/config": ASKED,
    "/v2/models/echo/stats": ASKED,
    "/v2/models/echo/versions/1": ASKED,
    "/v2/models/echo/versions/1/ready": ASKED,
    "/v2/models/echo/versions/1/config": ASKED,
    "/v2/models/echo/versions/1/stats": ASKED,
    "/openapi.json": ASKED,
    "/docs": ASKED,
    "/v1/models": ASKED,
    "/v1/models/echo": ASKED,
    "/v2/models/echo/infer": "POST, OPTIONS",
    "/v2/models/echo/versions/1/infer": "POST, OPTIONS",
    "/v2/repository/index": "POST, OPTIONS",
    "/v2/repository/models/echo/load": "POST, OPTIONS",
    "/v2/repository/models/echo/unload": "POST, OPTIONS",
    "/v1/models/echo:predict": "POST, OPTIONS",
}


@pytest.mark.parametrize("path", METHODS)
def test_a_route_says_by_what_it_can_be_asked(echo: Live, path: str) -> None:
    options = call(echo, "OPTIONS", path)
    assert (options.status, options.headers["allow"], options.body) == (204, METHODS[path], b"")
    refused = call(echo, "DELETE", path)
    assert (refused.status, refused.headers["allow"]) == (405, METHODS[path])
    assert list(refused.json) == ["error"]
    if METHODS[path] == ASKED:
        got, head = call(echo, "GET", path), call(echo, "HEAD", path)
        assert (got.status, head.status, head.body) == (200, 200, b"")
        assert head.headers["content-length"] == str(len(got.body))
        assert b":null" not in got.body
    else:
        assert call(echo, "GET", path).status == call(echo, "HEAD", path).status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/v3",
        "/v2/model",
        "/v2/models/nobody",
        "/v2/models/echo/versions/9",
        "/v2/models/echo/x",
        "//v2//models",
        "/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_what_is_not_there_is_404_with_an_error_and_no_more(echo: Live, method: str, path: str) -> None:
    said = call(echo, method, path)
    assert said.status == 404
    assert list(said.json) == ["error"]


def test_the_name_of_a_model_may_be_written_with_percent_signs(echo: Live) -> None:
    said = call(echo, "POST", "/v2/models/%65ch%6F/infer?trace=1", amounts(1.5))
    assert (said.status, said.json["model_name"]) == (200, "echo")
    odd = make_app({"a b/ü": Echo("a b/ü")})
    assert ask(odd, "GET", "/v2/models/a b/ü").status == 404
    said_of = ask(odd, "GET", "", raw_path="/v2/models/a%20b%2F%C3%BC/ready")
    assert said_of.json == {"name": "a b/ü", "ready": True}


@pytest.mark.parametrize("what", ["load", "unload"])
def test_models_are_not_loaded_by_request(echo: Live, what: str) -> None:
    said = call(echo, "POST", f"/v2/repository/models/echo/{what}", b"{}")
    assert (said.status, said.json) == (400, {"error": CONTROL_IS_OFF})
    assert call(echo, "POST", f"/v2/repository/models/nobody/{what}").status == 404


def test_an_answer_has_the_id_that_was_given_and_none_where_none_was(echo: Live) -> None:
    assert call(echo, "POST", INFER, amounts(1.5, id="r7")).json["id"] == "r7"
    assert "id" not in call(echo, "POST", INFER, amounts(1.5)).json


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain", "application/octet-stream"])
def test_the_content_type_of_a_request_does_not_matter(echo: Live, kind: str) -> None:
    headers = {"content_type": kind} if kind else {}
    assert call(echo, "POST", INFER, amounts(1.5), **headers).status == 200


@pytest.mark.parametrize("body", [b'{"inputs": "\xff"}', b'{"id": "\\ud800", "inputs": []}', b'{"a": NaN}', b"[", b""])
def test_what_is_no_json_is_refused(echo: Live, body: bytes) -> None:
    said = call(echo, "POST", INFER, body)
    assert said.status == 400
    assert said.json["error"].startswith("the body ")


def test_json_and_binary_may_be_mixed_both_ways(echo: Live) -> None:
    """One input in JSON and one in bytes, one output in each, in the order they are asked for."""
    raw = np.arange(3, dtype="f4").tobytes()
    head = orjson.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [3], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}},
                {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["käse"]},
            ],
            "outputs": [{"name": "b", "parameters": {"binary_data": False}}, {"name": "a"}],
            "parameters": {"binary_data_output": True},
        }
    )
    said = call(echo, "POST", INFER, head + raw, inference_header_content_length=str(len(head)))
    length = int(said.headers["inference-header-content-length"])
    assert [output["name"] for output in orjson.loads(said.body[:length])["outputs"]] == ["b", "a"]
    found = decode_response(said.body, length)
    assert (found.output("a").tolist(), found.output("b").tolist()) == ([0, 1, 2], ["käse".encode()])


def test_bytes_that_are_no_text_are_asked_for_as_bytes(echo: Live) -> None:
    tensor = Tensor.of("a", np.array([b"\xff\xfe"], dtype=object))
    body, length = encode_request(InferRequest("echo", inputs={"a": tensor}))
    said = call(echo, "POST", INFER, body, inference_header_content_length=str(length))
    found = decode_response(said.body, int(said.headers["inference-header-content-length"]))
    assert found.output("a").tolist() == [b"\xff\xfe"]
    plain = body.replace(b'"binary_data_output":true', b'"binary_data_output":null')
    said = call(echo, "POST", INFER, plain, inference_header_content_length=str(length))
    assert said.status == 400
    assert "not UTF-8" in said.json["error"]


LARGE = [i + 0.125 for i in range(10_000)]


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [("gzip", "gzip"), ("deflate", "deflate"), ("br, gzip;q=0.1", "gzip"), ("identity", None), ("gzip;q=0.0", None)],
)
def test_a_large_answer_is_packed_for_who_asks(echo: Live, accepted: str, coding: str | None) -> None:
    said = call(echo, "POST", INFER, amounts(*LARGE), accept_encoding=accepted)
    assert said.headers.get("content-encoding") == coding
    plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[coding](said.body)
    assert orjson.loads(plain)["outputs"][0]["data"] == LARGE
    assert len(plain) > PACK_FROM


def test_a_large_answer_of_v1_is_packed_too(echo: Live) -> None:
    instances = {"instances": LARGE}
    said = call(echo, "POST", "/v1/models/echo:predict", orjson.dumps(instances), accept_encoding="gzip")
    assert orjson.loads(gzip.decompress(said.body)) == {"predictions": LARGE}


def test_a_small_answer_is_never_packed(echo: Live) -> None:
    assert "content-encoding" not in call(echo, "POST", INFER, amounts(1.5), accept_encoding="gzip").headers
    assert chosen(b"*") is None


def test_statistics_add_up(echo: Live) -> None:
    def told() -> dict[str, Any]:
        (found,) = call(echo, "GET", "/v2/models/echo/versions/1/stats").json["model_stats"]
        return found

    before = told()
    for body in (amounts(1.5, 2.5), amounts(1.5), b"{"):
        call(echo, "POST", INFER, body)
    after = told()
    assert (after["name"], after["version"]) == ("echo", "1")
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 2
    assert after["last_inference"] > 1_600_000_000_000
    counted = {
        name: after["inference_stats"][name]["count"] - before["inference_stats"][name]["count"]
        for name in after["inference_stats"]
    }
    stages = {"compute_input": 2, "compute_infer": 2, "compute_output": 2}
    assert counted == {"success": 2, "fail": 1, "queue": 0, **stages, "cache_hit": 0, "cache_miss": 0}
    taken = after["inference_stats"]
    assert taken["success"]["ns"] == sum(taken[stage]["ns"] for stage in stages) > 0
    assert call(echo, "GET", "/v2/models/stats").json["model_stats"] == [after]
    assert call(echo, "GET", "/v2/models/echo/stats").json["model_stats"] == [after]
