"""What Triton is told when it starts: its ports, its command line, its environment, its backends.

It listens on the loopback alone, has the backends of `predictor/backends` beside its own, and
lends out no way to change what it serves.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from predictor import backends
from predictor.local_triton.getting import Installed, Python
from predictor.local_triton.runs import Run

HOST = "127.0.0.1"
STOP_S = 8.0
BACKENDS = ("onnxruntime", "pytorch")
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

    @property
    def said(self) -> str:
        """The three addresses as a server of ours says them."""
        return f"http={HOST}:{self.http} grpc={HOST}:{self.grpc} metrics={HOST}:{self.metrics}"


def arguments(installed: Installed, models: Path, run: Run, ports: Ports) -> list[str]:
    """Return Triton's command line; the folders it names are made in the run's where they are not there."""
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
    packages of the virtual environment that this lies in, which is made in the run's folder where it is not there.
    """
    python = run.folder / "python"
    if not python.is_dir():
        _make_environment(python, installed.python, (installed.packages, *more_packages))
    return {
        "PATH": os.pathsep.join((str(python / "bin"), os.environ.get("PATH", os.defpath))),
        "LD_LIBRARY_PATH": str(installed.python.library),
        "OMP_NUM_THREADS": "1",
    }


def _make_environment(folder: Path, base: Python, paths: Sequence[Path]) -> None:
    packages = folder / "lib" / f"python{base.version}" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "packages.pth").write_text("".join(f"{path}\n" for path in paths))
    (folder / "pyvenv.cfg").write_text(f"home = {base.home / 'bin'}\ninclude-system-site-packages = false\n")
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(sys.executable)


def _backends(server: Path, into: Path) -> Path:
    if not into.is_dir():
        into.mkdir()
        (into / "python").symlink_to(server / "backends" / "python")
        for name in BACKENDS:  # copied: the embedded Python writes bytecode beside them
            shutil.copytree(Path(backends.__path__[0], name), into / name)
    return into


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as taken:
        raise TritonFailed(
            f"port {port} on {HOST} is taken, needs a free one, or 0 for any: nothing was started"
        ) from taken
