"""A Kafka broker on this machine for development: noida-db, which keeps its topics in a folder.

It listens on the loopback only. Events come by any client; production runs a real cluster.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from feature_pipelines.files import SourceError

_PROGRAM = "noida-db"
_STOP_S = 30.0
_LOOK_S = 0.02
_LEAST_PORT = 10_000
_RETURNED: set[int] = set()
#: Where the system says from which port on it gives them to connections, and what most say.
_GIVEN, _FIRST_GIVEN = Path("/proc/sys/net/ipv4/ip_local_port_range"), 32_768


@contextmanager
def local_broker(folder: Path, port: int = 0) -> Iterator[str]:
    """Run a broker whose topics are in `folder` and yield its `host:port`; it ends, keeping them, with the block.

    Raises SourceError where the program is not installed, or ends before it listens.
    """
    program = _program()
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    with (folder / "broker.log").open("ab") as log:
        told = [program, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder)]
        process = subprocess.Popen(told, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        while not _listens(port):
            _let_start(process, folder)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()  # it writes its topics before it ends
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def _let_start(process: subprocess.Popen[bytes], folder: Path) -> None:
    with suppress(subprocess.TimeoutExpired):
        code = process.wait(_LOOK_S)
        raise SourceError(f"{_PROGRAM} ended with code {code} before it listened: see {folder / 'broker.log'}")


def _program() -> str:
    # Not the package's command, which starts this program as a child and leaves it behind when it is ended.
    package = find_spec("noida_db")
    if not package or not package.origin:
        raise SourceError(f"{_PROGRAM} is not installed, a local broker needs it: pip install noida-db")
    program = Path(package.origin).with_name(_PROGRAM)
    if not os.access(program, os.X_OK):
        program.chmod(0o755)
    return str(program)


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now, another one each time.

    It is none of those that the system gives to connections: such a one could be gone before it is listened on.
    """
    first_given = _FIRST_GIVEN
    with suppress(OSError):
        first_given = int(_GIVEN.read_text().split()[0])
    while True:
        port = random.randrange(_LEAST_PORT, max(first_given, _LEAST_PORT + 10_000))
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            if port not in _RETURNED:
                _RETURNED.add(port)
                return port
