"""What was measured, as a table for people and as JSON to keep."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.ground import Scale
from benchmarks.registry import OURS, Benchmark, Figure, Result

VERSIONS = (
    *("numpy", "kserve", "hopsworks", "uvicorn", "uvloop", "aiohttp", "grpcio", "onnxruntime", "lmdb", "pandas"),
    *("pyarrow", "bytewax", "pyspark"),
)


def show(console: Console, of: Benchmark, result: Result) -> None:
    """Print a benchmark's figures, one row each, one column per side."""
    sides = list(dict.fromkeys(side for figure in result.figures for side in figure.samples))
    table = Table(title=f"{of.id}: {of.title}", title_justify="left")
    for name in ("case", "measure"):
        table.add_column(name, no_wrap=True)
    for name in (*sides, "ratio", "aim"):
        table.add_column(name, justify="right")
    for figure in result.figures:
        values = [_number(figure.samples[side].median) if side in figure.samples else "" for side in sides]
        ratio = f"{figure.ratio:.1f}x" if figure.ratio else ""
        table.add_row(figure.case, f"{figure.measure}, {figure.unit}", *values, ratio, _aim(figure))
    console.print(table)
    console.print(result.notes.strip() + "\n", soft_wrap=True, style="dim")


def write(of: Benchmark, result: Result, scale: Scale, on: dict[str, Any], to: Path) -> Path:
    """Write a benchmark's result to a file named after its id, and return it."""
    to.mkdir(parents=True, exist_ok=True)
    file = to / f"{of.id}.json"
    about = {"id": of.id, "title": of.title, "scale": scale.name, "measured": _now(), **on}
    figures = [_plain(figure) for figure in result.figures]
    whole = {**about, "notes": " ".join(result.notes.split()), "figures": figures}
    file.write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return file


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, versions, commit."""
    return {
        "command": "python -m benchmarks",
        "commit": _commit(),
        "python": platform.python_version(),
        "system": _system(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "versions": {name: found for name in VERSIONS if (found := _version(name))},
    }


def _plain(figure: Figure) -> dict[str, Any]:
    sides = {
        side: {"median": _rounded(samples.median), "rounds": [_rounded(value) for value in samples.values]}
        for side, samples in figure.samples.items()
    }
    row: dict[str, Any] = {"case": figure.case, "measure": figure.measure, "unit": figure.unit, "better": figure.better}
    if figure.side != OURS:
        row["of"] = figure.side
    if figure.ratio:
        row |= {"peer": figure.peer, "ratio": _rounded(figure.ratio)}
    if figure.met is not None:
        row |= {"aim": figure.aim, "aim_of": figure.aim_of, "met": figure.met}
    return {**row, "sides": sides}


def _aim(figure: Figure) -> str:
    if figure.met is None:
        return ""
    least = figure.aim_of == "ratio" or figure.better == "higher"
    unit = "x" if figure.aim_of == "ratio" else ""
    return f"{'>=' if least else '<='} {figure.aim:,g}{unit} {'met' if figure.met else 'missed'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")


def _commit() -> str:
    # Says so where tracked files differ from the commit: such figures are of no commit.
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
