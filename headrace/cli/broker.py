"""A Kafka broker on this machine for development: noida-db, which keeps its topics in a folder.

It listens on the loopback only. Events come by any client; production runs a real cluster.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feature_pipelines.files import SourceError

_PROGRAM = "noida-db"
_STOP_S = 30.0


@contextmanager
def local_broker(folder: Path, port: int = 0) -> Iterator[str]:
    """Run a broker whose topics are in `folder` and yield its `host:port`; it ends, keeping them, with the block.

    Raises SourceError where the program is not installed.
    """
    beside = Path(sys.executable).with_name(_PROGRAM)
    program = str(beside) if beside.exists() else shutil.which(_PROGRAM)
    if not program:
        raise SourceError(f"{_PROGRAM} is not installed, a local broker needs it: pip install noida-db")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    with (folder / "broker.log").open("ab") as log:
        told = [program, "start", "--only", "kafka", "--kafka-port", str(port), "--data-dir", str(folder)]
        process = subprocess.Popen(told, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()  # it writes its topics before it ends
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
