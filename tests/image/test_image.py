"""The built image runs pipeline, predictor and transformer as nobody, on a root that nothing can write to."""

from __future__ import annotations

import json
import threading
import time

import pytest

from tests.end_to_end.asking import ask, infer
from tests.end_to_end.ground import OUTPUT, PATIENT_MS
from tests.end_to_end.payments import asked
from tests.headrace.kept import TOLD
from tests.image.contained import SHARED

pytestmark = pytest.mark.image
PORTS = ("--host", "127.0.0.1")
WRITES = """
import errno, json, os, pathlib, sys
def write(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as refused:
        return errno.errorcode[refused.errno]
    return "written"
print(json.dumps({
    "user": [os.getuid(), os.getgid(), os.getgroups()],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")],
    "writes": {path: write(path) for path in ("/x", "/opt/headrace/x", sys.prefix + "/bin/python", "/tmp/x", "/mnt/x")},
}))
"""


def test_it_is_nobody_and_can_write_only_where_it_is_told(image, shared):
    assert image.user == "65532:65532"
    found = json.loads(image.run(shared, "python", "-c", WRITES).stdout)
    assert found["user"][:2] == [65532, 65532]
    assert 0 not in found["user"][2]
    assert found["capabilities"] == ["0000000000000000"]
    denied = {path for path, what in found["writes"].items() if what in ("EROFS", "EACCES")}
    assert denied == {"/x", "/opt/headrace/x", "/opt/headrace/bin/python"}


def test_it_holds_what_was_locked_and_no_installer(image, shared):
    listed = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found = json.loads(image.run(shared, "python", "-c", listed).stdout)
    assert found.keys().isdisjoint({"pip", "setuptools", "torch", "hypothesis", "pytest"})
    assert {"headrace", "kserve", "onnxruntime", "lmdb"} <= found.keys()
    assert image.run(shared, "headrace", "--version").stdout.startswith(f"headrace, version {found['headrace']}")


def test_its_loops_were_compiled_when_it_was_built(image, shared):
    told = json.loads(image.run(shared, "python", "-c", TOLD).stdout)
    assert told["made"] == 0
    assert told["kept"] > 0
    assert told["from"].startswith("/tmp/headrace-loops-")


def test_the_channel_runs_from_events_to_answers(image, shared, ground):
    for topic in ("payments", "labels"):
        flags = ("--source", f"{SHARED}/payments.parquet", "--store", f"{SHARED}/store", "--topic", topic)
        done = image.run(shared, "headrace", "pipeline", "run", "fraud", *flags)
        assert done.returncode == 0, done.stderr
    serve = ("--repository", f"{SHARED}/models", "--model", "fraud", "--http-port", "0", "--grpc-port", "0")
    with image.server(shared, "python", "-m", "predictor", *PORTS, *serve) as predictor:
        flags = ("--store", f"{SHARED}/store", "--predictor_host", predictor, "--deadline_ms", str(PATIENT_MS))
        ports = ("--http_port", "0", "--grpc_port", "0")
        with image.server(shared, "python", "-m", "transformer", *PORTS, *flags, *ports) as transformer:
            ready(transformer)
            found = infer(transformer, asked(5))
            assert found.status == 200
            assert found.output(OUTPUT) == pytest.approx(ground.probabilities(asked(5)), abs=1e-6)
            assert "headrace_" in ask(transformer, "GET", "/metrics").body.decode()


def ready(address):
    """Wait until a server says that it is ready."""
    pause, until = threading.Event(), time.monotonic() + 60
    while (said := ask(address, "GET", "/v2/health/ready")).status != 200:
        assert time.monotonic() < until, said.body
        pause.wait(0.05)
