"""What the transformer tells of itself: every column and output, what is required, and an example that it takes."""

from __future__ import annotations

import jsonschema
import orjson

from applications.fraud import APP as FRAUD
from headrace.open_inference import decode_request
from headrace.open_inference.rest.openapi_schemas import request_example, request_schema, row_example
from tests.transformer.small import APP, NOW
from transformer.metadata import config_of, metadata_of
from transformer.rows import rows_of, tensors_of


def test_inputs_say_what_they_need() -> None:
    told = metadata_of("small", APP)
    about = {tensor["name"]: tensor["parameters"] for tensor in told["inputs"]}
    assert about["user"] == {"required": True, "example": "text"}
    assert about["amount"] == {"required": True, "minimum": 0, "maximum": 1000, "example": 12.5}
    assert about["at"] == {"required": False, "unit": "ms since 1970, UTC", "example": 1_700_000_000_000}
    assert [tensor["name"] for tensor in told["outputs"]][:2] == ["score", "features"]
    assert told["outputs"][1]["shape"] == [-1, len(APP.view.names)]


def test_the_configuration_has_the_shape_of_tritons() -> None:
    told = config_of("small", APP, 100)
    assert (told["name"], told["max_batch_size"], told["backend"]) == ("small", 100, "headrace")
    assert told["parameters"] == {"headrace_fingerprint": {"string_value": APP.view.fingerprint}}
    inputs = {tensor["name"]: tensor for tensor in told["input"]}
    assert inputs["user"] == {"name": "user", "data_type": "TYPE_STRING", "dims": [1], "reshape": {"shape": []}}
    assert inputs["visits"]["optional"] is True
    outputs = {tensor["name"]: tensor for tensor in told["output"]}
    assert outputs["features"]["dims"] == [len(APP.view.names)]
    assert outputs["score"] == {"name": "score", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}}
    assert outputs["stage_ms"] == {"name": "stage_ms", "data_type": "TYPE_FP64", "dims": [4]}  # not of each row


def test_its_examples_are_requests_that_it_takes() -> None:
    for app in (APP, FRAUD):
        metadata = metadata_of(app.name, app)
        example = request_example(metadata)
        jsonschema.validate(example, request_schema(metadata))
        request = decode_request(orjson.dumps(example), None, app.name)
        assert rows_of(app.view, request.inputs, NOW, 10).count == 1
        assert rows_of(app.view, tensors_of(app.view, [row_example(metadata)]), NOW, 10).spoiled().sum() == 0
