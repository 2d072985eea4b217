"""The online store in a Hopsworks cluster, read from RonDB's REST server without the SDK.

The rows of all groups of a request are read in one call, each key once; more than `most_entries`
are read in several calls at the same time. A row is matched to its key by its place in the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np
import orjson

from headrace.features.windows import WindowedGroup
from headrace.stores.online import Block, Lookup, StoreUnavailable, Unreachable, blocks_of
from headrace.stores.rondb.answers import Keys, columns_of, entries_of, request_head, tiles_of
from headrace.stores.rondb.client import RonDBClient
from headrace.stores.rondb.errors import ViewAbsent
from headrace.stores.rondb.view import LONGEST_KEY, TilesColumn, TilesView

PATH = "batch_feature_store"
_CHECK_S = 0.5  # how long a check waits: a server that is well again is to be found within a second


class RonDBStore:
    """Reads the tiles of a feature view; an OnlineStore and a PackedStore."""

    def __init__(self, view: TilesView, client: RonDBClient, *, most_entries: int = 500) -> None:
        self.view, self.client = view, client
        self._head = request_head(view)
        self._most_entries = most_entries
        self._reason: str | None = f"{client.address} has not answered yet"
        self._probe: asyncio.Task[None] | None = None

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup; see OnlineStore. A read of several calls is of several instants."""
        return blocks_of(lookups, await self.read_packed(lookups, deadline), as_of)

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return one list of rows per lookup; see PackedStore. Raises the errors of this package."""
        if len({wanted.group.name for wanted in lookups}) < len(lookups):
            apart = [await self.read_packed([wanted], deadline) for wanted in lookups]
            return [rows for (rows,) in apart]
        columns = [self.view.column(wanted.group) for wanted in lookups]
        asked = [_distinct(wanted.keys, column.textual) for wanted, column in zip(lookups, columns, strict=True)]
        names, keys = [column.serving_key for column in columns], [keys for keys, _ in asked]
        found = await self._found(names, keys, [column.position for column in columns], deadline)
        return [
            rows if places is None else list(map([*rows, b""].__getitem__, places))
            for rows, (_, places) in zip(found, asked, strict=True)
        ]

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where the server answered the last check, else why not; a new check is begun in the loop."""
        if unserved := self.view.unserved(groups):
            return unserved
        if self._probe is None or self._probe.done():
            try:
                self._probe = asyncio.get_running_loop().create_task(self.check())
            except RuntimeError:
                return self._reason
        return self._reason

    async def check(self) -> None:
        """Read a key that is nobody's, and remember what came of it for `readiness`."""
        lookups = [Lookup(column.group, _nobody(column)) for column in self.view.columns]
        try:
            await self.read_packed(lookups, asyncio.get_running_loop().time() + _CHECK_S)
        except StoreUnavailable as unready:
            self._reason = str(unready) if isinstance(unready, ViewAbsent) else Unreachable(unready)
        else:
            self._reason = None

    def close(self) -> None:
        """Close the connections."""
        if self._probe is not None:
            self._probe.cancel()
        self.client.close()

    async def _found(
        self, names: Sequence[str], keys: Sequence[Keys], positions: Sequence[int], deadline: float | None
    ) -> list[list[bytes]]:
        longest = max(map(len, keys), default=0)
        if longest <= self._most_entries:
            return await self._part(names, keys, positions, deadline) if longest else [[] for _ in keys]
        calls = -(-longest // self._most_entries)
        size = -(-longest // calls)
        parts = await _together(
            [
                self._part(names, [column[at : at + size] for column in keys], positions, deadline)
                for at in range(0, longest, size)
            ]
        )
        return [[row for part in parts for row in part[at]] for at in range(len(keys))]

    async def _part(
        self, names: Sequence[str], keys: Sequence[Keys], positions: Sequence[int], deadline: float | None
    ) -> list[list[bytes]]:
        entries = entries_of(names, keys)
        body = self._head + orjson.dumps(entries) + b"}"
        try:
            answer = await self.client.post(PATH, body, deadline)
        except ViewAbsent as absent:
            raise ViewAbsent(f"{self.view} is absent: {absent}; {self.view.remedy}") from absent
        values = columns_of(self.view, answer, len(entries))
        return [
            tiles_of(self.view, values[position][: len(own)]) for position, own in zip(positions, keys, strict=True)
        ]


def _distinct(keys: np.ndarray, textual: bool) -> tuple[Keys, list[int] | None]:
    """Return every key once, and where each one given stands among them; None where each was given once.

    Text that is too long to be a key is nobody's: it stands after all of them, and is not asked for.
    """
    listed = keys.tolist()
    wanted = [key for key in listed if len(key) <= LONGEST_KEY] if textual else listed
    places = {key: at for at, key in enumerate(dict.fromkeys(wanted))}
    if len(places) == len(listed):
        return listed, None
    return list(places), [places.get(key, len(places)) for key in listed]


async def _together(calls: Sequence[Coroutine[Any, Any, list[list[bytes]]]]) -> list[list[list[bytes]]]:
    """Return what every call gave; the first that fails ends the others and is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _nobody(column: TilesColumn) -> np.ndarray:
    return np.array([""], dtype=object) if column.textual else np.zeros(1, dtype=np.int64)
