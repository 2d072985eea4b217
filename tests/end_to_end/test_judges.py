"""Independent clients get the right answer from a running transformer, whatever way they ask."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from applications.fraud.app import APP
from headrace.cli.stack import Server
from tests.end_to_end.asking import INFER, MODEL, PREDICT, Said, ask, infer, instances, request
from tests.end_to_end.ground import OUTPUT, Ground
from tests.end_to_end.payments import asked

HERE = Path(__file__).parent
ROWS = 40


@pytest.fixture(scope="session")
def expected(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the judges ask, and what is right, as a file."""
    columns = asked(ROWS)
    status = np.array(["ok"] * (ROWS - 1) + ["card_activity missing, terminal_risk missing"])
    path = tmp_path_factory.mktemp("expected") / "expected.npz"
    right = {
        "probabilities": ground.probabilities(columns),
        "features": ground.features(columns),
        "ages": ground.ages_ms(columns),
        "status": status,
        "fingerprint": np.array(APP.view.fingerprint),
        "request_names": np.array(APP.view.request_names),
    }
    np.savez(path, allow_pickle=False, **right, **{f"asked.{name}": values for name, values in columns.items()})
    return path


def verdict(script: str, *arguments: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, str(HERE / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kind", ["http", "http.aio", "grpc", "grpc.aio"])
def test_tritonclient_gets_the_right_probabilities_and_extras(live: Server, expected: Path, kind: str) -> None:
    verdict("judge_triton.py", kind, live.http if kind.startswith("http") else live.grpc, str(expected))


def test_kserves_own_clients_get_the_right_probabilities(live: Server, expected: Path) -> None:
    verdict("judge_kserve.py", live.http, live.grpc, str(expected))


def test_the_model_tells_cards_apart(ground: Ground) -> None:
    """Else every judge would be content with a constant."""
    found = ground.probabilities(asked(ROWS))
    assert np.ptp(found) > 1e-3
    assert np.unique(np.round(found, 6)).size > ROWS // 2


def test_v1_over_urllib(live: Server, ground: Ground) -> None:
    columns = asked(ROWS)
    columns["latitude"][3], columns["card_present"][4] = np.nan, np.nan
    body = json.dumps({"instances": instances(columns)}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://{live.http}{PREDICT}", body), timeout=60) as answer:
        said = json.load(answer)
    assert list(said) == ["predictions"]
    scores = [row[OUTPUT] for row in said["predictions"]]
    np.testing.assert_allclose(scores, ground.probabilities(columns), rtol=0, atol=1e-6)


def test_v1_instants_may_be_iso_text(live: Server, ground: Ground) -> None:
    columns = asked(2)
    rows = instances(columns)
    for row, at in zip(rows, columns["datetime"], strict=True):
        row["datetime"] = str(np.datetime64(int(at), "ms")) + "Z"
    said = ask(live.http, "POST", PREDICT, {"instances": rows})
    scores = [row[OUTPUT] for row in said.json["predictions"]]
    np.testing.assert_allclose(scores, ground.probabilities(columns), rtol=0, atol=1e-6)


def test_null_and_absent_optional_columns_are_missing(live: Server, ground: Ground) -> None:
    columns = asked(4)
    for name in ("latitude", "longitude", "card_present"):
        columns[name] = np.full(4, np.nan)
    right = ground.features(columns)
    bare = {name: columns[name] for name in ("cc_num", "terminal_id", "datetime", "amount")}
    for given in (columns, bare):
        said = infer(live.http, given, "features", OUTPUT, "row_status")
        np.testing.assert_array_equal(np.array(said.output("features"), np.float32), right.ravel())
        np.testing.assert_allclose(said.output(OUTPUT), ground.probabilities(columns), rtol=0, atol=1e-6)
        assert said.output("row_status")[0] == "ok"


def test_without_an_instant_it_is_now(live: Server, ground: Ground) -> None:
    """The answer is that of the clock's millisecond, somewhere between asking and being told."""
    columns = {name: values for name, values in asked(1, seed=5).items() if name != "datetime"}
    columns["cc_num"], columns["terminal_id"] = ground.events["cc_num"][-1:], ground.events["terminal_id"][-1:]
    before = time.time_ns() // 1_000_000
    said = infer(live.http, columns, "feature_age_ms", "features")
    after = time.time_ns() // 1_000_000
    ages = np.array(said.output("feature_age_ms"))
    now = ages + ground.events["datetime"][-1]  # the newest payment, and its label, of the card and the terminal
    assert now[0] == now[1]
    assert before <= now[0] <= after
    right = ground.features(columns | {"datetime": now[:1].astype(np.int64)})
    np.testing.assert_array_equal(np.array(said.output("features"), np.float32), right[0])


def test_two_rows_of_one_card_are_answered_alone(live: Server, ground: Ground) -> None:
    columns = {name: np.repeat(values[:1], 2) for name, values in asked(1).items()}
    columns["cc_num"][:] = ground.events["cc_num"][-1]
    columns["amount"][1] *= 3
    said = infer(live.http, columns)
    np.testing.assert_allclose(said.output(OUTPUT), ground.probabilities(columns), rtol=0, atol=1e-6)


def test_health_and_metadata_in_plain_words(live: Server) -> None:
    assert ask(live.http, "GET", "/v2/health/live").json == {"live": True}
    assert ask(live.http, "GET", "/livez").status == ask(live.http, "GET", "/readyz").status == 200
    assert ask(live.http, "GET", f"/v2/models/{MODEL}/ready").json == {"name": MODEL, "ready": True}
    assert ask(live.http, "GET", f"/v1/models/{MODEL}").json["ready"] is True
    assert ask(live.http, "GET", "/v2/models").json == {"models": [MODEL]}
    counted = ask(live.http, "GET", "/metrics").body.decode()
    assert 'request_predict_seconds_count{model_name="fraud"}' in counted
    assert 'headrace_rows_missing_total{group="card_activity",model_name="fraud"}' in counted


def read_answer(reader: BinaryIO) -> Said:
    """Read one answer off a connection."""
    status = int(reader.readline().split()[1])
    headers: dict[str, str] = {}
    while line := reader.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Said(status, headers, reader.read(int(headers.get("content-length", 0))))


def test_bytes_as_curl_sends_them(live: Server, ground: Ground) -> None:
    """One connection: a body with a length, a body in chunks, and one that waits to be asked for."""
    columns = asked(3)
    body = json.dumps(request(columns)).encode()
    form = "Content-Type: application/x-www-form-urlencoded"  # what `curl -d` says unless told otherwise
    start = f"POST {INFER} HTTP/1.1\r\nHost: {live.http}\r\nAccept: */*\r\n{form}\r\n"
    whole, length = start.encode(), b"Content-Length: %d\r\n" % len(body)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:100], body[100:], b""))
    host, _, port = live.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as wire, wire.makefile("rb") as reader:
        wire.sendall(whole + length + b"\r\n" + body)
        answers = [read_answer(reader)]
        wire.sendall(whole + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        answers.append(read_answer(reader))
        wire.sendall(whole + length + b"Expect: 100-continue\r\n\r\n")
        assert read_answer(reader).status == 100
        wire.sendall(body)
        answers.append(read_answer(reader))
    for said in answers:
        assert said.status == 200
        np.testing.assert_allclose(said.output(OUTPUT), ground.probabilities(columns), rtol=0, atol=1e-6)
