"""Requests that are made one are answered as each would be alone, whatever is wrong with their neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.features import HOUR, MINUTE, OnDemand
from headrace.open_inference import (
    FeaturesUnavailable,
    InferRequest,
    InferResponse,
    InternalError,
    InvalidRequest,
    OpenInferenceError,
    PredictorFailed,
    RequestedOutput,
    Tensor,
)
from headrace.stores.memory import MemoryStore
from headrace.stores.online import Block, Lookup, RowsUnread, StoreUnavailable
from tests.transformer.small import APP, NOW, VIEW, Tiny, path_to, row, stored
from transformer.joined import MOST_ROWS
from transformer.request_path import STAGES, deadline_in

STORE = stored([("ann", NOW - 2 * HOUR, 100.0), ("ann", NOW - MINUTE, 7.0), ("bob", NOW - HOUR // 2, 3.0)])
EXTRAS = ("score", "features", "feature_age_ms", "row_status")


def asked(inputs: dict[str, Tensor], name: str = "", *outputs: str) -> InferRequest:
    return InferRequest("small", id=name, inputs=inputs, outputs=tuple(map(RequestedOutput, outputs)))


class Away(MemoryStore):
    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        raise StoreUnavailable("the store is away")


def answers(requests: list[InferRequest], model: Tiny | None = None, store: Any = STORE) -> list[Any]:
    """Ask all of these in one turn; a refusal is an answer."""
    return both_answers(requests, model, store, alone_too=False)[1]


def both_answers(
    requests: list[InferRequest], model: Tiny | None = None, store: Any = STORE, *, alone_too: bool = True
) -> tuple[list[Any], list[Any]]:
    """Ask each of these alone, and all of them in one turn."""

    async def played() -> tuple[list[Any], list[Any]]:
        async with path_to(model or Tiny(), store) as path:
            alone: list[Any] = []
            for request in requests if alone_too else ():
                alone += await asyncio.gather(path.infer(request, deadline_in(20)), return_exceptions=True)
            made = [path.infer(request, deadline_in(20)) for request in requests]
            return alone, await asyncio.gather(*made, return_exceptions=True)

    return asyncio.run(played())


def plain(answer: InferResponse | OpenInferenceError) -> Any:
    """Return what can be compared of an answer: scores to six digits, for rows are summed together."""
    if isinstance(answer, OpenInferenceError):
        return type(answer), str(answer)
    assert isinstance(answer, InferResponse), answer
    outputs = [
        (each.name, each.shape, np.round(each.array, 3).tolist() if each.datatype != "BYTES" else each.array.tolist())
        for each in answer.outputs
    ]
    return answer.id, answer.parameters, outputs


users = st.sampled_from(["ann", "bob", "nobody", ""])
amounts = st.sampled_from([1.0, 10.0, -5.0, 1e9, float("nan"), float("inf")])


@st.composite
def requests(draw: st.DrawFn) -> InferRequest:
    count = draw(st.integers(0, 4))
    columns: dict[str, Any] = {
        "user": [draw(users) for _ in range(count)],
        "at": draw(st.sampled_from([None, [NOW] * count, [NOW - MINUTE] * count])),
        "amount": [draw(amounts) for _ in range(count)],
        "note": draw(st.sampled_from([None, ["a"] * count])),
    }
    columns["visits"] = draw(st.sampled_from([None, np.arange(count)]))
    columns["unknown"] = draw(st.sampled_from([None, None, None, np.arange(count)]))
    inputs = {name: Tensor.of(name, values) for name, values in columns.items() if values is not None}
    if draw(st.booleans()):
        inputs["amount"].array = inputs["amount"].array.reshape(-1, 1)
    if draw(st.integers(0, 5)) == 0:
        inputs["amount"] = Tensor.of("amount", np.zeros(count + 1))
    return asked(inputs, draw(st.text("ab", max_size=2)), *draw(st.sampled_from([(), ("score",), EXTRAS, ("what",)])))


@settings(max_examples=40, deadline=None)
@given(st.lists(requests(), min_size=2, max_size=6))
def test_an_answer_is_the_same_alone_and_among_others(given: list[InferRequest]) -> None:
    alone, together = both_answers(given)
    assert list(map(plain, together)) == list(map(plain, alone))


def test_requests_of_one_kind_are_one_run_and_others_another() -> None:
    model = Tiny()
    given = [asked(row(user="ann")), asked(row(user="bob")), asked(row(visits=[3])), asked(row(user="ann"))]
    assert len(answers(given, model=model)) == 4
    assert sorted(map(len, model.asked)) == [1, 3]


def test_a_run_has_no_more_rows_than_the_model_takes() -> None:
    model = Tiny()
    model.largest = 3
    two = row(user=["ann"] * 2, at=[NOW] * 2, amount=[1.0] * 2)
    given = [asked(row()), asked(two), asked(row()), asked(two), asked(row())]

    async def played() -> list[Any]:
        async with path_to(model, STORE) as path:
            await path.predictor.config()
            return await asyncio.gather(*(path.infer(request, deadline_in(20)) for request in given))

    assert [len(answer.output("score")) for answer in asyncio.run(played())] == [1, 2, 1, 2, 1]
    assert sorted(map(len, model.asked)) == [1, 3, 3]


def test_a_large_request_goes_by_itself() -> None:
    model, many = Tiny(), MOST_ROWS + 1
    large = row(user=["ann"] * many, at=[NOW] * many, amount=[1.0] * many)
    answers([asked(row()), asked(large), asked(row())], model=model)
    assert sorted(map(len, model.asked)) == [2, many]


def test_a_row_without_an_answer_refuses_its_own_request_alone() -> None:
    good, bad = asked(row()), asked(row(amount=[-5.0], user=[""]))
    first, refused, last = answers([good, bad, good])
    assert "no row can be answered" in str(refused)
    assert first.outputs[0].array == last.outputs[0].array


@pytest.mark.parametrize("away", [True, False])
def test_a_store_that_is_away_refuses_all_of_a_run(away: bool) -> None:
    found = answers([asked(row()), asked(row())], store=Away() if away else STORE)
    assert [isinstance(one, FeaturesUnavailable) for one in found] == [away, away]


class Unreading(MemoryStore):
    """Cannot read a key, and says so of every read it is in."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key, self.asked = key, list[int]()
        self._records = STORE._records

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        self.asked.append(lookups[0].keys.size)
        if self.key in lookups[0].keys:
            raise RowsUnread("1 vector could not be read")
        return await super().read(lookups, as_of, deadline)


def test_a_row_that_the_store_cannot_read_refuses_its_own_request_alone() -> None:
    good, store = [asked(row(visits=[at])) for at in range(63)], Unreading("cat")
    found = answers([*good[:17], asked(row(user=["cat"], visits=[0])), *good[17:]], store=store)
    assert isinstance(found.pop(17), FeaturesUnavailable)
    assert [one.outputs[0].array for one in found] == [answer.outputs[0].array for answer in answers(good)]
    assert len(store.asked) == 1 + 2 * 6


def test_a_store_that_can_read_nothing_is_not_asked_for_everybody() -> None:
    store = Unreading("ann")
    found = answers([asked(row()) for _ in range(64)], store=store)
    assert all(isinstance(refused, FeaturesUnavailable) for refused in found)
    assert len(store.asked) == 1 + 12


def test_a_model_that_fails_refuses_all_of_a_run() -> None:
    model = Tiny(answer=lambda features: {"score": np.full(len(features), np.nan, dtype=np.float32)})
    found = answers([asked(row()), asked(row())], model=model)
    assert all("not finite" in str(refused) for refused in found)


def _by_visits(features: np.ndarray) -> dict[str, np.ndarray]:
    scores = features.sum(axis=1, dtype=np.float32)
    scores[features[:, 1] > 1e18] = np.nan
    return {"score": scores}


def _refusing(features: np.ndarray) -> dict[str, np.ndarray]:
    found = _by_visits(features)
    if not np.isfinite(found["score"]).all():
        raise PredictorFailed("the model answered NaN")
    return found


@pytest.mark.parametrize("answer", [_by_visits, _refusing])
@pytest.mark.parametrize("place", [0, 1, 17, 40])
def test_a_row_on_which_the_model_fails_refuses_its_own_request_alone(answer: Any, place: int) -> None:
    model = Tiny(answer=answer)
    good, bad = [asked(row(visits=[at])) for at in range(40)], asked(row(visits=[2**62]))
    found = answers([*good[:place], bad, *good[place:]], model=model)
    assert isinstance(found.pop(place), PredictorFailed)
    assert [one.outputs[0].array for one in found] == [answer.outputs[0].array for answer in answers(good)]
    assert sorted(map(len, model.asked), reverse=True)[:3] == [41, 21, 20]
    assert len(model.asked) <= 1 + 2 * 6  # halves, until it is alone


def test_one_that_cannot_be_read_costs_its_neighbours_no_run_of_their_own() -> None:
    model = Tiny()
    good = [asked({**row(), "visits": Tensor.of("visits", np.array([at], "u8"))}) for at in range(31)]
    bad = asked({**row(), "visits": Tensor.of("visits", np.array([2**63], "u8"))})
    found = answers([*good[:8], bad, *good[8:]], model=model)
    assert isinstance(found.pop(8), InvalidRequest)
    assert all(isinstance(answer, InferResponse) for answer in found)
    assert [len(run) for run in model.asked] == [31]


def test_who_is_in_a_hurry_does_not_wait_as_long_as_the_patient() -> None:
    model = Tiny()

    async def played() -> list[Any]:
        async with path_to(model, STORE) as path:
            return await asyncio.gather(*(path.infer(asked(row()), deadline_in(s)) for s in (10, 200, 10, 200, 10)))

    assert len(asyncio.run(played())) == 5
    assert sorted(map(len, model.asked)) == [2, 3]


def test_a_run_has_no_more_rows_than_a_request_may() -> None:
    model = Tiny()
    ten = row(user=["ann"] * 10, at=[NOW] * 10, amount=[1.0] * 10)

    async def played() -> list[Any]:
        async with path_to(model, STORE, max_rows=100) as path:
            return await asyncio.gather(*(path.infer(asked(ten), deadline_in(20)) for _ in range(32)))

    assert [len(answer.output("score")) for answer in asyncio.run(played())] == [10] * 32
    assert sorted(map(len, model.asked)) == [20, 100, 100, 100]


def _more_than_small(amount: np.ndarray) -> np.ndarray:
    if (amount == 500.0).any():
        raise ArithmeticError("one of them is not for this function")
    return amount + 1.0


def _respond_to_small(predictions: Any) -> Any:
    if (predictions["score"] > 400).any():
        raise ArithmeticError("one of them is not for this application")
    return predictions


@pytest.mark.parametrize("fault", ["on-demand", "respond"])
def test_a_fault_of_the_applications_fails_the_request_it_is_of_alone(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if fault == "respond":
        app = replace(APP, respond=_respond_to_small)
    else:
        more = OnDemand("more", _more_than_small, ("request.amount",), missing=-1.0)
        view = replace(VIEW, columns=(*VIEW.columns, more))
        app = replace(APP, view=view)

    async def played() -> list[Any]:
        async with path_to(Tiny(), STORE, app) as path:
            given = [asked(row(amount=[500.0 if at == 5 else 1.0])) for at in range(16)]
            return await asyncio.gather(*(path.infer(one, deadline_in(20)) for one in given), return_exceptions=True)

    found = asyncio.run(played())
    assert isinstance(found.pop(5), InternalError)
    assert all(isinstance(answer, InferResponse) for answer in found)
    assert "ArithmeticError" in capsys.readouterr().err


def test_a_model_that_fails_on_everything_is_not_asked_for_everybody() -> None:
    model = Tiny(answer=lambda features: {"score": np.full(len(features), np.nan, dtype=np.float32)})
    found = answers([asked(row(visits=[at])) for at in range(64)], model=model)
    assert all("not finite" in str(refused) for refused in found)
    assert len(model.asked) == 1 + 32


@pytest.mark.parametrize(("header", "runs"), [("authorization", [1, 2]), ("x-request-id", [3])])
def test_nobody_is_asked_for_in_anothers_name(header: str, runs: list[int]) -> None:
    model, given = Tiny(), [asked(row()) for _ in range(3)]
    for one, whose in zip(given, ("ann", "bob", "ann"), strict=True):
        one.headers = {header: whose}
    answers(given, model=model)
    assert sorted(map(len, model.asked)) == runs


def test_requests_made_one_are_counted_each_and_their_rows_once_however_often_they_are_tried() -> None:
    given = [asked(row(visits=[at])) for at in (*range(7), 2**62)]

    async def played() -> str:
        async with path_to(Tiny(answer=_refusing), STORE) as path:
            found = await asyncio.gather(*(path.infer(one, deadline_in(20)) for one in given), return_exceptions=True)
            assert sum(isinstance(one, PredictorFailed) for one in found) == 1
            await asyncio.sleep(0)  # what is counted is counted in the next turn
            return path.metrics.text().decode()

    told = asyncio.run(played()).splitlines()
    assert 'headrace_rows_total{model_name="small"} 8.0' in told
    assert 'headrace_feature_age_seconds_count{group="users",model_name="small"} 8.0' in told
    stages = [f'headrace_stage_seconds_count{{model_name="small",stage="{name}"}}' for name in STAGES]
    counted = {line.split()[0]: float(line.split()[1]) for line in told if line.startswith(tuple(stages))}
    assert list(counted.values()) == [8.0, 8.0, 8.0, 7.0]
