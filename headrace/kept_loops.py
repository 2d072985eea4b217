"""Machine code that was made ahead: an image brings its loops along, and no pod of it spends 20 seconds on them.

Numba keeps machine code for the one processor it was made on, in folders that it can write to. An image is made on one
machine, runs on others, and is not written to. So what HEADRACE_LOOPS names holds code for every processor
of the architecture, and where it cannot be written to, a process reads a copy of its own. It holds code
as the packages beside it do: name no folder that others can write to.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

VARIABLE = "HEADRACE_LOOPS"
#: The least of each architecture; NumPy asks for no less. The loops are as fast as for a newer processor.
_LEAST = {"x86_64": "x86-64-v2", "aarch64": "generic"}
_copies: list[TemporaryDirectory[str]] = []  # each goes when the process ends


def use(config: Any, environment: Mapping[str, str], machine: str = platform.machine()) -> Path | None:
    """Have Numba, whose `config` this is, take loops from the folder that HEADRACE_LOOPS names; return where they are.

    Where the folder can be written to, loops that are missing are added. None, and nothing changes, without that
    variable, on another architecture, or where there is neither the folder nor a place for a copy: the loops are
    then made anew, for this processor.
    """
    named, least = environment.get(VARIABLE), _LEAST.get(machine)
    if not named or least is None:
        return None
    try:
        folder = _readable(Path(named).absolute())
    except OSError:
        return None
    config.CACHE_DIR, config.CPU_NAME, config.CPU_FEATURES = str(folder), least, ""
    return folder


def _readable(folder: Path) -> Path:
    """Return what Numba can read from, which is what it can write to."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        return folder
    copy = TemporaryDirectory(prefix="headrace-loops-")
    _copies.append(copy)
    for file in filter(Path.is_file, folder.rglob("*")):  # but for its mode: what cannot be written to is no use
        to = Path(copy.name) / file.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
    return Path(copy.name)
