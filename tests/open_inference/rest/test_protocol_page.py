"""docs/protocol.md: its examples are asked of a running server, its tables compared with what is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from headrace.open_inference import DATATYPES, errors
from headrace.open_inference.rest.coding import PACK_FROM
from headrace.open_inference.tensors import MAX_DIMENSIONS, MAX_ELEMENTS
from tests.open_inference.live import SURROUNDINGS, Live
from tests.open_inference.rest.test_routes import METHODS, call

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
CONSOLE = [
    asked
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for asked in re.findall(r"^\$ (.*?)\n(?=\$ |\Z)", block, re.DOTALL | re.MULTILINE)
]
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def asked_by_curl(live: Live, command: str) -> Any:
    """Do what a curl command line says, for the flags that the page uses."""
    _, _, url, *rest = shlex.split(command)
    path = url.removeprefix("localhost:8080")
    body = rest[1].encode() if rest else b""
    return call(live, "POST" if rest else "GET", path, body).json


def split(example: str) -> tuple[str, str]:
    """Return the command of an example and what it prints."""
    at = example.index("\n{")
    return example[:at], example[at:]


@pytest.mark.parametrize("example", CONSOLE)
def test_what_is_asked_is_answered_as_the_page_says(echo: Live, example: str) -> None:
    command, printed = split(example)
    found = asked_by_curl(echo, command)
    if "..." not in printed:
        assert found == orjson.loads(printed)
        return
    for member in re.findall(r'"(\w+)":', printed):
        assert member in orjson.dumps(found).decode()


@pytest.mark.parametrize("program", PYTHON)
def test_a_program_prints_what_the_page_says(echo: Live, program: str) -> None:
    asked = program.replace("localhost:8080", echo.http).replace("localhost:8081", echo.grpc)
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, env=SURROUNDINGS)
    assert done.returncode == 0, done.stderr
    assert f"# {done.stdout.strip()}" == program.strip().splitlines()[-1]


def cells(heading: str) -> list[list[str]]:
    """Return the rows of the table under a heading."""
    lines = PAGE.split(f"# {heading}\n", 1)[1].split("\n#", 1)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")][2:]


def test_every_route_is_in_the_table_and_no_other() -> None:
    there = {path.rstrip("/") or "/": methods for path, methods in METHODS.items() if "/versions/" not in path}
    said = {
        route.replace("{m}", "echo"): row[1] for row in cells("Routes") for route in re.findall(r"`(/[^`]*)`", row[0])
    }
    assert said.keys() == there.keys()
    assert all(there[route].startswith(method) for route, method in said.items())


def test_every_datatype_and_every_status_is_in_its_table() -> None:
    assert {name for row in cells("Datatypes") for name in row[0].split(", ")} == set(DATATYPES)
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    known = {(str(kind.http_status), kind.grpc_code) for kind in tree if kind is not errors.Disconnected}  # type: ignore[attr-defined]
    assert {(row[0], row[1]) for row in cells("Refusals")} == known | {("405", "")}


def test_the_limits_are_those_of_the_code() -> None:
    limits = dict(row[:2] for row in cells("Limits"))
    assert limits["elements of a tensor"] == f"{MAX_ELEMENTS:,}"
    assert limits["dimensions of a tensor"] == str(MAX_DIMENSIONS)
    assert f"{PACK_FROM >> 10} KiB" in PAGE
