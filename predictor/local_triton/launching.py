"""One Triton on loopback: its folders, its arguments, its life.

It serves the folder of models it is given as it stands, with the backends of
`predictor/backends` beside its own, lends out no way to change what it serves, and ends with
the process that started it, however that ends.
"""

from __future__ import annotations

import ctypes
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from predictor import backends
from predictor.local_triton.getting import Installed
from predictor.local_triton.runs import Run

HOST = "127.0.0.1"
START_S, STOP_S = 50.0, 8.0
BACKENDS = ("onnxruntime", "pytorch")
_LOOK_S = 0.05
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of Linux
_STACK = r"\n\nAt:"  # what begins the lines of code in a complaint
#: What lets a client change or look into the server; the word that would allow it is thrown away.
_CLOSED = {
    "--http-restricted-api": "model-repository,shared-memory,logging,trace",
    "--grpc-restricted-protocol": "model-repository,shared-memory,logging,trace",
}


class TritonFailed(Exception):
    """Triton did not start, or what it serves is not right; the text says why."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where Triton listens on loopback."""

    http: int
    grpc: int
    metrics: int

    @classmethod
    def free(cls, http: int = 0, grpc: int = 0, metrics: int = 0) -> Ports:
        """Return these ports, and in the place of a 0 one that nobody listens on now; TritonFailed for a taken one."""
        with ExitStack() as held:
            return cls(*(held.enter_context(_bound(port)).getsockname()[1] for port in (http, grpc, metrics)))


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
                code = self.process.wait(_LOOK_S)
                raise TritonFailed(f"Triton ended with code {code} before it was ready: {self.reason()}")

    def watch(self, seconds: float) -> None:
        """Wait so long; raises TritonFailed where Triton or the process of a model has ended, or ends meanwhile."""
        self._models = self._models or _children(self.process.pid)
        with suppress(subprocess.TimeoutExpired):
            raise TritonFailed(f"Triton ended with code {self.process.wait(seconds)}: {self.reason()}")
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
def launched(
    installed: Installed, models: Path, run: Run, ports: Ports, more_packages: Sequence[Path] = ()
) -> Iterator[Triton]:
    """Run Triton on a folder of models until the block ends; no process of it is left then.

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


def arguments(installed: Installed, models: Path, run: Run, ports: Ports) -> list[str]:
    """Return Triton's command line."""
    server = installed.server
    told = {
        "--model-repository": models,
        "--model-control-mode": "none",
        "--strict-readiness": "true",
        "--backend-directory": _backends(server, run.folder / "backends"),
        "--cache-directory": server / "caches",
        "--exit-timeout-secs": int(STOP_S) - 2,
    }
    for door, port in (("http", ports.http), ("grpc", ports.grpc), ("metrics", ports.metrics)):
        told |= {f"--{door}-address": HOST, f"--{door}-port": port}
    told |= {door: f"{what}:headrace={secrets.token_hex()}" for door, what in _CLOSED.items()}
    memory = f"shm-region-prefix-name={run.memory_prefix}"
    names = [f"--backend-config={name},{memory}" for name in ("python", *BACKENDS)]
    told_so = [f"{flag}={value}" for flag, value in told.items()]
    return [str(server / "bin" / "tritonserver"), "--disable-auto-complete-config", *told_so, *names]


def environment(installed: Installed, run: Run, more_packages: Sequence[Path] = ()) -> dict[str, str]:
    """Return the environment of Triton and its models: nothing of ours but PATH.

    The embedded Python heeds no variable of its own. It takes the first `python3` on PATH for itself, and so the
    packages of the virtual environment that this lies in.
    """
    python, base = run.folder / "python", installed.python
    packages = python / "lib" / f"python{base.version}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "packages.pth").write_text("".join(f"{path}\n" for path in (installed.packages, *more_packages)))
    (python / "pyvenv.cfg").write_text(f"home = {base.home / 'bin'}\ninclude-system-site-packages = false\n")
    (python / "bin").mkdir()
    (python / "bin" / "python3").symlink_to(sys.executable)
    return {
        "PATH": os.pathsep.join((str(python / "bin"), os.environ.get("PATH", os.defpath))),
        "LD_LIBRARY_PATH": str(base.library),
        "OMP_NUM_THREADS": "1",
    }


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as taken:
        raise TritonFailed(
            f"port {port} on {HOST} is taken, needs a free one, or 0 for any: nothing was started"
        ) from taken


def _backends(server: Path, into: Path) -> Path:
    into.mkdir()
    (into / "python").symlink_to(server / "backends" / "python")
    for name in BACKENDS:  # copied: the embedded Python writes bytecode beside them
        shutil.copytree(Path(backends.__path__[0], name), into / name)
    return into


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
        if line.startswith(b"E") or text.startswith("error:"):
            triton.complaints.append(text.partition("] ")[2].strip('"') or text)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):  # its models' processes too
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
