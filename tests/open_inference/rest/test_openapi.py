"""The document at /openapi.json: valid, of the real models, and true: what it says is asked and compared."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from headrace.open_inference import make_app
from tests.open_inference.asking import Said, ask
from tests.open_inference.echo_server import Echo

TENSORS = {"amount": "FP64", "count": "INT64", "flag": "BOOL", "category": "BYTES", "small": "FP32"}


class Plain(Echo):
    """A model whose inputs all have a form in JSON, two versions, and a name that a path cannot hold as it is."""

    def __init__(self) -> None:
        super().__init__("a b/{ü}")
        self.versions = ("1", "2")

    def metadata(self) -> dict[str, Any]:
        inputs = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in TENSORS.items()]
        inputs[0]["parameters"] = {"required": True, "meaning": "The amount.", "example": 7.5}  # type: ignore[assignment]
        return {"name": self.name, "versions": ["1", "2"], "platform": "p", "inputs": inputs, "outputs": inputs}


class Matrix(Echo):
    """A model of one matrix, which is asked by lists over v1."""

    def metadata(self) -> dict[str, Any]:
        matrix = [{"name": "features", "datatype": "FP32", "shape": [-1, 3]}]
        return {"name": self.name, "versions": [], "platform": "p", "inputs": matrix, "outputs": []}


APP = make_app({"echo": Echo("echo"), "a b/{ü}": Plain(), "matrix": Matrix("matrix")}, metrics=lambda: b"up 1\n")
DOCUMENT = ask(APP, "GET", "/openapi.json").json
HARD = "a%20b%2F%7B%C3%BC%7D"


def asked(path: str, method: str, content: Any = b"") -> Said:
    path = path.replace("{version}", "1")
    return ask(APP, method, path, content, raw_path=path)


def schema_of(said: Said, answers: dict[str, Any]) -> dict[str, Any]:
    content = answers[str(said.status)]["content"][said.headers["content-type"].partition(";")[0]]
    return {**content["schema"], "components": DOCUMENT["components"]}


def test_it_is_valid_and_holds_every_model_by_its_name() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["info"]["title"] == "headrace"
    for name in ("echo", HARD, "matrix"):
        assert f"/v2/models/{name}/infer" in DOCUMENT["paths"]
    versioned = DOCUMENT["paths"][f"/v2/models/{HARD}/versions/{{version}}/infer"]
    assert versioned["parameters"][0]["schema"] == {"enum": ["1", "2"]}


@pytest.mark.parametrize("path", DOCUMENT["paths"])
def test_every_route_in_it_is_there_and_answers_as_it_says(path: str) -> None:
    for method in set(DOCUMENT["paths"][path]) & {"get", "post"}:
        operation = DOCUMENT["paths"][path][method]
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        example = body.get("examples", {}).get("one row", {}).get("value", b"")
        said = asked(path, method.upper(), example)
        assert said.status == (200 if example or not body else 400), said.body
        if said.headers["content-type"] == "application/json":
            jsonschema.validate(said.json, schema_of(said, operation["responses"]))
        if example:
            jsonschema.validate(example, {**body["schema"], "components": DOCUMENT["components"]})


def test_refusals_are_in_it() -> None:
    answers = DOCUMENT["paths"]["/v2/models/echo/infer"]["post"]["responses"]
    said = asked("/v2/models/echo/infer", "POST", b"{")
    jsonschema.validate(said.json, schema_of(said, answers))
    assert set(answers) == {"200", "400", "404", "413", "429", "502", "503", "504"}


def test_examples_are_of_one_row_and_of_what_the_model_says() -> None:
    example = DOCUMENT["paths"][f"/v2/models/{HARD}/infer"]["post"]["requestBody"]["content"]["application/json"]
    tensors = {tensor["name"]: tensor for tensor in example["examples"]["one row"]["value"]["inputs"]}
    assert tensors["amount"]["data"] == [7.5]
    assert tensors["category"] == {"name": "category", "shape": [1], "datatype": "BYTES", "data": ["text"]}
    v1 = DOCUMENT["paths"]["/v1/models/matrix:predict"]["post"]["requestBody"]["content"]["application/json"]
    assert v1["examples"]["one row"]["value"] == {"instances": [[12.5, 12.5, 12.5]]}


@pytest.mark.parametrize(
    ("path", "unfit"),
    [
        (f"/v2/models/{HARD}/infer", {"inputs": []}),
        (f"/v2/models/{HARD}/infer", {"inputs": [{"name": "count", "shape": [1], "datatype": "INT64", "data": [1]}]}),
        (f"/v2/models/{HARD}/infer", {"inputs": [{"name": "amount", "shape": [1], "datatype": "FP64", "data": ["x"]}]}),
        (f"/v1/models/{HARD}:predict", {"instances": [{"count": 1}]}),
        ("/v1/models/matrix:predict", {"instances": [[1.5, 2.5]]}),
    ],
)
def test_a_request_without_what_is_required_does_not_fit_its_schema(path: str, unfit: dict[str, Any]) -> None:
    body = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(unfit, {**body["schema"], "components": DOCUMENT["components"]})


def test_it_follows_a_model_that_is_exchanged() -> None:
    models = {"echo": Echo("echo")}
    app = make_app(models)
    assert "/v2/models/other" not in ask(app, "GET", "/openapi.json").json["paths"]
    models["other"] = Echo("other")
    assert "/v2/models/other" in ask(app, "GET", "/openapi.json").json["paths"]
