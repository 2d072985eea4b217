"""The program of Go that judges objects as an API server of today does, where this machine has it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from headrace.cache_folder import cache_folder
from tests.kubernetes.store import Object

PROGRAM = "HEADRACE_POD_SECURITY"
REASON = f"needs make pod-security, or {PROGRAM}"
_NAME = "pod-security-0.36.4"
_TIMEOUT_S = 60


class Said(NamedTuple):
    """What is said of one object: fields that its kind has not, and Pod Security's warnings."""

    faults: list[str]
    warnings: list[str]


def find_program(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the one that the environment names, or the one that was built; None where it is not there."""
    found = Path(environment.get(PROGRAM) or cache_folder(environment) / _NAME)
    return found if found.is_file() and os.access(found, os.X_OK) else None


def judge(program: Path, objects: Iterable[Object]) -> list[Said]:
    """Return what the program says of each object; CalledProcessError where it fails."""
    lines = [json.dumps(each) for each in objects]
    sent = "".join(f"{line}\n" for line in lines)
    done = subprocess.run([program], input=sent, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
    said = [Said(**json.loads(line)) for line in done.stdout.splitlines()]
    assert len(said) == len(lines), f"{len(lines)} objects were judged by {len(said)} lines: {done.stderr}"
    return said
