"""Whether the transformer can answer, and if not, why: store, predictor, and that both belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import orjson

from headrace.features import FeatureView
from headrace.open_inference.errors import OpenInferenceError
from headrace.open_inference.predictor import Predictor
from headrace.open_inference.tensors import Tensor
from headrace.stores.online import OnlineStore

FINGERPRINT, COLUMNS, PRODUCTION = "headrace_fingerprint", "headrace_columns", "headrace_production"


async def reason_not_ready(
    view: FeatureView, store: OnlineStore, predictor: Predictor, *, unproved: bool, outputs: Collection[str] = ()
) -> str | None:
    """Return None when a request can be answered, else the reason why not.

    The version that the predictor calls production is asked from then on: one that is newer may be loaded
    beside it. `unproved` accepts a predictor that cannot tell its fingerprint; then the width of its
    input must agree at least. A server that tells nothing of its models, such as TorchServe, must then
    answer a row, and the fingerprint in its answer must agree if there is one. `outputs` are what the application needs
    of the model, which must be among those it names.
    """
    if why := store.readiness(view.groups):
        return why
    try:
        if not await predictor.ready():
            why = f": {predictor.unready}" if predictor.unready else ""
            return await _by_answer(view, predictor) if unproved else f"the predictor is not ready{why}"
        if predictor.failing and (why := await _still_failing(view, predictor)):
            return why
        config = await predictor.config()
        parameters = config.get("parameters") or {}
        if _text(parameters, FINGERPRINT):
            why = disagreement(view, parameters) or await _choose(predictor, _text(parameters, PRODUCTION))
            return why or _lacking(outputs, await predictor.metadata())
        if not unproved:
            return "the predictor tells no fingerprint of its model, needs one: set unproved_predictor to do without"
        metadata = await predictor.metadata()
        return _unlike_shape(view, metadata) or _lacking(outputs, metadata)
    except OpenInferenceError as failed:
        return f"the predictor cannot be asked: {failed}"


async def _still_failing(view: FeatureView, predictor: Predictor) -> str | None:
    """A predictor may call itself ready and fail every request, as Triton does whose GPU is lost: ask it for a row."""
    try:
        await _by_answer(view, predictor)
    except OpenInferenceError as failed:
        return f"the predictor fails every request: {failed}"
    return None


async def _by_answer(view: FeatureView, predictor: Predictor) -> str | None:
    row = np.nan_to_num(view.missing)[np.newaxis]
    answer = await predictor.infer([Tensor("features", "FP32", row)])
    theirs = str(answer.parameters.get(FINGERPRINT, ""))
    return disagreement(view, {FINGERPRINT: {"string_value": theirs}}) if theirs else None


async def _choose(predictor: Predictor, version: str) -> str | None:
    if version and not (version.isascii() and version.isdecimal()):
        return f"the predictor tells {version[:20]!r} as the version that is production, needs a number"
    if version and not await predictor.ready(version):
        return f"the predictor has not loaded version {version[:20]} of its model, which is production"
    predictor.ask_version(version)
    return None


def disagreement(view: FeatureView, parameters: Mapping[str, Any]) -> str | None:
    """Return how the model's columns differ from the view's, None where they are the same."""
    theirs = _text(parameters, FINGERPRINT)
    if theirs == view.fingerprint:
        return None
    columns = _columns(parameters)
    how = differing(view.describe(), columns) if columns else "it does not tell its columns"
    return (
        f"view {view.name!r} has fingerprint {view.fingerprint[:16]}, the model was trained on {theirs[:16]}: "
        f"{how}; train and export the model again"
    )


def differing(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Say which columns two views do not share, or share otherwise.

    >>> differing([{"name": "a"}, {"name": "b"}], [{"name": "a"}])
    'b only in the view'
    """
    mine, other = {c["name"]: c for c in ours}, {c["name"]: c for c in theirs}
    said = []
    for title, names in (
        ("only in the view", [name for name in mine if name not in other]),
        ("only in the model", [name for name in other if name not in mine]),
        (
            "declared otherwise",
            [name for name in mine if name in other and _otherwise(mine[name], other[name])],
        ),
    ):
        if names:
            said.append(f"{', '.join(names)} {title}")
    if not said and list(mine) != list(other):
        said.append("the columns stand in another order")
    return "; ".join(said) or "the columns are the same, a window's parameters or a function's source differ"


def _otherwise(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Compare what is known of both: a model's configuration holds names alone."""
    return any(key in theirs and theirs[key] != mine.get(key) for key in ("dtype", "missing", "source"))


def _text(parameters: Mapping[str, Any], name: str) -> str:
    return str((parameters.get(name) or {}).get("string_value", ""))


def _columns(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        said = orjson.loads(_text(parameters, COLUMNS) or "[]")
    except orjson.JSONDecodeError:
        return []
    if not isinstance(said, list):
        return []
    columns = [{"name": column} if isinstance(column, str) else column for column in said]
    return columns if all(isinstance(column, dict) and "name" in column for column in columns) else []


def _lacking(outputs: Collection[str], metadata: Mapping[str, Any]) -> str | None:
    named = [str(output.get("name")) for output in metadata.get("outputs") or ()]
    lacking = [name for name in outputs if name not in named]
    if not named or not lacking:
        return None
    return (
        f"the application needs {', '.join(lacking)} of the model, which gives {', '.join(named)}: declare its outputs"
    )


def _unlike_shape(view: FeatureView, metadata: Mapping[str, Any]) -> str | None:
    inputs = metadata.get("inputs") or [{}]
    shape, datatype, width = inputs[0].get("shape") or [0], inputs[0].get("datatype"), len(view.names)
    if shape[-1] != width or datatype != "FP32":
        return f"the predictor reads {datatype} of shape {shape}, needs FP32 of shape [-1, {width}]"
    return None
