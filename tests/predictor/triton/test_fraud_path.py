"""The whole fraud path with Triton as its predictor: the same answers, batches, a full queue, and Triton gone."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from applications.fraud.app import APP
from headrace.cache_folder import cache_folder
from headrace.cli.stack import Server, server, wait_ready
from predictor.local_triton.runs import run_in
from predictor.triton import Serving
from tests.end_to_end.asking import INFER, Said, ask, infer, request
from tests.end_to_end.ground import OUTPUT, Ground, predictor_flags, transformer_flags
from tests.end_to_end.payments import asked
from tests.end_to_end.test_readiness import rows_asked, until
from tests.predictor.triton.running import Up, alive, below, counted, told, triton
from tests.predictor.triton.slow import publish_slow

ROWS, CALLERS = 40, 24
PATIENT = {"headrace_deadline_ms": "20000"}


def predicted(client: object, kind: object, features: np.ndarray) -> np.ndarray:
    """Ask a predictor for the probabilities of feature rows; both its answer and ours are float32 [rows]."""
    given = kind.InferInput("features", list(features.shape), "FP32")
    given.set_data_from_numpy(features)
    return client.infer(APP.name, [given]).as_numpy(OUTPUT).reshape(-1)


def test_the_command_says_what_it_runs(live: Up) -> None:
    assert "done   Triton: in the cache" in live.said
    assert "it is for laptops and CI, on loopback only, never for an image" in live.said
    assert told(live.predictor, "/v2")["version"].startswith("2.51.")


def test_triton_and_the_embedded_predictor_answer_alike(live: Up, ground: Ground, tmp_path: Path) -> None:
    columns = asked(ROWS)
    said = infer(live.transformer, columns, OUTPUT, "features", **PATIENT)
    assert said.status == 200, said.error
    features = np.array(said.output("features"), dtype=np.float32).reshape(ROWS, -1)
    np.testing.assert_array_equal(features, ground.features(columns))
    with server("predictor", predictor_flags(ground.models), tmp_path) as embedded:
        wanted = predicted(tritonclient.http.InferenceServerClient(embedded.http), tritonclient.http, features)
    np.testing.assert_allclose(said.output(OUTPUT), wanted, atol=1e-5, rtol=0)
    np.testing.assert_allclose(wanted, ground.probabilities(columns), atol=1e-6, rtol=0)
    assert len(set(np.round(wanted, 4).tolist())) > ROWS // 2  # not one value for all


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_triton_itself_speaks_rest_and_grpc(live: Up, ground: Ground, rows: int) -> None:
    columns = {name: np.resize(values, rows) for name, values in asked(ROWS).items()}
    features, wanted = ground.features(columns), ground.probabilities(columns)
    for kind, address in ((tritonclient.http, live.predictor), (tritonclient.grpc, live.grpc)):
        client = kind.InferenceServerClient(address)
        np.testing.assert_allclose(predicted(client, kind, features), wanted, atol=1e-5, rtol=0)
        client.close()


def test_requests_are_run_together_and_those_without_room_told_to_come_later(ground: Ground, tmp_path: Path) -> None:
    """The model takes half a second: four requests are run at a time and four wait, whatever the machine does."""
    narrow = Serving(
        max_batch_size=4,
        preferred_batch_size=(4,),
        max_queue_delay_us=500_000,
        max_queue_size=4,
        queue_timeout_us=60_000_000,
    )
    models = publish_slow(tmp_path / "models", 60, narrow)
    with (
        triton(models, tmp_path) as predictor,
        server("transformer", transformer_flags(ground.store, predictor.http), tmp_path) as transformer,
    ):
        wait_ready(transformer)
        before = counted(predictor.http)
        answers = together(transformer.http, CALLERS)
        after = counted(predictor.http)
        assert {said.status for said in answers} == {200, 429}
        refused = next(said for said in answers if said.status == 429)
        assert "queue" in refused.error
        assert int(refused.headers["retry-after"]) >= 1
        rows, runs = after["rows"] - before["rows"], after["runs"] - before["runs"]
        assert rows == sum(said.status == 200 for said in answers)
        assert runs < rows
        assert after["largest"] == 4
        assert infer(transformer.http, asked(1)).status == 200
        assert ask(transformer.http, "GET", "/v2/health/ready").status == 200
        a_killed_model_ends_it(predictor)


def a_killed_model_ends_it(running: Server) -> None:
    """Triton would answer every request with an error from then on, and stay ready."""
    (model,) = below(tritonserver(running))
    os.kill(model, signal.SIGKILL)
    assert running.process.wait(20) == 2
    last = running.log.read_text().splitlines()[-1]
    assert last == "predictor: the process of a model ended, and Triton starts no other: needs a new start"


def together(address: str, callers: int) -> list[Said]:
    """Ask for one row each, all at once."""
    with ThreadPoolExecutor(callers) as pool:
        answers: list[Future[Said]] = [pool.submit(infer, address, asked(1)) for _ in range(callers)]
        return [answer.result(60) for answer in answers]


def test_triton_killed_under_a_request_then_back_then_the_one_who_runs_it(ground: Ground, tmp_path: Path) -> None:
    with triton(ground.models, tmp_path) as first:
        port = first.http.rpartition(":")[2]
        with server("transformer", transformer_flags(ground.store, first.http), tmp_path) as transformer:
            wait_ready(transformer)
            models = below(first.process.pid)
            kill_under_a_request(transformer, tritonserver(first))
            assert first.process.wait(20) == 2
            assert "predictor: Triton was ended by SIGKILL: " in first.log.read_text().splitlines()[-1]
            assert not alive(models)
            refused = infer(transformer.http, asked(1))
            assert refused.status == 503
            assert "the predictor" in refused.error
            assert int(refused.headers["retry-after"]) >= 1
            with triton(ground.models, tmp_path / "again", port) as again:
                wait_ready(transformer)
                found = infer(transformer.http, asked(3)).output(OUTPUT)
                assert found == pytest.approx(ground.probabilities(asked(3)), abs=1e-5)
                nothing_is_left_of(again)


def kill_under_a_request(transformer: Server, triton: int) -> None:
    os.kill(triton, signal.SIGSTOP)
    before = rows_asked(transformer)
    with ThreadPoolExecutor(1) as caller:
        under_way = caller.submit(ask, transformer.http, "POST", INFER, request(asked(2)))
        until(lambda: rows_asked(transformer) == before + 2, "a request under way")
        os.kill(triton, signal.SIGKILL)
        assert under_way.result(60).status in (502, 503)


def nothing_is_left_of(running: Server) -> None:
    """Kill the process that runs Triton: Triton and its models end, and their shared memory goes with the next run."""
    triton, processes = tritonserver(running), below(running.process.pid)
    memory = Path(f"/proc/{triton}/cwd").readlink().name
    assert list(Path("/dev/shm").glob(f"headrace_{memory}_*"))
    running.process.kill()
    running.process.wait(20)
    until(lambda: not alive(processes), "the end of Triton and its models")
    with run_in(cache_folder(os.environ)):
        assert not list(Path("/dev/shm").glob(f"headrace_{memory}_*"))


def tritonserver(predictor: Server) -> int:
    """Return Triton's own process."""
    named = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in below(predictor.process.pid)}
    (found,) = (pid for pid, name in named.items() if name == "tritonserver")
    return found
