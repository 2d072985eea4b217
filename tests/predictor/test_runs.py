"""How a model is run: what is small is measured, large models get all cores, and what fails is told apart."""

import asyncio
import itertools
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from headrace.open_inference import InferRequest, InvalidRequest, PredictorFailed, Tensor
from headrace.open_inference.servable import settle
from headrace.runtime import Runtime, RuntimeRefused
from predictor.batching import Limits
from predictor.repository import ModelRefused, read_model, write_model
from predictor.rewriting import step
from predictor.server import Runs, _features, load
from tests.predictor.test_rewriting import WIDTH, model_of


def clock_of(one, many):
    """A clock by which a run of one row takes `one` seconds and a larger one `many`."""
    now = itertools.accumulate(itertools.cycle([0.0, one, 0.0, one, 0.0, one, 0.0, many, 0.0, many, 0.0, many]))
    return lambda: next(now)


def opened(repository, pool, **how):
    manifest, model = read_model(repository / "small")
    return Runs(pool, **how).open(manifest, model, "small")


@pytest.mark.parametrize(
    ("cores", "one", "many", "rows"),
    [
        (2, 0.0001, 0.0001 + 255 * 1e-6, 401),  # 0.4 ms are left for rows of a microsecond
        (2, 0.0001, 0.0001, 3277),  # rows that cost nothing are not run on the event loop without end
        (2, 0.0006, 1.0, 0),
        (1, 0.0001, 0.0001 + 255 * 1e-6, 1901),  # a thread would only take turns: 1.9 ms are left
        (1, 0.0006, 0.0006 + 255 * 1e-6, 1401),
        (1, 0.0021, 1.0, 0),
    ],
)
def test_as_many_rows_are_small_as_take_half_a_millisecond_or_two_on_one_core(published, pool, cores, one, many, rows):
    found = opened(published, pool, cores=cores, clock=clock_of(one, many))
    assert found.batches.inline_rows == rows


@pytest.mark.parametrize(
    ("threads", "many", "runs"),
    [(None, 0.001, 8), (None, 0.02, 1), (2, 0.02, 4), (1, 0.02, 8), (16, 0.001, 1)],
)
def test_a_small_model_runs_side_by_side_and_a_large_one_on_all_cores(published, pool, threads, many, runs):
    found = opened(published, pool, cores=8, threads=threads, clock=clock_of(0.0001, many))
    assert found.batches.runs_at_once == runs


def put(repository, model):
    whole = onnx.load_from_string(model)
    whole.metadata_props.add(key="headrace_fingerprint", value="f")
    columns = [{"name": f"c{at}"} for at in range(WIDTH)]
    write_model(repository, "m", whole.SerializeToString(), fingerprint="f", columns=columns, outputs=["p"])
    return repository


def test_a_model_that_runs_one_row_alone_is_refused(tmp_path):
    nodes = [
        step("Reshape", ["features", "shape"], ["a"]),
        helper.make_node("ReduceSum", ["a", "one"], ["p"], keepdims=0),
    ]
    put(tmp_path, model_of(nodes, {"shape": np.array([1, WIDTH]), "one": np.array([1])}))
    said = "model 'm' cannot be run: ONNX Runtime failed with .+ on 256 rows"
    with pytest.raises(ModelRefused, match=said):
        load(tmp_path, "m")


async def infer(servable, request):
    return await servable.infer(request, 1e9)


async def ask(servable, request):
    answer = asyncio.get_running_loop().create_future()
    servable.ask(request, 1e9, partial(settle, answer))
    assert not answer.done()
    return await answer


@pytest.mark.parametrize("way", [infer, ask])
def test_a_run_that_fails_is_the_predictors_fault_and_says_nothing_of_the_features(tmp_path, way):
    nodes = [
        helper.make_node("Gather", ["features", "first"], ["a"], axis=1),
        helper.make_node("Cast", ["a"], ["b"], to=7),
        step("Gather", ["table", "b"], ["p"]),
    ]
    put(tmp_path, model_of(nodes, {"first": np.array(0), "table": np.array([0.5, np.nan, 0.25], np.float32)}))
    servable = load(tmp_path, "m")

    def asked(value, width=WIDTH):
        rows = np.full((1, width), value, dtype=np.float32)
        return asyncio.run(way(servable, InferRequest("m", inputs={"features": Tensor.of("features", rows)})))

    assert asked(2).output("p").tolist() == [[0.25]]
    with pytest.raises(PredictorFailed, match="model 'm' answered NaN or infinity in 'p': the score is unknown"):
        asked(1)
    with pytest.raises(InvalidRequest, match="needs \\[rows, "):
        asked(2, WIDTH + 1)
    with pytest.raises(PredictorFailed) as failed:
        asked(4711)
    assert failed.value.message.startswith("model 'm' could not be run: ONNX Runtime failed with ")
    assert "4711" not in failed.value.message
    assert failed.value.http_status == 502


def test_limits_are_the_servers(published, pool):
    found = opened(published, pool, limits=Limits(7, 9))
    assert found.batches.limits == Limits(7, 9)


@pytest.mark.parametrize(
    ("inputs", "reads"),
    [
        ([], "nothing"),
        ([SimpleNamespace(name="x", type="t", shape=[])], "x t []"),
        ([SimpleNamespace(name="features", type="tensor(float)", shape=[3])], "features tensor(float) [3]"),
        (
            [SimpleNamespace(name="features", type="tensor(float)", shape=["n", "m"])],
            "features tensor(float) ['n', 'm']",
        ),
        ([SimpleNamespace(name="x", type="t", shape=[])] * 100, f"{', '.join(['x t []'] * 8)} and 92 more"),
    ],
)
def test_a_model_that_reads_something_else_is_refused(inputs, reads):
    with pytest.raises(RuntimeRefused, match=re.escape(f"the model reads {reads}, needs one input 'features'")):
        Runtime(SimpleNamespace(get_inputs=lambda: inputs))


def test_a_refusal_names_a_few_of_many_inputs():
    given = {f"{'x' * 200}{at}": Tensor.of("x", [1.0]) for at in range(2000)}
    with pytest.raises(InvalidRequest) as refused:
        _features(given, 3)
    assert refused.value.message.endswith(" and 1995 more, needs 'features' alone")
    assert len(refused.value.message) < 600
