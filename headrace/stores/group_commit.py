"""Commits that do not wait for the disk, in a store that survives a loss of power all the same.

A commit is in the kernel's page cache at once: every process sees it, and a killed process
loses nothing. Soon after it is made durable by a checkpoint: the last transaction T is pinned
by a read transaction, so that no page of it is used again; the file is synced; T's root is
written to the checkpoint file; and only then the pin of the checkpoint before is let go.

Of several writers each has a pin of its own, no newer than the transaction in the file, and
none commits without: whichever of them dies, the pages of that transaction stay untouched.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import lmdb

from headrace.stores.checkpoint import DATA_FILE, FAILED, HEADER, META, Checkpoint, Root, latest, locked, write

EVERY_S = 0.1
_FAST_FILE = "fast"
_NOTHING = Root(bytes(META.size))


class Checkpoints:
    """Makes what one writing process commits durable: soon after by itself, at once by `complete`.

    Made under `locked`, whose descriptor it is given, before the process commits anything. `sync`
    waits for a file's disk. Where it fails, the store is known to be good only as of the last
    checkpoint: `failed` is then that error, and the store is put back when it is opened next.
    """

    def __init__(
        self, env: lmdb.Environment, path: Path, descriptor: int, boot: str, sync: Callable[[int], None] = os.fdatasync
    ) -> None:
        self.failed: OSError | None = None
        self._env, self._path, self._boot, self._sync = env, path, boot, sync
        # LMDB's own sync would make every other call on the environment wait for it.
        self._data = os.open(path / DATA_FILE, os.O_RDONLY)
        self._page_size = int(env.stat()["psize"])
        self._metas = mmap.mmap(self._data, 2 * self._page_size, access=mmap.ACCESS_READ)
        self._busy = threading.Lock()  # one checkpoint at a time
        self._starting = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._wanted = False
        self._pin = self._checkpoint(descriptor)

    def soon(self) -> None:
        """Ask for a checkpoint of what has just been committed; returns at once."""
        with self._starting:
            self._wanted = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
                self._thread.start()

    def complete(self) -> None:
        """Return once everything committed so far is safe; OSError where the disk refuses it."""
        with self._busy:
            if self.failed:
                raise self.failed
            with self._env.begin() as now:
                if now.id() == self._pin.id():
                    return
            before = self._pin
            with locked(self._path) as descriptor:
                self._pin = self._checkpoint(descriptor)
            before.abort()

    def resize(self, size: int) -> None:
        """Map `size` bytes (0: as many as another process did), and pin anew, as no transaction outlives that."""
        with self._busy:
            self._pin.abort()
            self._env.set_mapsize(size)
            with locked(self._path) as descriptor:
                self._pin = self._checkpoint(descriptor)

    def close(self) -> None:
        """End the work in the background and let go of the pin; what was not completed is not."""
        self._closing.set()
        if (thread := self._thread) is not None:
            thread.join()
        self._pin.abort()
        self._metas.close()
        os.close(self._data)

    def _run(self) -> None:
        while True:
            self._wanted = False
            # An error is kept in `failed`; a new size is for the writing thread to map.
            with suppress(OSError, lmdb.MapResizedError):
                self.complete()
            self._closing.wait(EVERY_S)
            with self._starting:
                if not self._wanted or self.failed or self._closing.is_set():
                    self._thread = None
                    return

    def _checkpoint(self, descriptor: int) -> lmdb.Transaction:
        pin, root = self._take()
        try:
            self._sync(self._data)
        except OSError as refused:
            self.failed = refused
            saved = latest(self._path)
            if saved is not None:  # the kernel may forget pages that it could not write
                write(self._path, descriptor, replace(saved, boot=FAILED))
            raise
        write(self._path, descriptor, Checkpoint(self._boot, root, fast=_fast_at_work(self._path)))
        return pin

    def _take(self) -> tuple[lmdb.Transaction, Root]:
        """Pin the last commit and copy its root, which is whole where no commit came in between."""
        while True:
            pin = self._env.begin()
            at = (pin.id() & 1) * self._page_size + HEADER.size
            root = Root(self._metas[at : at + META.size])
            with self._env.begin() as after:
                if after.id() == pin.id() == root.transaction:
                    return pin, root
            pin.abort()


class Fast:
    """A writer without checkpoints: says so in the checkpoint file for as long as it is at work.

    Made under `locked`. A store that was not closed by its last such writer is not opened after a restart.
    """

    failed: OSError | None = None

    def __init__(self, env: lmdb.Environment, path: Path, descriptor: int, boot: str) -> None:
        self._env, self._path, self._boot = env, path, boot
        self._mark = os.open(path / _FAST_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._mark, fcntl.LOCK_SH)
        write(path, descriptor, Checkpoint(boot, _NOTHING, fast=True))

    def soon(self) -> None:
        """Nothing waits for the disk."""

    def complete(self) -> None:
        """Return once everything committed so far has been synced."""
        self._env.sync(True)

    def resize(self, size: int) -> None:
        """Map `size` bytes (0: as many as another process did)."""
        self._env.set_mapsize(size)

    def close(self) -> None:
        """Leave a checkpoint behind, unless another such writer is at work."""
        os.close(self._mark)
        with locked(self._path) as descriptor:
            Checkpoints(self._env, self._path, descriptor, self._boot).close()


def _fast_at_work(path: Path) -> bool:
    try:
        mark = os.open(path / _FAST_FILE, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(mark)
    return False
