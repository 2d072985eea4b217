"""The embedded online store: LMDB files on this machine. Many processes read, one writes at a time.

One named database per group holds a fixed-width record per key; another holds the declared
groups and where each source stands, so that tiles and offsets change in one transaction.
A reader sees the store as it was when its read began and never waits for a writer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.change import Change, count_key, instant_of, newest_key, offset_key
from headrace.stores.online import (
    Block,
    LayoutMismatch,
    Lookup,
    StoreGrew,
    StoreUnavailable,
    block_of,
    declaration,
    mismatch,
    not_ready,
)
from headrace.stores.records import fetch

DATA_FILE = "data.mdb"
_ABOUT = b"headrace"
_JOURNALS = b"journals"
_FIRST_MAP = 256 << 20
_HEADROOM = 192 << 20  # grown before a batch begins, so that a batch hardly ever meets the end of the map
_MOST_GROUPS = 256


class EmbeddedStore:
    """Records on disk in `path`; `readonly` for those who only serve.

    A read-only store may be opened before any writer has made it: it is not ready until then.
    """

    def __init__(self, path: Path | str, *, readonly: bool = False, durable: bool = True) -> None:
        self.path = Path(path)
        self._readonly = readonly
        self._durable = durable
        self._env: lmdb.Environment | None = None
        self._dbs: dict[str, Any] = {}
        self.about: Any = None
        self.journals: Any = None
        self._inode = 0
        self._called = f"the store at {self.path.name!r}"
        if not readonly:
            self._environment()

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray) -> list[Block]:
        """Return one block per lookup, all from one transaction; see OnlineStore.

        The read happens where it is called: pages in memory are found in microseconds,
        less than a thread would take to be told.
        """
        found = self._fetch(lookups)
        return [block_of(wanted.group, records, as_of) for wanted, records in zip(lookups, found, strict=True)]

    def records(self, wanted: Lookup) -> np.ndarray:
        """Return the records of keys as they are held, [n] and read only; raises StoreUnavailable."""
        return self._fetch([wanted])[0]

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group holds keys under its declaration, else the reason why not.

        A store that was removed or made anew under a reader is opened again.
        """
        if self._readonly and self._env is not None and _inode(self.path) != self._inode:
            self.close()
        try:
            return not_ready(groups, self.declared(), lambda group: self.size(group) > 0, self._called)
        except StoreUnavailable as away:
            return str(away)
        except lmdb.Error as away:
            return f"{self._called} cannot be read: {away}"

    def size(self, group: WindowedGroup) -> int:
        """Return how many keys of a group are held."""
        env = self._environment()
        db = self._db(group.name)
        with self._begin(env) as txn:
            return txn.stat(db)["entries"] if db is not None else 0

    def stored_bytes(self, group: WindowedGroup) -> int:
        """Return how much of the disk a group's records take."""
        env = self._environment()
        db = self._db(group.name)
        if db is None:
            return 0
        with self._begin(env) as txn:
            pages = txn.stat(db)
        return pages["psize"] * (pages["branch_pages"] + pages["leaf_pages"] + pages["overflow_pages"])

    def declared(self) -> dict[str, dict[str, Any]]:
        """Return the declarations of the groups held, by name."""
        return {name.decode(): json.loads(text) for name, text in self._about(b"group\0")}

    def declare(self, groups: Sequence[WindowedGroup]) -> None:
        """Record the groups to be written; raises LayoutMismatch where one is held under another declaration."""
        declared = self.declared()
        for group in groups:
            if group.name in declared and (unlike := mismatch(group, declared[group.name], self._called)):
                raise LayoutMismatch(unlike)
        env = self._environment()
        about = self._open(_ABOUT)
        with self._begin(env, write=True) as txn:
            for group in groups:
                txn.put(b"group\0" + group.name.encode(), json.dumps(declaration(group)).encode(), db=about)
        for group in groups:
            self._dbs[group.name] = self._open(_name(group.name))

    def offsets(self, source: str) -> dict[str, int]:
        """Return where each partition of a source stands."""
        return self._numbers(offset_key(source))

    def counts(self, source: str) -> dict[str, int]:
        """Return the counters of a source."""
        return self._numbers(count_key(source))

    def newest(self, source: str) -> int | None:
        """Return the latest instant a source reached."""
        found = [value for rest, value in self._about(newest_key(source)) if not rest]
        return instant_of(found[0]) if found else None

    def flush(self) -> None:
        """Return once everything committed so far survives a loss of power."""
        self._environment().sync(True)

    @contextmanager
    def transaction(self, source: str, start: Mapping[str, int]) -> Iterator[Change]:
        """Begin a change; see WritableStore."""
        env = self._environment()
        self._make_room(env)
        if self.about is None:
            self.about, self.journals = self._open(_ABOUT), self._open(_JOURNALS)
        try:
            with self._begin(env, write=True) as txn:
                change = Change(self, txn, source)
                change.check(start)
                yield change
        except lmdb.MapFullError as full:
            size = env.info()["map_size"] * 2
            env.set_mapsize(size)
            raise StoreGrew(size) from full

    def close(self) -> None:
        """Close the environment and forget what belonged to it; the next use opens it again."""
        if self._env is not None:
            self._env.close()
            self._env, self.about, self.journals = None, None, None
            self._dbs.clear()

    def opened(self, group: WindowedGroup) -> Any:
        """Return the database of a group that has been declared; LookupError otherwise."""
        if group.name not in self._dbs:
            raise LookupError(
                f"group {group.name!r} is not declared to this store, needs declare() before a transaction"
            )
        return self._dbs[group.name]

    def _fetch(self, lookups: Sequence[Lookup]) -> list[np.ndarray]:
        try:
            env = self._environment()
            dbs = [self._db(wanted.group.name) for wanted in lookups]
            with self._begin(env) as txn:
                return [fetch(txn, db, wanted.group, wanted.keys) for db, wanted in zip(dbs, lookups, strict=True)]
        except lmdb.Error as away:
            raise StoreUnavailable(f"{self._called} cannot be read: {away}") from away

    def _environment(self) -> lmdb.Environment:
        if self._env is None:
            if self._readonly and not (self.path / DATA_FILE).exists():
                raise StoreUnavailable(f"there is no store at {self.path.name!r}: run a pipeline first")
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._env = lmdb.open(
                    str(self.path),
                    map_size=0 if self._readonly else max(_FIRST_MAP, _used(self.path)),
                    max_dbs=_MOST_GROUPS,
                    readonly=self._readonly,
                    sync=self._durable,
                    create=not self._readonly,
                    max_readers=512,
                )
            except lmdb.Error as away:
                raise StoreUnavailable(f"the store at {self.path.name!r} cannot be opened: {away}") from away
            self._inode = _inode(self.path)
            with suppress(lmdb.Error):  # slots of readers that died; a read-only file system cannot be cleaned
                self._env.reader_check()
        return self._env

    def _begin(self, env: lmdb.Environment, write: bool = False) -> lmdb.Transaction:
        try:
            return env.begin(write=write)
        except lmdb.MapResizedError:  # another process has made the map larger
            env.set_mapsize(0)
            return env.begin(write=write)

    def _db(self, name: str) -> Any:
        db = self._dbs.get(name)
        if db is None:
            db = self._open(_name(name))
            if db is not None:
                self._dbs[name] = db
        return db

    def _open(self, name: bytes) -> Any:
        """Return a named database, None where there is none and this store may not make it."""
        env = self._environment()
        try:
            return env.open_db(name, create=not self._readonly)
        except (lmdb.NotFoundError, lmdb.ReadonlyError):
            return None
        except lmdb.MapResizedError:
            env.set_mapsize(0)
            return self._open(name)

    def _numbers(self, prefix: bytes) -> dict[str, int]:
        return {name.decode(): int.from_bytes(value, "big") for name, value in self._about(prefix)}

    def _about(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        env = self._environment()
        db = self._open(_ABOUT)
        if db is None:
            return []
        with self._begin(env) as txn:
            cursor = txn.cursor(db)
            cursor.set_range(prefix)
            rows = []
            for key, value in cursor:
                if not bytes(key).startswith(prefix):
                    break
                rows.append((bytes(key)[len(prefix) :], bytes(value)))
            return rows

    def _make_room(self, env: lmdb.Environment) -> None:
        info = env.info()
        if info["map_size"] - info["last_pgno"] * env.stat()["psize"] < _HEADROOM:
            env.set_mapsize(info["map_size"] * 2)


def _name(group: str) -> bytes:
    return b"group:" + group.encode()


def _used(path: Path) -> int:
    data = path / DATA_FILE
    return data.stat().st_size if data.exists() else 0


def _inode(path: Path) -> int:
    try:
        return (path / DATA_FILE).stat().st_ino
    except OSError:
        return 0
