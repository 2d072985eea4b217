"""What a request path calls back is what it returns, to the byte, for requests that are joined and for those apart."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.open_inference import InferRequest, InferResponse, InvalidRequest, OpenInferenceError, Tensor
from headrace.open_inference.codec.bodies import encode_response
from headrace.open_inference.servable import Askable
from headrace.stores.memory import MemoryStore
from tests.transformer.small import NOW, Tiny, path_to, row
from tests.transformer.test_joined import EXTRAS, STORE, Away, asked, requests
from transformer.joined import MOST_ROWS
from transformer.model import FeatureTransformer
from transformer.request_path import RequestPath, deadline_in


def rows(count: int, **changed: Any) -> dict[str, Tensor]:
    users = ["ann", "bob", "nobody"] * count
    return row(user=users[:count], at=[NOW] * count, amount=np.arange(float(count)), **changed)


async def called_back(path: RequestPath | FeatureTransformer, request: InferRequest) -> Any:
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    path.ask(request, deadline_in(20), answer.set_result)
    assert not answer.done()
    return await answer


def said(answer: InferResponse | BaseException, request: InferRequest) -> Any:
    """Return the bytes of an answer, or what is said of a refusal."""
    if isinstance(answer, InferResponse):
        request.binary_default = True  # numbers to their last bit, and such as JSON does not have
        return encode_response(answer, request)
    assert isinstance(answer, OpenInferenceError), answer
    return type(answer), answer.message


def both(given: list[InferRequest], model: Tiny | None = None, store: MemoryStore = STORE) -> list[tuple[Any, Any]]:
    """Return what is said to each, asked alone: as it is returned, and as it is called back."""

    async def played() -> list[tuple[Any, Any]]:
        async with path_to(model or Tiny(), store, max_rows=2 * MOST_ROWS) as path:
            found = []
            for request in given:
                (returned,) = await asyncio.gather(path.infer(request, deadline_in(20)), return_exceptions=True)
                try:
                    called = await called_back(path, request)
                except OpenInferenceError as refused:
                    called = refused
                found.append((said(returned, request), said(called, request)))
            return found

    return asyncio.run(played())


@settings(max_examples=40, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=6))
def test_what_is_called_back_is_what_is_returned(given: list[InferRequest]) -> None:
    for returned, called in both(given):
        assert called == returned


ODD = {
    "many rows": rows(MOST_ROWS + 1),
    "many rows and everything": rows(MOST_ROWS + 1),
    "as many rows as are joined": rows(MOST_ROWS),
    "more rows than there may be": rows(2 * MOST_ROWS + 1),
    "no rows": rows(0),
    "a matrix": row(amount=np.zeros((1, 2))),
    "unequal lengths": rows(2, visits=[1, 2, 3]),
    "a scalar": {"amount": Tensor("amount", "FP64", np.array(1.5))},
    "scalars beside rows": row(amount=Tensor("amount", "FP64", np.array(1.5))),
    "no inputs": {},
    "an unknown input": row(what=[1.0]),
    "no row that can be answered": rows(MOST_ROWS + 1, visits=["a"] * (MOST_ROWS + 1)),
}


@pytest.mark.parametrize("inputs", ODD)
def test_those_apart_are_called_back_what_is_returned(inputs: str) -> None:
    request = asked(ODD[inputs], "7", *(EXTRAS if "everything" in inputs else ()))
    ((returned, called),) = both([request])
    assert called == returned


def test_a_store_or_a_model_that_fails_is_called_back_alike() -> None:
    wrong = Tiny(answer=lambda features: {"score": np.full(len(features), np.nan, dtype=np.float32)})
    for model, store in ((Tiny(), Away()), (wrong, STORE)):
        for returned, called in both([asked(rows(1)), asked(rows(MOST_ROWS + 1))], model, store):
            assert called == returned
            assert isinstance(called[0], type)


def test_an_unknown_output_is_refused_before_anything_is_asked() -> None:
    async def played() -> None:
        model = Tiny()
        async with path_to(model, STORE) as path:
            for inputs in (rows(1), rows(MOST_ROWS + 1)):
                with pytest.raises(InvalidRequest, match="output 'what' is unknown, needs one of score"):
                    path.ask(asked(inputs, "", "what"), deadline_in(20), lambda found: None)
            assert isinstance(await called_back(path, asked(rows(1))), InferResponse)
        assert len(model.asked) == 1

    asyncio.run(played())


def test_those_called_back_and_those_returned_to_are_one_run() -> None:
    async def played() -> list[int]:
        model = Tiny()
        async with path_to(model, STORE) as path:
            transformer: Askable = FeatureTransformer(path)
            first = asyncio.gather(*(called_back(transformer, asked(rows(2))) for _ in range(2)))  # type: ignore[arg-type]
            second = asyncio.gather(*(path.infer(asked(rows(3)), deadline_in(20)) for _ in range(2)))
            assert [len(one.output("score")) for one in await first + await second] == [2, 2, 3, 3]
        return list(map(len, model.asked))

    assert asyncio.run(played()) == [10]


def test_what_is_taken_back_is_not_called() -> None:
    async def played() -> list[Any]:
        heard: list[Any] = []
        async with path_to(Tiny(), STORE) as path:
            for inputs in (rows(1), rows(MOST_ROWS + 1)):
                path.ask(asked(inputs), deadline_in(20), heard.append).cancel()
            assert isinstance(await called_back(path, asked(rows(2))), InferResponse)
        return heard

    assert asyncio.run(played()) == []
