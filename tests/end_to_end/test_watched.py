"""A real transformer whose requests are watched: traces at a real receiver, predictions in files, ids in answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from click.testing import CliRunner

from applications.fraud.app import APP
from headrace.cli import main
from headrace.cli.stack import Server
from headrace.open_inference.grpc.messages import INFERENCE
from tests.end_to_end.asking import INFER, PREDICT, ask, request
from tests.end_to_end.ground import OUTPUT, Ground, serving
from tests.end_to_end.payments import NUMBERS, Columns
from tests.transformer.receiver import Receiver, attributes, receiving
from tests.waiting import until

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGES = {"decode", "store", "assemble", "predict", "respond"}


@pytest.fixture(scope="module")
def watched(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Receiver, Path]]:
    """A served transformer, the receiver of its traces, and the folder of its prediction log."""
    folder = tmp_path_factory.mktemp("watched")
    told = ("--prediction_log", f"dir:{folder}/log", "--prediction_log_every_s", "0.05")
    with pytest.MonkeyPatch.context() as environment, receiving() as receiver:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
        with serving(ground, folder / "logs", *told, "--prediction_log_keys", "plain") as (_, transformer):
            yield transformer, receiver, folder / "log"


def rows(ground: Ground, count: int) -> Columns:
    """Return request columns of the last payments."""
    return {name: ground.events[name][-count:] for name in NUMBERS}


def explained(log: Path, wanted: str, *more: str) -> str:
    """Return what `headrace explain` says, once the log has the request."""
    said: list[Any] = []

    def written() -> bool:
        said[:] = [CliRunner().invoke(main, ["explain", wanted, "--log", str(log), *more])]
        return said[0].exit_code == 0

    until(written)
    return str(said[0].output)


def test_a_request_goes_on_in_its_callers_trace(watched, ground) -> None:
    transformer, receiver, _ = watched
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    said = ask(transformer.http, "POST", INFER, request(rows(ground, 3)), **headers)
    assert said.status == 200
    spans = receiver.trace(TRACE, 7)
    server, predictor = spans.pop("infer"), spans.pop("predictor infer")
    assert predictor.parent_span_id == spans["predict"].span_id
    assert predictor.start_time_unix_nano >= spans["predict"].start_time_unix_nano - 1_000_000
    assert (server.parent_span_id.hex(), server.trace_state) == (PARENT, "vendor=1")
    assert set(spans) == STAGES
    assert {span.parent_span_id for span in spans.values()} == {server.span_id}
    assert attributes(server) == {
        "headrace.model": "fraud",
        "headrace.fingerprint": APP.view.fingerprint,
        "headrace.rows": 3,
        "http.response.status_code": 200,
    }
    assert not any(attributes(span) for span in spans.values())
    began = [spans[name].start_time_unix_nano for name in ("decode", "store", "assemble", "predict", "respond")]
    assert began == sorted(began)
    assert server.start_time_unix_nano <= began[0]
    assert spans["respond"].end_time_unix_nano <= server.end_time_unix_nano
    assert receiver.resource["deployment.environment"] == "test"


def test_a_refused_request_is_a_span_of_its_own(watched, ground) -> None:
    transformer, receiver, _ = watched
    trace = "1" * 32
    columns = {**rows(ground, 1), "nonsense": np.array([1.0])}
    assert ask(transformer.http, "POST", INFER, request(columns), traceparent=f"00-{trace}-{PARENT}-01").status == 400
    (span,) = receiver.trace(trace, 1).values()
    assert attributes(span) == {"http.response.status_code": 400}


def test_a_caller_who_does_not_record_is_not_recorded(watched, ground) -> None:
    transformer, receiver, _ = watched
    for trace, flag in (("2" * 32, "00"), ("3" * 32, "01")):
        headers = {"traceparent": f"00-{trace}-{PARENT}-{flag}"}
        assert ask(transformer.http, "POST", INFER, request(rows(ground, 1)), **headers).status == 200
    receiver.trace("3" * 32, 7)
    receiver.trace("2" * 32, 0)


def test_a_request_over_grpc_is_watched_too(watched, ground) -> None:
    transformer, receiver, log = watched
    message = INFERENCE["ModelInferRequest"](model_name="fraud", id="over-grpc")
    for name, values in rows(ground, 2).items():
        whole = values.dtype.kind in "iu"
        tensor = message.inputs.add(name=name, datatype="INT64" if whole else "FP64", shape=[2])
        (tensor.contents.int64_contents if whole else tensor.contents.fp64_contents).extend(values.tolist())
    with grpc.insecure_channel(transformer.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        metadata = (("traceparent", f"00-{'4' * 32}-{PARENT}-01"), ("x-request-id", "call-9"))
        _, answered = call.with_call(message.SerializeToString(), metadata=metadata, timeout=60)
        wrong = INFERENCE["ModelInferRequest"](model_name="nobody").SerializeToString()
        with pytest.raises(grpc.RpcError, match="is unknown"):
            call(wrong, metadata=(("traceparent", f"00-{'5' * 32}-{PARENT}-01"),), timeout=60)
    assert dict(answered.initial_metadata())["x-request-id"] == "call-9"
    assert attributes(receiver.trace("4" * 32, 7)["infer"])["headrace.rows"] == 2
    assert attributes(receiver.trace("5" * 32, 1)["infer"]) == {"http.response.status_code": 404}
    assert explained(log, "call-9").startswith("over-grpc, row 0 of 2, answered at ")


def test_a_past_prediction_is_explained_by_its_id(watched, ground) -> None:
    transformer, _, log = watched
    columns = rows(ground, 5)
    said = ask(transformer.http, "POST", INFER, request(columns, OUTPUT, "features", "row_status", id="order 12"))
    assert said.json["id"] == "order 12"
    records = json.loads(explained(log, "order 12", "--json"))
    assert [record["row"] for record in records] == list(range(5))
    features = [[record["features"][name] for name in APP.view.names] for record in records]
    np.testing.assert_array_equal(
        np.array(features, dtype=np.float32).ravel(), np.array(said.output("features"), dtype=np.float32)
    )
    probabilities = [record["outputs"][OUTPUT] for record in records]
    np.testing.assert_allclose(probabilities, said.output(OUTPUT), rtol=1e-6)
    assert [record["row_status"] for record in records] == said.output("row_status")
    assert [record["keys"]["cc_num"] for record in records] == [str(key) for key in columns["cc_num"]]
    assert {record["fingerprint"] for record in records} == {APP.view.fingerprint}
    assert {record["model_version"] for record in records} == {"1"}
    assert re.fullmatch("[0-9a-f]{32}", records[0]["trace_id"])


def test_an_id_is_the_callers_or_is_said_in_a_header_and_never_in_the_answer(watched, ground) -> None:
    transformer, _, log = watched
    plain = ask(transformer.http, "POST", INFER, request(rows(ground, 1)))
    assert "id" not in plain.json
    given = plain.headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", given)
    assert explained(log, given).startswith(f"{given}, answered at ")
    own = ask(transformer.http, "POST", INFER, request(rows(ground, 1)), x_request_id="mine")
    assert (own.headers["x-request-id"], "id" in own.json) == ("mine", False)
    odd = ask(transformer.http, "POST", INFER, request(rows(ground, 1)), x_request_id="a b")
    assert odd.headers["x-request-id"] not in ("a b", given)


def test_requests_of_v1_are_logged_too(watched, ground) -> None:
    transformer, _, log = watched
    instance = {name: values[0].item() for name, values in rows(ground, 1).items() if values[0] == values[0]}
    said = ask(transformer.http, "POST", PREDICT, {"instances": [instance, instance]}, x_request_id="of-v1")
    assert said.status == 200, said.body
    assert explained(log, "of-v1", "--row", "1").startswith("of-v1, row 1 of 2, answered at ")


def test_what_was_logged_is_counted(watched, ground) -> None:
    transformer, _, _ = watched
    ask(transformer.http, "POST", INFER, request(rows(ground, 2)))

    def counted() -> bool:
        text = ask(transformer.http, "GET", "/metrics").body.decode()
        found = re.search(r'headrace_predictions_total\{model_name="fraud",result="written"\} (\S+)', text)
        return found is not None and float(found[1]) >= 2

    until(counted)


def test_a_log_that_takes_nothing_costs_rows_and_a_server_that_is_stopped_writes_what_it_has(ground, tmp_path) -> None:
    log = tmp_path / "log"
    told = ("--prediction_log", f"dir:{log}", "--prediction_log_every_s", "0.5", "--log_format", "json")
    with serving(ground, tmp_path / "logs", *told) as (_, transformer):
        log.rmdir()
        log.write_text("in the way")
        assert ask(transformer.http, "POST", INFER, request(rows(ground, 3), id="lost")).status == 200
        until(lambda: 'result="dropped_sink"} 3.0' in ask(transformer.http, "GET", "/metrics").body.decode())
        log.unlink()
        assert ask(transformer.http, "POST", INFER, request(rows(ground, 3), id="kept")).status == 200
    assert explained(log, "kept").startswith("kept, row 0 of 3")
    said = (tmp_path / "logs" / "transformer.log").read_text("utf-8")
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [line["message"] for line in lines] == [
        "predictions are lost, serving goes on: the folder of predictions takes no file: Not a directory",
        "predictions are written again; 3 rows were lost",
    ]
