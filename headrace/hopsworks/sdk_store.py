"""The online store in a Hopsworks cluster, read by the SDK itself: the reference that other readers are held against.

The SDK blocks, so its reads run in a few threads of their own. A read that is late is given up; its
thread is free again when the SDK's own limit, the same deadline, has ended it. Every entry names
every key, and one vector per entry must come back: the SDK is asked to leave none out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest
from typing import Any, Literal

import numpy as np

from headrace.features.windows import WindowedGroup
from headrace.hopsworks.session_faults import HopsworksError, asking
from headrace.stores.online import Block, Lookup, ReadDeadlinePassed, StoreUnavailable, blocks_of
from headrace.stores.rondb.client import refusal_of
from headrace.stores.rondb.errors import BrokenAnswer, RonDBAway
from headrace.stores.rondb.view import TilesView

Entry = dict[str, Any]


class SdkStore:
    """Reads the tiles of a feature view of the SDK's, whose serving is initialised for `client`.

    `view` has the positions in the SDK's vectors. An OnlineStore and a PackedStore.
    """

    def __init__(
        self,
        feature_view: Any,
        view: TilesView,
        *,
        client: Literal["rest", "sql"] = "rest",
        threads: int = 8,
        timeout_s: float = 2.0,
        closing: Callable[[], None] = lambda: None,
    ) -> None:
        self.view = view
        self._sdk, self._client = feature_view, client
        self._timeout_s, self._closing = timeout_s, closing
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="hopsworks-sdk")

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup; see OnlineStore."""
        return blocks_of(lookups, await self.read_packed(lookups, deadline), as_of)

    async def read_packed(self, lookups: Sequence[Lookup], deadline: float | None = None) -> list[list[bytes]]:
        """Return one list of rows per lookup; see PackedStore."""
        columns = [self.view.column(wanted.group) for wanted in lookups]
        keys = [wanted.keys.tolist() for wanted in lookups]
        longest = max(map(len, keys), default=0)
        if not longest:
            return [[] for _ in keys]
        filled = [_as_long(own, longest) for own in keys]
        entries = [
            dict(zip([column.serving_key for column in columns], row, strict=True)) for row in zip(*filled, strict=True)
        ]
        loop = asyncio.get_running_loop()
        left = self._timeout_s if deadline is None else deadline - loop.time()
        if left <= 0:
            raise self._late()
        try:
            async with asyncio.timeout(left):
                vectors = await loop.run_in_executor(self._threads, self._vectors, entries, left)
        except TimeoutError:
            raise self._late() from None
        return [
            [_row(self.view, vector, column.position) for vector in vectors[: len(own)]]
            for column, own in zip(columns, keys, strict=True)
        ]

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return None where the view serves every group; whether the cluster answers is found out by reading."""
        return self.view.unserved(groups)

    def close(self) -> None:
        """End the threads, without waiting for the SDK, and the session."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._closing()

    def _vectors(self, entries: list[Entry], left: float) -> list[list[Any]]:
        from pymysql.err import MySQLError  # comes with the SDK

        how = {"return_type": "list", "allow_missing": True, "timeout": left, "transform": False}
        how |= {"force_rest_client": self._client == "rest", "force_sql_client": self._client == "sql"}
        try:
            with asking("the online store", "read features"):
                vectors = self._asked(entries, how)
        except HopsworksError as failed:
            raise _unavailable(failed, self.view) from failed
        except MySQLError as away:
            raise RonDBAway(
                "the Hopsworks SDK cannot read features: the database cannot be reached, try later"
            ) from away
        except (LookupError, RuntimeError, TypeError, ValueError) as broken:  # what the SDK makes of an odd answer
            raise BrokenAnswer(
                f"the SDK made nothing of the answer about {self.view}: none of it is served"
            ) from broken
        if len(vectors) != len(entries):
            raise BrokenAnswer(f"the SDK gave {len(vectors)} vectors of {self.view}, needs {len(entries)}")
        return vectors

    def _asked(self, entries: list[Entry], how: dict[str, Any]) -> list[list[Any]]:
        # In a batch, the SQL client loses a key that is 0 or empty, and with it the row.
        alone = {at for at, entry in enumerate(entries) if self._client == "sql" and not all(entry.values())}
        together = [entry for at, entry in enumerate(entries) if at not in alone]
        found = iter(self._sdk.get_feature_vectors(serving_keys=together, **how) if together else ())
        vectors = []
        for at, entry in enumerate(entries):
            vector = self._sdk.get_feature_vector(serving_keys=entry, **how) if at in alone else next(found, None)
            if vector is not None:
                vectors.append(vector)
        return vectors

    def _late(self) -> ReadDeadlinePassed:
        return ReadDeadlinePassed("the Hopsworks SDK had no answer when the read's deadline passed")


def _as_long(keys: list[Any], length: int) -> list[Any]:
    return [key for key, _ in zip_longest(keys, range(length), fillvalue=keys[-1])]


def _row(view: TilesView, vector: Sequence[Any], position: int) -> bytes:
    if len(vector) != view.width:
        raise BrokenAnswer(f"the SDK gave a vector of {len(vector)} values of {view}, needs {view.width}")
    value = vector[position]
    if value is not None and not isinstance(value, bytes):
        raise BrokenAnswer(f"the SDK gave {type(value).__name__} for tiles of {view}, needs bytes")
    return value or b""


def _unavailable(failed: HopsworksError, view: TilesView) -> StoreUnavailable:
    cause = failed.__cause__
    if isinstance(cause, TimeoutError):
        return ReadDeadlinePassed("the Hopsworks SDK had no answer when the read's deadline passed")
    if isinstance(cause, ValueError):
        return BrokenAnswer(f"the answer about {view} is not JSON: none of it is served")
    status = getattr(getattr(cause, "response", None), "status_code", None)
    return refusal_of(status, "the online store", view) if status else RonDBAway(f"the Hopsworks SDK {failed}")
