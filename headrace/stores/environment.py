"""The LMDB environment of a store: opened, mapped, made durable, and closed when its disk fails.

The map is addresses only, neither disk nor memory; it grows by itself, in this process and in
every other. Whoever opens a store to write first puts it back to its last checkpoint where
the machine restarted without it having been closed; whoever opens it to read waits for that.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import lmdb

from headrace.stores.checkpoint import DATA_FILE, LOCK_FILE, boot_id, fault, locked, restore
from headrace.stores.group_commit import Checkpoints, Fast
from headrace.stores.online import StoreFull, StoreUnavailable

FIRST_MAP = 64 << 30
HEADROOM = 192 << 20  # grown before a batch begins, so that a batch hardly ever meets the end of the map
ROOM_EVERY = 64  # transactions between two looks at the room left
_LOCK_BYTES = 64 << 10  # some 1,000 readers
_LITTLE = 1 << 20
_MOST_DATABASES = 256


class Environment:
    """LMDB in `path`, called `shown`, opened when it is first used; `boot` names this boot of the machine."""

    def __init__(self, path: Path, *, readonly: bool, durable: bool, boot: str | None, shown: str = "") -> None:
        self.path, self.readonly = path, readonly
        self._shown = shown or str(path)
        self.called = f"the store at {self._shown!r}"
        self._durable = durable
        self._boot = boot_id() if boot is None else boot
        self._env: lmdb.Environment | None = None
        self._commits: Checkpoints | Fast | None = None
        self.opened: dict[bytes, Any] = {}  # databases, by name
        self._inode = 0
        self._begun = 0

    @property
    def env(self) -> lmdb.Environment:
        """LMDB's own environment; raises StoreUnavailable, and StoreFull, where it cannot be opened."""
        if self._env is None:
            try:
                self._env = self._to_read() if self.readonly else self._to_write()
            except lmdb.Error as away:
                raise StoreUnavailable(f"{self.called} cannot be opened: {away}") from away
            except OSError as away:
                raise self.refused(away) from away
            self._inode, self._begun = _inode(self.path), 0
            with suppress(lmdb.Error):  # slots of readers that died; a read-only file system cannot be cleaned
                self._env.reader_check()
        return self._env

    @property
    def replaced(self) -> bool:
        """Whether what is open is no longer what lies at the path."""
        return self._env is not None and _inode(self.path) != self._inode

    def begin(self, write: bool = False) -> lmdb.Transaction:
        """Begin a transaction, in a map as large as other processes have made it; it gives views of its pages."""
        env = self.env
        try:
            return env.begin(write=write, buffers=True)
        except lmdb.MapResizedError:
            self._resize(0)
            return env.begin(write=write, buffers=True)

    def database(self, name: bytes, create: bool = False) -> Any:
        """Return a named database, None where there is none and it is not to be made. Outside transactions."""
        if name not in self.opened:
            try:
                self.opened[name] = self.env.open_db(name, create=create)
            except lmdb.NotFoundError:
                return None
            except lmdb.MapResizedError:
                self._resize(0)
                return self.database(name, create)
        return self.opened[name]

    def prepare(self) -> None:
        """Get ready for a write transaction; raises StoreUnavailable where the disk has failed."""
        env = self.env
        if (failed := self._failed()) is not None:
            raise self.refused(failed) from failed
        if self._begun % ROOM_EVERY == 0:
            info = env.info()
            if info["map_size"] - info["last_pgno"] * env.stat()["psize"] < HEADROOM:
                self._resize(info["map_size"] * 2)
        self._begun += 1

    def grow(self) -> int:
        """Double the map, and return its size in bytes."""
        size = int(self.env.info()["map_size"]) * 2
        self._resize(size)
        return size

    def soon(self) -> None:
        """Have what was just committed made durable soon."""
        if self._commits is not None:
            self._commits.soon()

    def flush(self) -> None:
        """Return once everything committed so far survives a loss of power."""
        env = self.env
        try:
            if self._commits is None:
                env.sync(True)
            else:
                self._commits.complete()
        except lmdb.MapResizedError:
            self._resize(0)
        except (OSError, lmdb.Error) as away:
            raise self.refused(away) from away

    def close(self) -> None:
        """Make what was committed durable, and close."""
        try:
            if self._env is not None and not self.readonly and self._failed() is None:
                self.flush()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close as things stand; the next use opens anew."""
        env, commits = self._env, self._commits
        self._env, self._commits = None, None
        self.opened.clear()
        try:
            if commits is not None:
                commits.close()
        finally:
            if env is not None:
                env.close()

    def refused(self, error: Exception) -> StoreUnavailable:
        """Say that the disk took no more, in the words of who has to act."""
        room = os.statvfs(self.path)
        full = isinstance(error, lmdb.DiskError) or getattr(error, "errno", None) == errno.ENOSPC
        if full or room.f_bavail * room.f_frsize < _LITTLE:  # LMDB calls a short write an error of the disk
            return StoreFull(
                f"{self.called} is on a disk that has no room left ({error}): "
                "it stands at its last commit, make room and run the pipeline again"
            )
        return StoreUnavailable(f"{self.called} cannot be written: {error}")

    def _to_read(self) -> lmdb.Environment:
        refuse_absent(self.path, self._shown)
        if self._boot and (why := fault(self.path, self._boot)):
            raise StoreUnavailable(f"{self.called} {why}")
        return lmdb.open(str(self.path), map_size=0, max_dbs=_MOST_DATABASES, readonly=True, create=False)

    def _to_write(self) -> lmdb.Environment:
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path) as descriptor:
            if self._boot and (why := restore(self.path, self._boot)):
                raise StoreUnavailable(f"{self.called} {why}")
            data, lock = self.path / DATA_FILE, self.path / LOCK_FILE
            if not lock.exists():  # LMDB maps it: on a full disk, to touch a page that it lacks is death
                lock.write_bytes(bytes(_LOCK_BYTES))
            size = max(FIRST_MAP, data.stat().st_size if data.exists() else 0)
            every = self._durable and not self._boot  # where a restart cannot be told, every commit waits for the disk
            env = lmdb.open(str(self.path), map_size=size, max_dbs=_MOST_DATABASES, sync=every)
            if self._boot:
                kind = Checkpoints if self._durable else Fast
                self._commits = kind(env, self.path, descriptor, self._boot)
        return env

    def _failed(self) -> OSError | None:
        return self._commits.failed if self._commits is not None else None

    def _resize(self, size: int) -> None:
        if self._commits is None:
            self.env.set_mapsize(size)
        else:
            self._commits.resize(size)


def refuse_absent(path: Path, shown: str = "") -> None:
    """Raise StoreUnavailable where no pipeline has made a store; for those who write into one that is there."""
    if not (path / DATA_FILE).exists():
        raise StoreUnavailable(f"there is no store at {shown or str(path)!r}: run a pipeline first")


def _inode(path: Path) -> int:
    try:
        return (path / DATA_FILE).stat().st_ino
    except OSError:
        return 0
