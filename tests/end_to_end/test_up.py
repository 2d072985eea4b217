"""`headrace up --stream local`: an event produced to the topic is in the next answer, and Ctrl-C ends everything."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton
from confluent_kafka import Producer

from tests.end_to_end.ground import Ground

ROOT = Path(__file__).parents[2]
CARD, PAYMENTS, DEADLINE_S = 4_999_999_999_999_999, 3, 30.0
COUNT_10M = 2  # behind the amount and the flag
PATIENTLY = {"headrace-deadline-ms": "20000"}  # beside a broker and pipelines a small machine may need more than 50


def payments_counted(client: triton.InferenceServerClient) -> float:
    """Return how many payments of the card the transformer sees in the last ten minutes."""
    inputs = []
    for name, kind, value in (("cc_num", np.int64, CARD), ("terminal_id", np.int64, 1), ("amount", np.float64, 10.0)):
        inputs.append(triton.InferInput(name, [1], "FP64" if kind is np.float64 else "INT64"))
        inputs[-1].set_data_from_numpy(np.array([value], dtype=kind))
    asked = [triton.InferRequestedOutput("features")]
    features = client.infer("fraud", inputs, outputs=asked, headers=PATIENTLY).as_numpy("features")
    return float(features[0, COUNT_10M])


@pytest.fixture
def home(ground: Ground, tmp_path: Path) -> Path:
    """A store and models of this test's own."""
    shutil.copytree(ground.store, tmp_path / "store")
    shutil.copytree(ground.models, tmp_path / "models")
    return tmp_path


def test_an_event_of_the_topic_is_in_the_next_answer(home: Path) -> None:
    command = [sys.executable, "-m", "headrace.cli", "up", "fraud", "--stream", "local", "--store", "store"]
    ports = ["--models", "models", "--http-port", "0", "--grpc-port", "0"]
    up = subprocess.Popen(
        [*command, *ports], cwd=home, env={"PYTHONPATH": str(ROOT), "COLUMNS": "200"}, stdout=subprocess.PIPE, text=True
    )
    try:
        said = ""
        while not re.search(r"transformer\s+ready$", said.strip()):
            line = up.stdout.readline() if up.stdout else ""
            assert line, f"it ended: {said}"
            said += line
        (servers,) = re.findall(r"kafka://(\S+)/payments", said)
        (http,) = re.findall(r"transformer\s+http (\S+)", said)
        client = triton.InferenceServerClient(http)
        assert payments_counted(client) == 0
        producer = Producer({"bootstrap.servers": servers})
        for number in range(PAYMENTS):
            event = {"tid": f"new-{number}", "cc_num": CARD, "terminal_id": 1, "amount": 5.0 + number}
            event["datetime"] = time.time_ns() // 1_000_000 - 1_000
            producer.produce("payments", json.dumps(event).encode(), key=str(CARD))
        assert producer.flush(DEADLINE_S) == 0
        until = time.monotonic() + DEADLINE_S
        while payments_counted(client) < PAYMENTS:
            assert time.monotonic() < until, "the events were not counted in time"
    finally:
        up.send_signal(signal.SIGINT)
        rest, _ = up.communicate(timeout=60)
    assert up.returncode == 0
    assert rest.strip() == "stopped"
