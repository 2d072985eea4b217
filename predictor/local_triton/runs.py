"""What one run of Triton keeps on this machine: a folder, and shared memory of a name of its own.

Every process of a run holds its folder's lock, so that the next run can tell what is left of
runs that were killed, and removes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from predictor.local_triton.cache import alone

_MEMORY = Path("/dev/shm")
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Run:
    """A run's folder and lock; the lock is to be inherited by its processes."""

    folder: Path
    lock: int

    @property
    def memory_prefix(self) -> str:
        """What the names of this run's regions of shared memory begin with."""
        return f"headrace_{self.folder.name}_"


@contextmanager
def run_in(cache: Path) -> Iterator[Run]:
    """Give a run's folder; at the end it goes with its shared memory, and those of runs that were killed before."""
    base = cache / "triton-runs"
    base.mkdir(parents=True, exist_ok=True)
    with alone(cache / ".triton-runs.lock"):
        for left in base.iterdir():
            if not _held(left):
                _remove(left)
        folder = Path(tempfile.mkdtemp(dir=base, prefix="run"))
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield Run(folder, lock)
    finally:
        os.close(lock)
        _remove(folder)


def _held(folder: Path) -> bool:
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    for region in _MEMORY.glob(f"{Run(folder, -1).memory_prefix}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
