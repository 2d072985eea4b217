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
from headrace.cli.stack import Server, server, wait_ready
from predictor.triton import Serving
from tests.end_to_end.asking import INFER, Said, ask, infer, request
from tests.end_to_end.ground import OUTPUT, Ground, transformer_flags
from tests.end_to_end.ground import serving as serving_embedded
from tests.end_to_end.payments import asked
from tests.end_to_end.test_readiness import rows_asked, until
from tests.predictor.triton.running import below, counted, serving, triton
from tests.predictor.triton.slow import publish_slow

ROWS, CALLERS = 40, 8
Live = tuple[Server, Server]


def tritonserver(predictor: Server) -> int:
    """Return Triton's own process."""
    (found,) = (pid for pid in below(predictor.process.pid) if _called(pid) == "tritonserver")
    return found


def _called(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def together(address: str, callers: int) -> list[Said]:
    """Ask for one row each, all at once."""
    with ThreadPoolExecutor(callers) as pool:
        answers: list[Future[Said]] = [pool.submit(infer, address, asked(1)) for _ in range(callers)]
        return [answer.result(60) for answer in answers]


def test_triton_and_the_embedded_predictor_answer_alike(live: Live, ground: Ground, tmp_path: Path) -> None:
    columns = asked(ROWS)
    found = infer(live[1].http, columns, OUTPUT, "features")
    assert found.status == 200, found.error
    with serving_embedded(ground, tmp_path) as (_, embedded):
        other = infer(embedded.http, columns, OUTPUT, "features")
    assert found.output("features") == other.output("features")
    assert found.output(OUTPUT) == pytest.approx(other.output(OUTPUT), abs=1e-5)
    assert found.output(OUTPUT) == pytest.approx(ground.probabilities(columns), abs=1e-5)
    assert len({round(value, 4) for value in found.output(OUTPUT)}) > ROWS // 2  # not one value for all


@pytest.mark.parametrize("rows", [1, 7, 500])
def test_triton_itself_speaks_rest_and_grpc(live: Live, ground: Ground, rows: int) -> None:
    columns = {name: np.resize(values, rows) for name, values in asked(ROWS).items()}
    features, wanted = ground.features(columns), ground.probabilities(columns)
    for kind, address in ((tritonclient.http, live[0].http), (tritonclient.grpc, live[0].grpc)):
        client = kind.InferenceServerClient(address)
        given = kind.InferInput("features", list(features.shape), "FP32")
        given.set_data_from_numpy(features)
        answer = client.infer(APP.name, [given]).as_numpy(OUTPUT)
        np.testing.assert_allclose(answer.reshape(-1), wanted, atol=1e-5)
        client.close()


def test_requests_that_come_together_are_run_together(ground: Ground, tmp_path: Path) -> None:
    waits = Serving(preferred_batch_size=(CALLERS,), max_queue_delay_us=2_000_000, queue_timeout_us=30_000_000)
    models = publish_slow(tmp_path / "models", 1, waits)
    with serving(ground, tmp_path, models) as (predictor, transformer):
        before = counted(predictor.http)
        assert {said.status for said in together(transformer.http, CALLERS)} == {200}
        after = counted(predictor.http)
    assert after["rows"] - before["rows"] == CALLERS
    assert after["runs"] - before["runs"] < CALLERS
    assert after["largest"] > 1


def test_what_does_not_fit_the_queue_is_told_to_come_later(ground: Ground, tmp_path: Path) -> None:
    narrow = Serving(max_batch_size=1, preferred_batch_size=(1,), max_queue_size=2, queue_timeout_us=30_000_000)
    models = publish_slow(tmp_path / "models", 60, narrow)
    with serving(ground, tmp_path, models) as (_, transformer):
        answers = together(transformer.http, 3 * CALLERS)
        assert {said.status for said in answers} == {200, 429}
        refused = next(said for said in answers if said.status == 429)
        assert "queue" in refused.error
        assert int(refused.headers["retry-after"]) >= 1
        assert infer(transformer.http, asked(1)).status == 200
        assert ask(transformer.http, "GET", "/v2/health/ready").status == 200


def test_triton_killed_under_a_request_and_back_again(ground: Ground, tmp_path: Path) -> None:
    with triton(ground.models, tmp_path) as predictor:
        port = predictor.http.rpartition(":")[2]
        with server("transformer", transformer_flags(ground.store, predictor.http), tmp_path) as transformer:
            wait_ready(transformer)
            killed = tritonserver(predictor)
            os.kill(killed, signal.SIGSTOP)
            before = rows_asked(transformer)
            with ThreadPoolExecutor(1) as caller:
                under_way = caller.submit(ask, transformer.http, "POST", INFER, request(asked(2)))
                until(lambda: rows_asked(transformer) == before + 2, "a request under way")
                os.kill(killed, signal.SIGKILL)
                assert under_way.result(60).status in (502, 503)
            assert predictor.process.wait(20) == 2
            assert "Triton ended with code -9" in predictor.log.read_text().splitlines()[-1]
            refused = infer(transformer.http, asked(1))
            assert refused.status == 503
            assert "the predictor" in refused.error
            assert int(refused.headers["retry-after"]) >= 1
            with triton(ground.models, tmp_path / "again", port):
                wait_ready(transformer)
                found = infer(transformer.http, asked(3)).output(OUTPUT)
                assert found == pytest.approx(ground.probabilities(asked(3)), abs=1e-5)
