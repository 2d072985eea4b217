"""The request path before a real server in the same loop: what it answers, counts and refuses."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.application import Application, Output
from headrace.features import HOUR, MINUTE, Column, FeatureView
from headrace.open_inference import (
    DeadlinePassed,
    FeaturesUnavailable,
    InferRequest,
    InferResponse,
    InvalidRequest,
    NotReady,
    OpenInferenceError,
    Overloaded,
    PredictorFailed,
    RequestedOutput,
    Tensor,
)
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from headrace.stores.online import Block, Lookup, OnlineStore
from tests.transformer.small import APP, NOW, REQUEST, Tiny, path_to, row, stored
from transformer.model import FeatureTransformer
from transformer.request_path import RequestPath, deadline_in

STORE = stored([("ann", NOW - 2 * HOUR, 100.0), ("ann", NOW - 10 * MINUTE, 5.0), ("ann", NOW - MINUTE, 7.0)])
EXTRAS = ("features", "feature_age_ms", "row_status", "stage_ms")
#: amount, visits, member, how often and how much in the last hour, and the share of it
ANN, NOBODY = [10.0, -1.0, -1.0, 2.0, 12.0, 10 / 12], [10.0, -1.0, -1.0, 0.0, 0.0, -1.0]


def asked(inputs: dict[str, Tensor], *outputs: str) -> InferRequest:
    return InferRequest("small", id="r1", inputs=inputs, outputs=tuple(map(RequestedOutput, outputs)))


def scene(
    then: Callable[[RequestPath], Awaitable[Any]],
    model: Tiny | None = None,
    store: OnlineStore = STORE,
    app: Application = APP,
) -> Any:
    """Run a scene with a request path; a refusal is returned."""

    async def played() -> Any:
        async with path_to(model or Tiny(), store, app) as path:
            try:
                return await then(path)
            except OpenInferenceError as refused:
                return refused

    return asyncio.run(played())


def answer(request: InferRequest, left_s: float = 20.0, **where: Any) -> Any:
    return scene(lambda path: path.infer(request, deadline_in(left_s)), **where)


def test_a_row_is_read_assembled_scored_and_answered() -> None:
    model = Tiny()
    said = answer(asked(row()), model=model)
    assert (said.model, said.id, said.parameters) == ("small", "r1", {})
    assert [output.name for output in said.outputs] == ["score"]
    np.testing.assert_allclose(model.asked, [[ANN]], rtol=1e-6)
    np.testing.assert_allclose(said.output("score"), [sum(ANN)], rtol=1e-6)
    assert model.asked[0].dtype == np.float32


def test_the_extras_are_given_when_asked_for_by_name() -> None:
    two = row(user=["ann", "bob"], at=[NOW, NOW], amount=[10.0, 10.0])
    said = answer(asked(two, "score", *EXTRAS))
    assert {output.name for output in said.outputs} == {"score", *EXTRAS}
    np.testing.assert_allclose(said.output("features"), [ANN, NOBODY], rtol=1e-6)
    assert said.output("feature_age_ms").tolist() == [[MINUTE], [-1]]
    assert said.output("row_status").tolist() == [b"ok", b"users missing"]
    assert said.output("stage_ms").shape == (4,)
    assert (said.output("stage_ms") > 0).all()


def test_the_clock_is_asked_where_the_request_does_not_say_when() -> None:
    said = answer(asked(row(at=None), "feature_age_ms"))
    assert said.output("feature_age_ms").tolist() == [[MINUTE]]
    late = answer(asked(row(at=NOW + 2 * HOUR), "features", "feature_age_ms"))
    assert late.output("feature_age_ms").tolist() == [[2 * HOUR + MINUTE]]
    assert late.output("features")[0, 3:].tolist() == [0.0, 0.0, -1.0]


def test_a_read_into_the_past_is_marked_and_its_age_is_not_negative() -> None:
    said = answer(asked(row(at=NOW - 2 * MINUTE), "row_status", "feature_age_ms"))
    assert said.output("row_status").tolist() == [b"users approximate"]
    assert said.output("feature_age_ms").tolist() == [[0]]


def test_a_spoiled_key_is_not_looked_up_as_another() -> None:
    store = stored([("", NOW - MINUTE, 5.0), ("ann", NOW - MINUTE, 7.0)])
    two = row(user=["", "ann"], at=[NOW, NOW], amount=[1.0, 1.0])
    said = answer(asked(two, "features", "row_status", "feature_age_ms"), store=store)
    assert said.output("features")[:, 3:5].tolist() == [[0.0, 0.0], [1.0, 7.0]]
    assert said.output("row_status").tolist() == [b"user invalid, users missing", b"ok"]
    assert said.output("feature_age_ms").tolist() == [[-1], [MINUTE]]
    assert said.parameters == {"headrace_degraded_rows": 1}


class Counting(MemoryStore):
    """A memory store that counts its reads."""

    reads = 0

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        self.reads += 1
        return await super().read(lookups, as_of, deadline)


@pytest.mark.parametrize("rows", [1, 50])
def test_one_read_and_one_question_however_many_rows(rows: int) -> None:
    store, model = Counting(), Tiny()
    many = row(user=["ann"] * rows, at=[NOW] * rows, amount=[1.0] * rows)
    assert answer(asked(many), store=store, model=model).output("score").shape == (rows,)
    assert (store.reads, len(model.asked)) == (1, 1)


def test_an_unknown_output_is_refused_before_the_store_is_read() -> None:
    store, model = Counting(), Tiny()
    said = answer(asked(row(), "scores"), store=store, model=model)
    assert type(said) is InvalidRequest
    assert said.message == f"output 'scores' is unknown, needs one of score, {', '.join(EXTRAS)}"
    assert (store.reads, model.asked) == (0, [])


async def never(features: np.ndarray) -> Mapping[str, np.ndarray]:
    await asyncio.Event().wait()
    return {}


async def broken(features: np.ndarray) -> Mapping[str, np.ndarray]:
    raise ZeroDivisionError("amount was 4711")


async def refusing(features: np.ndarray) -> Mapping[str, np.ndarray]:
    raise InvalidRequest("the matrix is too blue")


async def overloaded(features: np.ndarray) -> Mapping[str, np.ndarray]:
    raise Overloaded("no room")


def scores(*values: float) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    return lambda features: {"score": np.array(values, dtype=np.float32)}


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        (Tiny(scores(1.0, 2.0)), PredictorFailed, "the predictor gave 2 values of 'score', needs 1"),
        (Tiny(scores()), PredictorFailed, "the predictor gave 0 values of 'score', needs 1"),
        (Tiny(scores(np.nan)), PredictorFailed, "the predictor gave 'score' that is not finite, needs numbers"),
        (Tiny(scores(np.inf)), PredictorFailed, "the predictor gave 'score' that is not finite, needs numbers"),
        (Tiny(lambda _: {"p": np.ones(1)}), PredictorFailed, "the predictor gave no 'score', needs it"),
        (Tiny(lambda _: {"score": np.array(["x"])}), PredictorFailed, "the predictor gave 'score' that is not numbers"),
        (Tiny(broken), PredictorFailed, "the predictor of 'small' said 500: internal error, id "),
        (Tiny(refusing), PredictorFailed, "the predictor of 'small' said 400: the matrix is too blue"),
        (Tiny(overloaded), Overloaded, "the predictor of 'small' said 429: no room"),
        (Tiny(reason="it warms up"), NotReady, "the predictor of 'small' said 503: model 'small' is not ready: it"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_the_predictors_failure_and_never_a_score(
    model: Tiny, kind: type[OpenInferenceError], message: str
) -> None:
    said = answer(asked(row()), model=model)
    assert type(said) is kind
    assert said.message.startswith(message)
    assert "4711" not in said.message


def test_a_predictor_that_is_too_slow() -> None:
    said = answer(asked(row()), left_s=0.2, model=Tiny(never))
    assert type(said) is DeadlinePassed
    assert said.http_status == 504


def test_a_predictor_that_is_gone() -> None:
    async def after_it_went() -> Any:
        async with path_to(Tiny(), STORE) as path:
            assert (await path.infer(asked(row()), deadline_in(20))).output("score").size == 1
        return await path.infer(asked(row()), deadline_in(20))

    with pytest.raises(NotReady, match=r"cannot be reached \(connection .*\), needs a listening server") as refused:
        asyncio.run(after_it_went())
    assert (refused.value.http_status, refused.value.retry_after_s) == (503, 1.0)


def test_a_store_that_is_away(tmp_path: Path) -> None:
    said = answer(asked(row()), store=EmbeddedStore(tmp_path / "store", readonly=True, shown="store"))
    assert type(said) is FeaturesUnavailable
    assert said.message == "there is no store at 'store': run a pipeline first"


def test_too_many_rows_are_refused() -> None:
    many = row(user=["ann"] * 1001, at=[NOW] * 1001, amount=[1.0] * 1001)
    assert answer(asked(many)).message == "input 'user' has 1001 rows, needs at most 1000"


def test_the_application_has_the_last_word() -> None:
    def decide(predictions: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {"score": predictions["score"] > 20}

    said = answer(asked(row()), app=dataclasses.replace(APP, outputs=(Output("score", "BOOL"),), respond=decide))
    (output,) = said.outputs
    assert (output.name, output.datatype, output.array.tolist()) == ("score", "BOOL", [True])


def test_a_view_without_groups_has_no_ages() -> None:
    bare = Application("small", FeatureView("bare", 1, REQUEST, (), ("request.amount",), time="at"), (), APP.outputs)
    said = answer(asked(row(), *EXTRAS), app=bare)
    assert said.output("features").tolist() == [[10.0]]
    assert said.output("feature_age_ms").shape == (1, 0)
    assert said.output("row_status").tolist() == [b"ok"]


def test_rows_features_and_stages_are_counted() -> None:
    async def ask_and_read(path: RequestPath) -> str:
        three = row(user=["ann", "bob", "ann"], at=[NOW] * 3, amount=[1.0, 2.0, np.nan])
        await path.infer(asked(three), deadline_in(20))
        with pytest.raises(InvalidRequest):
            await path.infer(asked(row(amount=None)), deadline_in(20))
        return path.metrics.text().decode()

    told = scene(ask_and_read)
    for line in (
        'headrace_rows_total{model_name="small"} 3.0',
        'headrace_rows_degraded_total{model_name="small"} 1.0',
        'headrace_rows_missing_total{group="users",model_name="small"} 1.0',
        'headrace_feature_age_seconds_bucket{group="users",le="60.0",model_name="small"} 2.0',
        'request_preprocess_seconds_count{model_name="small"} 1.0',
        'request_predict_seconds_count{model_name="small"} 1.0',
        'request_postprocess_seconds_count{model_name="small"} 1.0',
        'headrace_store_read_seconds_count{model_name="small"} 1.0',
    ):
        assert line in told.splitlines()


def test_a_hundred_callers_at_once_get_their_own_answers() -> None:
    async def all_at_once(path: RequestPath) -> list[InferResponse]:
        requests = [asked(row(amount=float(at)), "features", "score") for at in range(100)]
        return await asyncio.gather(*(path.infer(request, deadline_in(30)) for request in requests))

    for at, said in enumerate(scene(all_at_once)):
        assert said.output("features")[0, 0] == at
        np.testing.assert_allclose(said.output("score"), said.output("features").sum(axis=1), rtol=1e-6)


def test_a_text_is_answered_in_v1_too() -> None:
    outputs = (Output("label", "BYTES"),)
    app = dataclasses.replace(
        APP, outputs=outputs, predicted=("score",), respond=lambda _: {"label": np.array([b"fine"], object)}
    )

    async def scene() -> dict[str, Any]:
        async with path_to(Tiny(), stored([("ann", NOW - 60_000, 7.0)]), app) as path:
            return await FeatureTransformer(path).predict_v1(
                {"instances": [{"user": "ann", "amount": 1}]}, deadline_in(20)
            )

    assert asyncio.run(scene()) == {"predictions": [{"label": "fine"}]}


@pytest.mark.parametrize("found", [np.nan, np.inf])
def test_what_is_no_number_is_refused_in_v1_as_in_v2(found: float) -> None:
    app = dataclasses.replace(APP, predicted=("score",), respond=lambda _: {"score": np.array([found], np.float32)})

    async def scene() -> None:
        async with path_to(Tiny(), stored([("ann", NOW - 60_000, 7.0)]), app) as path:
            instances = [{"user": "ann", "amount": 1}]
            await FeatureTransformer(path).predict_v1({"instances": instances}, deadline_in(20))

    with pytest.raises(InvalidRequest, match="output 'score' holds NaN or infinity, which JSON cannot say"):
        asyncio.run(scene())


def test_a_request_that_leaves_an_optional_key_out_is_answered_without_what_is_stored() -> None:
    keyed = Column("user", "string", required=False)
    view = dataclasses.replace(APP.view, request=(keyed, *APP.view.request[1:]))

    async def scene() -> InferResponse:
        async with path_to(Tiny(), stored([("ann", NOW - 60_000, 7.0)]), dataclasses.replace(APP, view=view)) as path:
            request = asked({"amount": Tensor.of("amount", [2.0])}, "row_status", "features")
            return await path.infer(request, deadline_in(20))

    answer = asyncio.run(scene())
    assert answer.output("row_status").tolist() == [b"users missing"]
    assert answer.output("features")[0, 0] == 2.0
    assert "headrace_degraded_rows" not in answer.parameters
