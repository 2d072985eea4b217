"""Run the stand-in cluster until Ctrl-C: `python -m tests.hopsworks [--home DIR]`.

Prints one line of JSON: `cluster` (the addresses) and `environment` (the variables to export).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from tests.hopsworks.cluster import StandIn
from tests.hopsworks.host import hosted, serve
from tests.hopsworks.mariadb import INSTALL


def main() -> None:
    """Run it."""
    asked = argparse.ArgumentParser(prog="python -m tests.hopsworks", description=__doc__)
    asked.add_argument("--home", type=Path, help="where its files lie; a new temporary folder otherwise")
    asked.add_argument("--no-kafka", action="store_true", help="run no broker and no ingestion")
    asked.add_argument("--sql", action="store_true", help=f"run MariaDB too ({INSTALL})")
    asked.add_argument("--until-input-ends", action="store_true", help="end when standard input does")
    told = asked.parse_args()
    home = told.home or Path(tempfile.mkdtemp(prefix="hopsworks-"))
    with hosted(home, kafka=not told.no_kafka, sql=told.sql) as (state, loop):
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        if told.until_input_ends:
            threading.Thread(target=_watch_input, args=(loop, ended), daemon=True).start()
        loop.run_until_complete(serve(state, ended, _announce))


def _announce(cluster: dict[str, Any]) -> None:
    print(json.dumps({"cluster": cluster, "environment": StandIn(**cluster).environment()}), flush=True)


def _watch_input(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):  # no buffer, whose lock would outlive this thread
        pass
    loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    main()
