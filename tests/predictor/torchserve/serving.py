"""A real TorchServe of our archive on ports of this machine's own, and what clients ask it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import grpc
import orjson

from headrace.cli.broker import free_port
from headrace.open_inference.grpc.messages import INFERENCE

SERVICE = "/org.pytorch.serve.grpc.openinference.GRPCInferenceService"
PORTS = ("8080", "8081", "8082", "7070", "7071")
START_S = 90


class TorchServe:
    """TorchServe with the settings that were written, less the ports and the model store."""

    def __init__(self, python: Path, archived: Path, folder: Path) -> None:
        self.ports = {port: free_port() for port in PORTS}
        settings = (archived / "config" / "config.properties").read_text()
        for port, free in self.ports.items():
            settings = re.sub(rf"\b{port}$", str(free), settings, flags=re.MULTILINE)
        written = folder / "config.properties"
        written.write_text(settings)
        self.log = folder / "output.txt"
        asked = ["--start", "--foreground", "--ncs", "--model-store", archived / "model-store", "--ts-config", written]
        environment = {"PATH": f"{python.parent}:{os.environ['PATH']}", "HOME": str(folder), "TMPDIR": str(folder)}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [python, "-m", "ts.model_server", *asked],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the launcher leaves its JVM behind: both are signalled
            )

    def wait(self) -> None:
        """Wait until a worker has the model, and the health endpoint says so."""
        pause, until = threading.Event(), time.monotonic() + START_S
        while time.monotonic() < until and self.process.poll() is None:
            with suppress(urllib.error.URLError):
                if b"Healthy" in self.http("/ping")[1] and self.infer([[1.0, 2.0, 3.0]])[0] == 200:
                    return
            pause.wait(0.2)
        raise AssertionError(f"TorchServe was not ready after {START_S} s: {self.log.read_text()[-3000:]}")

    def stop(self) -> None:
        """End the launcher and the JVM."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def http(self, path: str, body: bytes | None = None, port: str = "8080", method: str = "") -> tuple[int, bytes]:
        """Return status and body of one request."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        if method:
            asked.method = method
        try:
            with urllib.request.urlopen(asked, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()

    def infer(self, rows: list[list[float]], **changed: object):
        """Return status and answer of one request in JSON."""
        tensor = {"name": "features", "datatype": "FP32", "shape": [len(rows), 3], "data": rows}
        status, body = self.http("/v2/models/small/infer", orjson.dumps({"id": "7", "inputs": [tensor | changed]}))
        return status, orjson.loads(body)

    def call(self, method: str, request: object, answer: str):
        """Ask over gRPC, in TorchServe's own package."""
        with grpc.insecure_channel(f"127.0.0.1:{self.ports['7070']}") as channel:
            reads = INFERENCE[answer].FromString
            ask = channel.unary_unary(f"{SERVICE}/{method}", lambda sent: sent.SerializeToString(), reads)
            return ask(request, timeout=20)
