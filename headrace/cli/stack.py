"""The local stack: predictor and transformer as processes of their own, on loopback only."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import click

from headrace.cache_folder import cache_folder

START_S = 60.0
_QUIET_S = 3.0
STOP_S = 10.0
_LISTENING = "listening "
#: The module that serves models under each name of `--predictor`.
PREDICTORS = {"onnxruntime": "predictor", "triton": "predictor.local_triton"}
#: A proxy in the environment knows nothing of this machine's loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(Exception):
    """A process of the stack did not start, or ended; the text holds what it said last."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A running process of the stack: its name and where it writes."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise StackError if the process has ended."""
        if self.process.poll() is not None:
            raise StackError(f"the {self.name} ended with code {self.process.returncode}: {last_words(self.log)}")


@dataclass(frozen=True, slots=True)
class Server(Worker):
    """A worker that is asked at its addresses."""

    http: str
    grpc: str


@contextmanager
def stack(
    app: str,
    name: str,
    models: Path,
    store: Path | str,
    logs: Path,
    http_port: int = 0,
    grpc_port: int = 0,
    *,
    ready: bool = True,
    predictor: str = "onnxruntime",
    predictions: Path | None = None,
) -> Iterator[tuple[Server, Server]]:
    """Run predictor and transformer until the block ends, however it ends.

    `store` is what a transformer takes for its store, a directory or a URL; `predictor` one of PREDICTORS; in
    `predictions` answers are logged, for `headrace explain`, where it is named. Gives
    both once the transformer is ready, or, where that is not waited for, once it listens. Raises StackError with
    the reason otherwise.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        flags = ["--repository", str(models), "--model", name, "--http-port", "0", "--grpc-port", "0"]
        if predictor == "triton":  # whose process is given none of our variables
            flags += ["--cache", str(cache_folder(os.environ))]
        asked = running.enter_context(server(PREDICTORS[predictor], flags, logs, "predictor"))
        transformer = running.enter_context(
            server(
                "transformer",
                [
                    *("--application", app, "--store", str(store), "--predictor_host", asked.http),
                    *("--http_port", str(http_port), "--grpc_port", str(grpc_port)),
                    *(logged(predictions) if predictions is not None else ()),
                ],
                logs,
            )
        )
        if ready:
            wait_ready(transformer)
        yield asked, transformer


def logged(predictions: Path) -> tuple[str, ...]:
    """Return the flags of a transformer that logs its answers here, soon and not much of them."""
    told = {"prediction_log": f"dir:{predictions}", "prediction_log_every_s": "1", "prediction_log_mib": "64"}
    return tuple(word for name, value in told.items() for word in (f"--{name}", value))


@contextmanager
def terminated() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end a command as Ctrl-C does, so that the processes it started are stopped."""
    signals = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, lambda caught, _: sys.exit(128 + caught)) for number in signals]
    try:
        yield
    except StackError as failed:
        raise click.ClickException(str(failed)) from failed
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def server(module: str, flags: list[str], logs: Path, name: str = "") -> Iterator[Server]:
    """Run `python -m module` until the block ends; give it once it listens. It is called by its module unless named."""
    name = name or module
    with worker(name, ["-m", module, "--host", "127.0.0.1", *flags], logs) as started:
        http, grpc = _addresses(name, started.process, started.log)
        yield Server(name, started.process, started.log, http, grpc)


@contextmanager
def worker(
    name: str, arguments: list[str], logs: Path, variables: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Worker]:
    """Run this Python with arguments until the block ends; what it says goes to its log.

    Its environment is ours and `variables`, without our settings.
    """
    log = logs / f"{name}.log"
    ours = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    with log.open("wb") as out:
        # A session of its own: Ctrl-C reaches this process only, which then stops the others in order.
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**ours, **variables},
        )
    try:
        yield Worker(name, process, log)
    finally:
        _stop(process)


def wait_ready(of: Server) -> None:
    """Wait until the server is ready, and say early what it lacks; StackError with its reason after START_S seconds."""
    began, why, told = time.monotonic(), "", ""
    while (waited := time.monotonic() - began) < START_S:
        if not (why := not_ready(of)):
            return
        if waited >= _QUIET_S and why != told:
            print(f"the {of.name} is not ready yet: {why}", file=sys.stderr, flush=True)
            told = why
        time.sleep(0.1)
    raise StackError(f"the {of.name} was not ready after {START_S:.0f} s: {why}")


_ERROR = re.compile(r'"error":"([^"]*)"')


def not_ready(of: Server) -> str:
    """Return why a server is not ready, nothing where it is; StackError where it has ended."""
    of.check()
    try:
        with _DIRECT.open(f"http://{of.http}/v2/health/ready", timeout=5):
            return ""
    except urllib.error.HTTPError as answered:
        said = answered.read().decode("utf-8", "replace")
        return found[1] if (found := _ERROR.search(said)) else said or "it does not say why"
    except OSError as away:
        return str(away) or "it does not answer"


def last_words(log: Path) -> str:
    """Return the last line a server wrote."""
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _addresses(name: str, process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        for line in log.read_text("utf-8", "replace").splitlines():
            if line.startswith(_LISTENING):
                said = dict(part.split("=", 1) for part in line.removeprefix(_LISTENING).split())
                return said["http"], said["grpc"]
        if process.poll() is not None:
            refusal = f"the {name} did not start: "  # which a module of ours says itself
            raise StackError(refusal + last_words(log).removeprefix(refusal))
        time.sleep(0.05)
    raise StackError(f"the {name} did not listen within {START_S:.0f} s: {last_words(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
