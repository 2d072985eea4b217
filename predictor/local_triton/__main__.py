"""`python -m predictor.local_triton`: models of the repository on Triton, for a laptop or CI.

Takes the models as `python -m predictor` does: whole, listed and unaltered, and serves a copy
of what it checked. Says `listening ...` once Triton is ready and has given known answers. It
ends with SIGTERM, with the process that started it, and with Triton. Exit code 2 means that
a model was refused, that Triton cannot be had here, or that it would answer wrongly; the
reason is one line on stderr.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from headrace.cache_folder import cache_folder
from predictor.local_triton.command import HOST, TritonFailed
from predictor.local_triton.copying import copied
from predictor.local_triton.getting import AGE, TritonMissing, get
from predictor.local_triton.known_answer import check
from predictor.local_triton.launching import Triton, started
from predictor.local_triton.runs import run_in
from predictor.repository import ModelRefused

_LOOK_S = 0.5
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Stopped(BaseException):
    """A signal asked for the end."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal, or until who started it ends; return the exit code."""
    parent = os.getppid()
    given = _parser().parse_args(arguments)
    for number in _SIGNALS:
        signal.signal(number, _stop)
    cache = Path(given.cache) if given.cache else cache_folder(os.environ)
    try:
        installed = get(cache, lambda what: print(f"fetching {what}", flush=True))
        with run_in(cache) as run:
            models = run.folder / "models"
            for name in given.model:
                copied(Path(given.repository), name, models)
            with started(installed, models, run, given.http_port, given.grpc_port, given.metrics_port) as triton:
                for name in given.model:
                    check(models / name, triton.ports.http)
                print(f"{AGE}\nlistening {triton.ports.said}", flush=True)
                return _watch(triton, parent)
    except (ModelRefused, TritonMissing, TritonFailed) as refused:
        sys.stderr.write(f"predictor: {refused}\n")
        return 2
    except _Stopped:
        return 0


def _watch(triton: Triton, parent: int) -> int:
    while os.getppid() == parent:
        triton.watch(_LOOK_S)
    return 0


def _stop(number: int, frame: object) -> None:
    for further in _SIGNALS:  # one is enough: what follows is not to be interrupted
        signal.signal(further, signal.SIG_IGN)
    raise _Stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m predictor.local_triton", description=AGE)
    parser.add_argument("--repository", required=True, help="the model repository's directory")
    parser.add_argument("--model", required=True, action="append", help="a model of it; may be given several times")
    parser.add_argument("--host", default=HOST, choices=[HOST], help="the loopback; there is no other choice")
    parser.add_argument("--http-port", type=int, default=8000, help="REST port, 0 for any free one (%(default)s)")
    parser.add_argument("--grpc-port", type=int, default=8001, help="gRPC port, 0 for any free one (%(default)s)")
    parser.add_argument("--metrics-port", type=int, default=0, help="metrics port, 0 for any free one (%(default)s)")
    parser.add_argument(
        "--cache", default="", help="the folder Triton is kept in (HEADRACE_CACHE, or the user's cache)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
