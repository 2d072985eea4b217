"""Statistics of several processes: their sums, whoever of them counted what."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.open_inference import InferRequest, Tensor
from headrace.open_inference.statistics import Statistics, now_ns, rows_in
from tests.open_inference.rest.askable import Server, played, sent, tensors
from tests.open_inference.sockets import INFER

MODELS: dict[str, Any] = {
    "fraud": SimpleNamespace(name="fraud", versions=("1", "2")),
    "plain": SimpleNamespace(name="plain", versions=()),
}
SUMS = "inference_count", "execution_count"
ASKED = st.tuples(st.sampled_from([("fraud", "1"), ("fraud", "2"), ("fraud", ""), ("plain", "")]), st.integers(-1, 9))


def count(into: Statistics, asked: tuple[str, str], rows: int) -> None:
    """Count an answer of so many rows, or a refusal where they are fewer than none."""
    counts = into.of(MODELS[asked[0]], asked[1])
    if rows < 0:
        counts.refused(now_ns())
        return
    tensor = Tensor("amount", "FP32", np.zeros((rows, 1), np.float32))
    now = now_ns()
    counts.answered(rows_in(InferRequest(asked[0], inputs={"amount": tensor})), now - 7_000, now - 6_000, now - 4_000)


def sums(told: Statistics) -> list[tuple[Any, ...]]:
    """Return what does not depend on how long anything took."""
    return [
        (one["name"], one["version"], *(one[name] for name in SUMS), one["inference_stats"]["fail"]["count"])
        for one in told.told(MODELS)
    ]


def taken(told: Statistics) -> list[tuple[dict[str, int], int]]:
    """Return the nanoseconds of everything and the instant of the last answer, of every version."""
    return [
        ({name: part["ns"] for name, part in one["inference_stats"].items()}, one["last_inference"])
        for one in told.told(MODELS)
    ]


@given(st.lists(st.tuples(ASKED, st.integers(0, 2)), max_size=30))
def test_whoever_counted_the_sums_are_the_same(asked: list[tuple[tuple[tuple[str, str], int], int]]) -> None:
    alone, several = Statistics(), [Statistics() for _ in range(3)]
    for (model, rows), process in asked:
        count(alone, model, rows)
        count(several[process], model, rows)
    whole = Statistics.sum_of([each.written() for each in several])
    assert sums(whole) == sums(alone)
    for (nanoseconds, last_ms), *parts in zip(taken(whole), *map(taken, several), strict=True):
        assert nanoseconds == {name: sum(part[0][name] for part in parts) for name in nanoseconds}
        assert last_ms == max(part[1] for part in parts)


def test_of_all_is_its_own_where_nobody_else_serves_the_port() -> None:
    alone = Statistics()
    count(alone, ("fraud", "2"), 4)
    assert asyncio.run(alone.of_all()) is alone


@pytest.mark.parametrize(
    ("path", "body", "rows", "refused"),
    [
        ("/v1/models/echo:predict", b'{"instances": [{"a": 1}, {"a": 2}]}', 2, 0),
        ("/v1/models/echo:predict", b'{"instances": 7}', 0, 1),
        (INFER, tensors("amount"), 1, 0),
        (INFER, tensors("refuse"), 0, 1),
    ],
)
@pytest.mark.parametrize("direct", [True, False])
def test_inferences_are_counted_and_their_reading_and_writing_told_whatever_they_are_asked_in(
    path: str, body: bytes, rows: int, refused: int, direct: bool
) -> None:
    async def scene(server: Server) -> Any:
        told: list[tuple[float, float]] = []
        server.gate.statistics.tell = lambda parse_s, encode_s: told.append((parse_s, encode_s))
        await server.said(sent(body, path=path))
        return server.counts, len(told)

    answered = 1 - refused
    counts = {"rows": rows, "answered": answered, "refused": refused}
    assert played(scene, direct=direct) == (counts, answered)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize(("name", "said"), [("mine", "mine"), ("", "from-outside")])
def test_a_refusal_is_told_with_the_id_its_request_has(direct: bool, name: str, said: str) -> None:
    async def scene(server: Server) -> list[str]:
        told: list[str] = []
        server.gate.refused = lambda model, why, seconds: told.append(why.request_id)
        await server.said(sent(tensors("refuse", request=name), "x-request-id: from-outside"))
        return told

    assert played(scene, direct=direct) == [said]
