"""One Triton on loopback, from its start to its end.

It serves the folder of models it is given as it stands, and ends with the process that
started it, however that ends.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from predictor.local_triton.command import HOST, STOP_S, Ports, TritonFailed, arguments, environment
from predictor.local_triton.getting import Installed
from predictor.local_triton.runs import Run

START_S = 50.0
_LOOK_S = 0.05
_TRIES, _IN_USE = 3, "already in use"
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_NO_GPU = re.compile(r"NVML|DCGM|CudaDriver|CUDA driver|pinned memory")  # what it says of every machine without a GPU
_STACK = r"\n\nAt:"  # what begins the lines of code in a complaint


@dataclass(slots=True)
class Triton:
    """A running Triton: its process, where it listens, and what it complained of last."""

    process: subprocess.Popen[bytes]
    ports: Ports
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    _models: set[int] = field(default_factory=set)

    def wait_ready(self) -> None:
        """Wait until every model is ready; raises TritonFailed with what Triton complained of."""
        until = time.monotonic() + START_S
        while not self._ready():
            if time.monotonic() > until:
                raise TritonFailed(f"Triton was not ready after {START_S:.0f} s: {self.reason()}")
            with suppress(subprocess.TimeoutExpired):
                ended = _ending(self.process.wait(_LOOK_S))
                raise TritonFailed(f"Triton {ended} before it was ready: {self.reason()}")

    def watch(self, seconds: float) -> None:
        """Wait so long; raises TritonFailed where Triton or the process of a model has ended, or ends meanwhile."""
        self._models = self._models or _children(self.process.pid)
        with suppress(subprocess.TimeoutExpired):
            raise TritonFailed(f"Triton {_ending(self.process.wait(seconds))}: {self.reason()}")
        if any(_parent(model) != self.process.pid for model in self._models):
            raise TritonFailed("the process of a model ended, and Triton starts no other: needs a new start")

    def reason(self) -> str:
        """Return the complaint that tells most: why a model could not be loaded, else the last."""
        loading = [line for line in self.complaints if line.startswith("failed to load")]
        said = (loading or list(self.complaints) or ["it did not say why"])[-1]
        return said.partition(_STACK)[0]

    def _ready(self) -> bool:
        asking = http.client.HTTPConnection(HOST, self.ports.http, timeout=5)
        try:
            asking.request("GET", "/v2/health/ready")
            return asking.getresponse().status == 200
        except OSError:
            return False
        finally:
            asking.close()


@contextmanager
def started(
    installed: Installed,
    models: Path,
    run: Run,
    http: int = 0,
    grpc: int = 0,
    metrics: int = 0,
    more_packages: Sequence[Path] = (),
) -> Iterator[Triton]:
    """Run Triton on a folder of models until the block ends; give it once it is ready. Raises TritonFailed.

    A port of 0 is any free one; one that is taken by another before Triton takes it is replaced.
    """
    for left in reversed(range(_TRIES)):
        with launched(installed, models, run, Ports.free(http, grpc, metrics), more_packages) as triton:
            try:
                triton.wait_ready()
            except TritonFailed:
                if left and not (http and grpc and metrics) and _IN_USE in triton.reason():
                    continue
                raise
            yield triton
            return


@contextmanager
def launched(
    installed: Installed, models: Path, run: Run, ports: Ports, more_packages: Sequence[Path] = ()
) -> Iterator[Triton]:
    """Run Triton on a folder of models and these ports until the block ends; no process of it is left then.

    What it says goes to this process's stderr. Its models find `more_packages` behind their own.
    """
    process = subprocess.Popen(
        arguments(installed, models, run, ports),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(installed, run, more_packages),
        cwd=run.folder,
        start_new_session=True,
        pass_fds=(run.lock,),
        preexec_fn=_end_with_parent,
    )
    triton = Triton(process, ports)
    listening = threading.Thread(target=_pass_on, args=(triton,), daemon=True)
    listening.start()
    try:
        yield triton
    finally:
        _stop(process)
        listening.join(STOP_S)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    return f"was ended by {signal.Signals(-code).name}"


def _children(pid: int) -> set[int]:
    processes = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return {process for process in processes if _parent(process) == pid}


def _parent(pid: int) -> int:
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)


def _pass_on(triton: Triton) -> None:
    assert triton.process.stderr
    for line in triton.process.stderr:
        sys.stderr.buffer.write(line)
        sys.stderr.flush()
        text = line.decode("utf-8", "replace").strip()
        if (line.startswith(b"E") or text.startswith("error:")) and not _NO_GPU.search(text):
            triton.complaints.append(text.partition("] ")[2].strip('"') or text)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):  # its models' processes too
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
