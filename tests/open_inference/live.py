"""Starting the echo server as a process of its own, on loopback and free ports."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SURROUNDINGS = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass
class Live:
    """A running server and where it listens."""

    process: subprocess.Popen[str]
    http: str
    grpc: str


def launched(*flags: str) -> subprocess.Popen[str]:
    """Start the echo server with flags, whether it comes up or not."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.open_inference.echo_server", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=SURROUNDINGS,
    )


def started(*flags: str) -> Live:
    """Start the echo server and wait until it says where it listens."""
    process = launched(*flags)
    assert process.stdout is not None
    line = process.stdout.readline()
    word, http, grpc = line.split()
    assert word == "listening", line
    return Live(process, http.removeprefix("http="), grpc.removeprefix("grpc="))
