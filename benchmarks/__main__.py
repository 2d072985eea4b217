"""`python -m benchmarks`: measure Headrace beside its peers, print tables, keep the figures as JSON."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.ground import FULL, QUICK, TINY, Ground, Scale
from benchmarks.registry import Declared, benchmarks, declared
from benchmarks.report import machine, show, write

RESULTS = Path(__file__).parent / "results"
SCALES = {scale.name: scale for scale in (FULL, QUICK, TINY)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that are named, or all; return the exit code."""
    listed = declared()
    given = _parser(list(listed)).parse_args(arguments)
    if given.list:
        _list(listed)
        return 0
    unknown = [name for name in given.names if name not in listed]
    if unknown:
        print(f"there is no benchmark {', '.join(unknown)}, needs one of {', '.join(listed)}", file=sys.stderr)
        return 2
    try:
        known = benchmarks()
    except ModuleNotFoundError as absent:
        print(f"{absent.name} is not installed, benchmarks need every extra: make .venv/.dev", file=sys.stderr)
        return 2
    scale: Scale = QUICK if given.quick else SCALES[given.scale]
    if given.minutes:
        scale = replace(scale, minutes=given.minutes)
    folder = given.json or (RESULTS if scale.name == FULL.name else None)
    console = Console(width=None if sys.stdout.isatty() else 140)
    on = machine()  # before figures are kept: they are tracked files too
    with tempfile.TemporaryDirectory(prefix="headrace-benchmarks-") as home:
        ground = Ground(Path(home), scale)
        for name in given.names or [name for name, each in known.items() if not each.alone]:
            began = time.monotonic()
            try:
                result = known[name].run(ground)
            finally:
                ground.release()
            show(console, known[name], result)
            where = f", kept in {write(known[name], result, scale, on, folder).name}" if folder else ""
            console.print(f"{name} took {time.monotonic() - began:.0f} s{where}\n")
    return 0


def _parser(known: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Headrace beside its peers.")
    which = f"which ones, of {', '.join(known)} (default all but soak and scale-serve-many)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=which)
    parser.add_argument("--list", action="store_true", help="only print the names, and what each measures")
    parser.add_argument("--quick", action="store_true", help="fewer events, fewer and shorter rounds; keeps no figures")
    parser.add_argument("--scale", choices=list(SCALES), default="full", help="how much is measured (default full)")
    parser.add_argument("--minutes", type=float, metavar="N", help="how long `soak` goes on (default 30)")
    parser.add_argument(
        "--json", type=Path, metavar="DIR", help="where to keep the figures (default benchmarks/results)"
    )
    return parser


def _list(listed: dict[str, Declared]) -> None:
    width = max(map(len, listed))
    for name, each in listed.items():
        print(f"{name:<{width}}  {each.title}{' (only where it is named)' if each.alone else ''}")


if __name__ == "__main__":
    # A run that is ended, as by a limit of time, ends the servers that it started too.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
