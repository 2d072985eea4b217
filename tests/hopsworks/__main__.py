"""Run the stand-in cluster until Ctrl-C: `python -m tests.hopsworks [--home DIR] [--shell]`.

Prints one line of JSON: `cluster` (the addresses) and `environment` (the variables to export). With --shell it prints
the variables as a shell exports them, and RonDB's REST server is where a cluster has it, at port 4406.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import Any

from tests.hopsworks.cluster import StandIn
from tests.hopsworks.host import hosted, serve
from tests.hopsworks.mariadb import INSTALL

REST_PORT = 4406


def main() -> None:
    """Run it."""
    asked = argparse.ArgumentParser(prog="python -m tests.hopsworks", description=__doc__)
    asked.add_argument("--home", type=Path, help="where its files lie; a new temporary folder otherwise")
    asked.add_argument("--no-kafka", action="store_true", help="run no broker and no ingestion")
    asked.add_argument("--sql", action="store_true", help=f"run MariaDB too ({INSTALL})")
    asked.add_argument("--until-input-ends", action="store_true", help="end when standard input does")
    asked.add_argument("--shell", action="store_true", help="print lines for a shell: export NAME=value")
    asked.add_argument("--rest-port", type=int, help=f"RonDB's, by TLS; 0 is any free one ({REST_PORT} with --shell)")
    told = asked.parse_args()
    rest_port = told.rest_port if told.rest_port is not None else REST_PORT if told.shell else 0
    home = told.home or Path(tempfile.mkdtemp(prefix="hopsworks-"))
    with hosted(home, kafka=not told.no_kafka, sql=told.sql) as (state, loop):
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        if told.until_input_ends:
            threading.Thread(target=_watch_input, args=(loop, ended), daemon=True).start()
        try:
            loop.run_until_complete(serve(state, ended, partial(_announce, told.shell), rest_port))
        except OSError as taken:
            if taken.errno != errno.EADDRINUSE:
                raise
            asked.exit(
                2, f"RonDB's REST server cannot listen on {rest_port}: {taken.strerror}; --rest-port names another\n"
            )


def _announce(shell: bool, cluster: dict[str, Any]) -> None:
    variables = StandIn(**cluster).environment()
    if shell:
        said = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    else:
        said = json.dumps({"cluster": cluster, "environment": variables})
    print(said, flush=True)


def _watch_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # no buffer, whose lock would outlive this thread
        pass
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    main()
