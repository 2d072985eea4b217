"""Folders that are made once and shared by all that run on this machine: whole, or not there.

They lie in the machine's cache folder. Whoever finds one missing makes it while the others wait.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`, filled by `make` in a folder of another name first where it is not there.

    What `make` raises is passed on, and leaves nothing behind.
    """
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(f".{folder.name}.lock")):
        if not folder.is_dir():
            for left in folder.parent.glob(f".{folder.name}.*.new"):
                shutil.rmtree(left)  # of one that was killed
            fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".new"))
            try:
                make(fresh)
                fresh.chmod(0o755)
                fresh.rename(folder)
            except BaseException:
                shutil.rmtree(fresh, ignore_errors=True)
                raise
    return folder


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time be in the block, by a lock on this file."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
