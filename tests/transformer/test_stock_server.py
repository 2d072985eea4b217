"""The same transformer under kserve's own server: the same answers, whatever way it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import numpy as np
import pytest

from headrace.cli.broker import free_port
from headrace.cli.stack import Server, server, wait_ready
from headrace.open_inference.grpc.messages import INFERENCE
from tests.end_to_end.asking import INFER, PREDICT, ask, binary, infer, instances
from tests.end_to_end.ground import OUTPUT, Ground, serving
from tests.end_to_end.payments import Columns, asked

ROWS = (1, 20)
TIME = "0.001 ms were allowed"
SPOILED = "headrace_degraded_rows"


@pytest.fixture(scope="module")
def sides(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """The lean server and the stock one in front of one predictor."""
    logs = tmp_path_factory.mktemp("logs")
    with ExitStack() as running:
        predictor, lean = running.enter_context(serving(ground, logs))
        flags = ["--store", str(ground.store), "--predictor_host", predictor.http]
        flags += ["--http_port", str(free_port()), "--grpc_port", str(free_port())]
        stock = running.enter_context(server("tests.transformer.stock", flags, logs))
        wait_ready(stock)
        yield {"lean": lean, "stock": stock, "predictor": predictor}


def v2_json(side: Server, columns: Columns) -> list[float]:
    return infer(side.http, columns, headrace_deadline_ms="20000", Content_Type="application/json").output(OUTPUT)


def v2_binary(side: Server, columns: Columns) -> list[float]:
    body, headers = binary(columns, OUTPUT)
    headers |= {"Content_Type": "application/octet-stream", "headrace_deadline_ms": "20000"}
    return ask(side.http, "POST", INFER, body, **headers).output(OUTPUT)


def v1(side: Server, columns: Columns) -> list[float]:
    body = {"instances": instances(columns)}
    said = ask(side.http, "POST", PREDICT, body, Content_Type="application/json", headrace_deadline_ms="20000")
    return [row[OUTPUT] for row in said.json["predictions"]]


def over_grpc(side: Server, columns: Columns) -> list[float]:
    answer = infer_grpc(side.grpc, columns)
    if answer.raw_output_contents:
        return np.frombuffer(answer.raw_output_contents[0], np.float32).tolist()
    return list(answer.outputs[0].contents.fp32_contents)


def infer_grpc(address: str, columns: Columns) -> Any:
    """Ask over gRPC with our private messages: kserve's and Triton's cannot both live in one process."""
    message = INFERENCE["ModelInferRequest"](model_name="fraud", id="r5")
    for name, values in columns.items():
        kind = {"i": "INT64", "f": "FP64"}[values.dtype.kind]
        message.inputs.add(name=name, datatype=kind, shape=[values.size])
        message.raw_input_contents.append(values.tobytes())
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=INFERENCE["ModelInferRequest"].SerializeToString,
            response_deserializer=INFERENCE["ModelInferResponse"].FromString,
        )
        return call(message, timeout=20)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("way", [v2_json, v2_binary, v1, over_grpc])
def test_both_servers_give_the_same_probabilities(
    sides: dict[str, Server], ground: Ground, way: Any, rows: int
) -> None:
    columns = asked(rows)
    found = {side: way(sides[side], columns) for side in ("lean", "stock")}
    assert found["stock"] == pytest.approx(found["lean"], abs=1e-7)
    assert found["stock"] == pytest.approx(ground.probabilities(columns).tolist(), abs=1e-6)


def test_extras_and_statuses(sides: dict[str, Server], ground: Ground) -> None:
    columns = asked(4)
    columns["latitude"][1] = 91
    for side in ("lean", "stock"):
        said = infer(sides[side].http, columns, OUTPUT, "row_status", "features", Content_Type="application/json")
        assert said.status == 200, said.body
        assert [output["name"] for output in said.json["outputs"]] == [OUTPUT, "row_status", "features"]
        assert said.output("row_status")[:2] == ["ok", "latitude invalid"]
        features = np.array(said.output("features"), np.float32).reshape(4, -1)
        np.testing.assert_array_equal(features[0], ground.features(columns)[0])
        assert said.json["parameters"] == {SPOILED: 1}
        assert infer_grpc(sides[side].grpc, columns).parameters[SPOILED].int64_param == 1


def test_the_id_is_given_back(sides: dict[str, Server]) -> None:
    assert infer_grpc(sides["stock"].grpc, asked(2)).id == "r5"


def test_refusals_are_refusals_there_too(sides: dict[str, Server]) -> None:
    address = sides["stock"].http
    plain = {"Content_Type": "application/json"}
    columns = asked(2)
    columns["ammount"] = columns.pop("amount")
    said = infer(address, columns, **plain)
    assert (said.status, "did you mean 'amount'?" in said.error) == (400, True)
    said = infer(address, asked(2), "score", **plain)
    assert (said.status, "output 'score' is unknown" in said.error) == (400, True)
    said = infer(address, asked(2), headrace_deadline_ms="soon", **plain)
    assert (said.status, "needs milliseconds" in said.error) == (400, True)
    said = ask(address, "POST", PREDICT, {"instances": [7]}, **plain)
    assert (said.status, "is not a list of objects" in said.error) == (400, True)
    with pytest.raises(grpc.RpcError) as refused:
        infer_grpc(sides["stock"].grpc, columns)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert infer(address, asked(2), **plain).status == 200


def test_a_refusal_has_the_same_status_and_words_there(sides: dict[str, Server]) -> None:
    plain = {"Content_Type": "application/json"}
    for columns, deadline, status in ((asked(2), "0.001", 504), (asked(10_001), "20000", 413)):
        said = [infer(sides[side].http, columns, headrace_deadline_ms=deadline, **plain) for side in ("lean", "stock")]
        assert [one.status for one in said] == [status, status]
        # Whoever notices first that it is late has words of its own.
        assert said[0].error == said[1].error or {one.error.rpartition(": ")[2] for one in said} == {TIME}
    with pytest.raises(grpc.RpcError) as refused:
        infer_grpc(sides["stock"].grpc, asked(10_001))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_both_tell_the_same_of_inputs_and_outputs(sides: dict[str, Server]) -> None:
    told = {side: ask(sides[side].http, "GET", "/v2/models/fraud").json for side in ("lean", "stock")}
    for side in ("inputs", "outputs"):
        bare = [{key: tensor[key] for key in ("name", "datatype", "shape")} for tensor in told["lean"][side]]
        assert [{key: tensor[key] for key in ("name", "datatype", "shape")} for tensor in told["stock"][side]] == bare
    first = told["lean"]["inputs"][0]
    assert first["parameters"] == {"required": True, "meaning": "The card.", "example": 1}


def test_without_its_predictor_it_is_not_ready_and_says_why(sides: dict[str, Server]) -> None:
    """The last of this file: the predictor does not come back."""
    sides["predictor"].process.terminate()
    assert sides["predictor"].process.wait(20) == 0
    stock = sides["stock"].http
    said = infer(stock, asked(1), Content_Type="application/json")
    assert said.status == 503
    assert "the predictor" in said.json["error"]
    ready = ask(stock, "GET", "/v2/models/fraud/ready")
    assert ready.status == 503
    assert "the predictor" in ready.body.decode()
