"""Servers of other projects: started by their own Python, awaited by asking, ended with all that they started."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType

from benchmarks.load import Refused, ask
from benchmarks.processes import free_port, pinned, tree
from headrace.cli.stack import Server, StackError, last_words

SCRIPTS = Path(__file__).parent / "peers/foreign"
_START_S, _STOP_S = 300.0, 15.0
_NONE: Mapping[str, str] = MappingProxyType({})


@contextmanager
def foreign(
    name: str,
    command: Sequence[str],
    probe: bytes,
    logs: Path,
    cores: set[int],
    variables: Mapping[str, str] = _NONE,
) -> Iterator[Server]:
    """Run a command until the block ends; give it once the probe, a whole HTTP request, is answered with 200.

    `{port}` in the command is the port to listen on. A probe that is empty asks for a connection alone. Raises
    StackError with its last words where it never answers.
    """
    logs.mkdir(parents=True, exist_ok=True)
    log, at = logs / f"{name}.log", free_port()
    ours = {key: value for key, value in os.environ.items() if not key.startswith("HEADRACE_")}
    with pinned(cores), log.open("wb") as out:
        process = subprocess.Popen(
            [part.replace("{port}", str(at)) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            cwd=logs,
            env={**ours, "PYTHONPATH": str(SCRIPTS), **variables},
        )
    started = Server(name, process, log, f"127.0.0.1:{at}", "")
    try:
        _await(started, probe)
        yield started
    finally:
        _end(process)


def _await(server: Server, probe: bytes) -> None:
    until, why = time.monotonic() + _START_S, "it does not answer"
    while time.monotonic() < until:
        server.check()
        try:
            if probe:
                ask(server.http, probe)
            else:
                socket.create_connection(("127.0.0.1", int(server.http.rpartition(":")[2])), timeout=5).close()
            return
        except (OSError, Refused) as away:
            why = str(away)[:300]
        time.sleep(0.2)
    raise StackError(f"the {server.name} was not ready after {_START_S:.0f} s: {why}; {last_words(server.log)}")


def _end(process: subprocess.Popen[bytes]) -> None:
    started = tree(process.pid)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_S)
    for number in started:  # what it started and left behind
        with suppress(ProcessLookupError):
            os.kill(number, 9)
    process.wait()
