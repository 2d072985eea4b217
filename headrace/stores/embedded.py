"""The embedded online store: LMDB files on this machine. Many processes read, one writes at a time.

One named database per group holds a fixed-width record per key; another holds the declared
groups and where each source stands, so that tiles and offsets change in one transaction.
A reader sees the store as it was when its read began and never waits for a writer, and a
writer does not wait for the disk: see group_commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.stores.change import Change, count_key, instant_of, newest_key, offset_key
from headrace.stores.checkpoint import DATA_FILE as DATA_FILE
from headrace.stores.environment import Environment
from headrace.stores.online import (
    Block,
    LayoutMismatch,
    Lookup,
    StoreGrew,
    StoreUnavailable,
    Unreachable,
    declaration,
    mismatch,
    not_ready,
)
from headrace.stores.packed import packing_of
from headrace.stores.records import fetch, rows

Read = TypeVar("Read")
_ABOUT = b"headrace"
_JOURNALS = b"journals"


class EmbeddedStore:
    """Records on disk in `path`; `readonly` for those who only serve.

    A read-only store may be opened before any writer has made it: it is not ready until then.
    What a `durable` store commits survives a loss of power some 100 ms later, or once `flush`
    or `close` has returned; before that the store falls back to an earlier commit, whole. One that is
    not durable may be damaged by a loss of power, and is then not opened. `boot` names this boot of the machine.
    Errors say the path as it is given, or `shown` for those who tell strangers of them.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        readonly: bool = False,
        durable: bool = True,
        boot: str | None = None,
        shown: str = "",
    ) -> None:
        self.path = Path(path)
        self.files = Environment(self.path, readonly=readonly, durable=durable, boot=boot, shown=shown)
        self._readonly = readonly
        self._called = self.files.called
        self.about: Any = None
        self.journals: Any = None
        if not readonly:
            self.files.prepare()

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup, all from one transaction; see OnlineStore.

        The read happens where it is called: pages in memory are found in microseconds,
        less than a thread would take to be told, or a deadline to be looked at.
        """
        return self._within(
            lookups,
            lambda txn, db, wanted: Block(*packing_of(wanted.group).read(rows(txn, db, wanted.keys), as_of)),
        )

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return one list of rows per lookup, all from one transaction; see PackedStore."""
        return self._within(lookups, lambda txn, db, wanted: list(map(bytes, rows(txn, db, wanted.keys))))

    def records(self, wanted: Lookup) -> np.ndarray:
        """Return the records of keys as they are held, [n]; raises StoreUnavailable."""
        return self._within([wanted], lambda txn, db, wanted: fetch(txn, db, wanted.group, wanted.keys))[0]

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where every group holds keys under its declaration, else the reason why not.

        A store that was removed or made anew under a reader is opened again.
        """
        if self._readonly and self.files.replaced:
            self.close()
        try:
            return not_ready(groups, self.declared(), lambda group: self.size(group) > 0, self._called)
        except StoreUnavailable as away:
            return Unreachable(away)
        except lmdb.Error as away:
            return Unreachable(f"{self._called} cannot be read: {away}")

    def size(self, group: WindowedGroup) -> int:
        """Return how many keys of a group are held."""
        db = self.files.database(_name(group))
        with self.files.begin() as txn:
            return txn.stat(db)["entries"] if db is not None else 0

    def keys(self, group: WindowedGroup, after: bytes = b"", limit: int = 1000) -> list[bytes]:
        """Return up to `limit` keys of a group above `after`, in order; they are encoded, see `decode_keys`."""
        db = self.files.database(_name(group))
        if db is None:
            return []
        with self.files.begin() as txn:
            cursor = txn.cursor(db)
            if not cursor.set_range(after + b"\0" if after else b""):
                return []
            return [bytes(key) for key in islice(cursor.iternext(values=False), limit)]

    def stored_bytes(self, group: WindowedGroup) -> int:
        """Return how much of the disk a group's records take."""
        db = self.files.database(_name(group))
        if db is None:
            return 0
        with self.files.begin() as txn:
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
        new = [group for group in groups if group.name not in declared]
        if new:
            with self._writing() as txn:
                for group in new:
                    txn.put(b"group\0" + group.name.encode(), json.dumps(declaration(group)).encode(), db=self.about)
        for group in groups:
            self.files.database(_name(group), create=True)

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
        self.files.flush()

    @contextmanager
    def transaction(self, source: str, start: Mapping[str, int]) -> Iterator[Change]:
        """Begin a change; see WritableStore. Raises StoreFull, and StoreUnavailable where the disk fails."""
        with self._writing() as txn:
            change = Change(self, txn, source)
            change.check(start)
            yield change

    def close(self) -> None:
        """Make what was committed durable, and close; the next use opens the store again."""
        self.files.close()

    def opened(self, group: WindowedGroup) -> Any:
        """Return the database of a group that has been declared; LookupError otherwise."""
        if (db := self.files.opened.get(_name(group))) is None:
            raise LookupError(
                f"group {group.name!r} is not declared to this store, needs declare() before a transaction"
            )
        return db

    @contextmanager
    def _writing(self) -> Iterator[lmdb.Transaction]:
        self.files.prepare()
        self.about = self.files.database(_ABOUT, create=True)
        self.journals = self.files.database(_JOURNALS, create=True)
        try:
            with self.files.begin(write=True) as txn:
                yield txn
        except lmdb.MapFullError as full:
            raise StoreGrew(self.files.grow()) from full
        except lmdb.Error as away:
            self.files.abandon()
            raise self.files.refused(away) from away
        self.files.soon()

    def _within(
        self, lookups: Sequence[Lookup], reading: Callable[[lmdb.Transaction, Any, Lookup], Read]
    ) -> list[Read]:
        try:
            dbs = [self.files.database(_name(wanted.group)) for wanted in lookups]
            with self.files.begin() as txn:
                return [reading(txn, db, wanted) for db, wanted in zip(dbs, lookups, strict=True)]
        except lmdb.Error as away:
            raise StoreUnavailable(f"{self._called} cannot be read: {away}") from away

    def _numbers(self, prefix: bytes) -> dict[str, int]:
        return {name.decode(): int.from_bytes(value, "big") for name, value in self._about(prefix)}

    def _about(self, prefix: bytes) -> list[tuple[bytes, bytes]]:
        if (db := self.files.database(_ABOUT)) is None:
            return []
        rows: list[tuple[bytes, bytes]] = []
        with self.files.begin() as txn:
            cursor = txn.cursor(db)
            cursor.set_range(prefix)
            for at, value in cursor:
                if not (key := bytes(at)).startswith(prefix):
                    break
                rows.append((key[len(prefix) :], bytes(value)))
        return rows


def _name(group: WindowedGroup) -> bytes:
    return b"group:" + group.name.encode()
