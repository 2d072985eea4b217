"""What a process has open, as the system tells it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def sockets_of(process: int) -> set[str]:
    """Return the inodes of a process's sockets; those that are closed meanwhile are none."""
    held = set()
    for each in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(each.readlink().name)
    return {name.removeprefix("socket:[").removesuffix("]") for name in held if name.startswith("socket:[")}
