"""The Open Inference Protocol's own OpenAPI file, corrected so that it can be tried on a server."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import yaml

NAME = "open-inference/open_inference_rest.yaml"


def found() -> Path | None:
    """Return where the file lies: in HEADRACE_SPECS, or in shared/specs beside the checkout; None where it does not."""
    beside = Path(__file__).parents[3] / "shared" / "specs"
    places = [Path(os.environ.get("HEADRACE_SPECS", beside)) / NAME]
    return next((place for place in places if place.is_file()), None)


def corrected(path: Path, model: str, version: str) -> dict[str, Any]:
    """Return the file's content for one model.

    Its paths hold a literal `$`, a slash after `/v2` and versions alone. Paths without versions are added, names are
    those of the model, and an error answer is allowed wherever a request may be wrong.
    """
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    paths: dict[str, Any] = {}
    for written, item in content["paths"].items():
        right = written.replace("${", "{").rstrip("/")
        for method in ("get", "post"):
            if method in item:
                item[method].pop("operationId", None)
                item[method]["responses"]["4XX"] = {"description": "refused", "content": _error()}
        paths[right] = _named(item, model, version)
        if "{MODEL_VERSION}" in right:
            unversioned = copy.deepcopy(paths[right])
            unversioned["parameters"] = unversioned["parameters"][:1]
            paths[right.replace("/versions/{MODEL_VERSION}", "")] = unversioned
    return content | {"paths": paths}


def write(path: Path, content: dict[str, Any]) -> Path:
    """Write a document as JSON and return where it lies."""
    path.write_text(json.dumps(content))
    return path


def _error() -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": "#/components/schemas/inference_error_response"}}}


def _named(item: dict[str, Any], model: str, version: str) -> dict[str, Any]:
    for parameter in item.get("parameters", ()):
        parameter["schema"]["enum"] = [model if parameter["name"] == "MODEL_NAME" else version]
    return item
