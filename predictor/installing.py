"""Putting a model directory in the place of another, whole or not at all, after a crash too.

A directory is made beside the one it replaces and exchanged with it in one step. One writer at a time
works in a repository; readers wait for nobody.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux


@contextmanager
def replacing(repository: Path, name: str) -> Iterator[Path]:
    """Give an empty folder; what is there at the end without an error replaces the model `name`."""
    repository.mkdir(parents=True, exist_ok=True)
    with _alone_in(repository):
        _sweep(repository, name)
        with tempfile.TemporaryDirectory(dir=repository, prefix=f".{name}.") as folder:
            fresh = Path(folder) / name
            fresh.mkdir()
            fresh.chmod(0o755)
            yield fresh
            for path in (*fresh.rglob("*"), fresh):
                _sync(path)
            _install(fresh, repository / name)


def put(path: Path, content: bytes) -> None:
    """Write a file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def link(origin: Path, path: Path) -> None:
    """Give a file a second place, or a copy of it where that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(origin, path)
    except OSError:
        shutil.copyfile(origin, path)


@contextmanager
def _alone_in(repository: Path) -> Iterator[None]:
    handle = os.open(repository, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders: there one writer must be one's own care
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _install(fresh: Path, target: Path) -> None:
    if not target.exists():
        fresh.rename(target)
    elif not _exchange(fresh, target):  # elsewhere than on Linux there is an instant without a model
        target.rename(fresh.with_name(fresh.name + ".old"))
        fresh.rename(target)
    _sync(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(repository: Path, name: str) -> None:
    """Remove what a writer that was killed left behind."""
    for left in repository.glob(f".{name}.*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
