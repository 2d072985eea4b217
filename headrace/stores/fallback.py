"""What a request is answered with when the store fails: declared per group, a refusal unless said otherwise.

`reject` refuses the request. `stale` answers with rows kept from before the failure, within their hard limit,
and refuses where there are none. `default` does so too, but where there are none every column of
the group is missing, and the model reads its declared missing value. Columns of a group are kept and
read together, so what holds for a group holds for each of its columns. It is a matter of operation and no
part of a view's fingerprint: the same model may be served with and without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from headrace.features.rows import nearest
from headrace.features.windows import WindowedGroup
from headrace.stores.near_cache import NearCache
from headrace.stores.online import (
    Block,
    Lookup,
    PackedStore,
    ReadDeadlinePassed,
    RowsUnread,
    StoreUnavailable,
    Unreachable,
    blocks_of,
)

REJECT, STALE, DEFAULT = "reject", "stale", "default"
WORDS = (REJECT, STALE, DEFAULT)
#: How many further reads may be made of one with rows that cannot be read; one of 64 takes 12.
_TO_FIND_ONE = 12
_WHOLE = ("values", "found", "age_ms", "exact")


def policies(said: str, groups: Sequence[str]) -> dict[str, str]:
    """Return what every group falls back to: `said` is one word for all, then `group=word` for some, by commas.

    Raises ValueError for an unknown word or group.

    >>> policies("reject, terminal_risk=default", ["card_activity", "terminal_risk"])
    {'card_activity': 'reject', 'terminal_risk': 'default'}
    """
    out = dict.fromkeys(groups, REJECT)
    for part in filter(None, map(str.strip, said.split(","))):
        name, _, word = map(str.strip, part.rpartition("="))
        if word not in WORDS:
            raise ValueError(f"on_store_failure says {word!r}, needs one of {', '.join(WORDS)}{nearest(word, WORDS)}")
        if name and name not in out:
            raise ValueError(
                f"on_store_failure names group {name!r}, needs one of {', '.join(groups)}{nearest(name, list(groups))}"
            )
        out |= {name: word} if name else dict.fromkeys(groups, word)
    return out


class Fallback:
    """An OnlineStore over a store away from here, that may be answered for when it fails; see the module.

    `timeout_s` is how long a read may take of the request's time, None for all that is left.
    """

    def __init__(
        self,
        store: PackedStore,
        policy: Mapping[str, str],
        cache: NearCache | None = None,
        *,
        timeout_s: float | None = None,
    ) -> None:
        self._store, self._cache, self._policy, self._timeout_s = store, cache, policy, timeout_s
        self._was_ready = False

    async def read(self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None = None) -> list[Block]:
        """Return one block per lookup, marked where it is not the store's; see OnlineStore."""
        return await self._read(lookups, as_of, deadline, iter(range(_TO_FIND_ONE)))

    async def _read(
        self, lookups: Sequence[Lookup], as_of: np.ndarray, deadline: float | None, further: Iterator[int]
    ) -> list[Block]:
        until = self._until(lookups, deadline)
        try:
            packed = await self._store.read_packed(lookups, until)
        except StoreUnavailable as away:
            if isinstance(away, ReadDeadlinePassed) and until == deadline:
                raise
            if isinstance(away, RowsUnread) and as_of.size > 1:
                return await self._apart(lookups, as_of, deadline, away, further)
            return [self._instead(wanted, as_of, away) for wanted in lookups]
        return blocks_of(lookups, packed, as_of)

    def readiness(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Return the store's own readiness; once it was ready, that it cannot be reached matters no more
        where every group can be answered for."""
        why = self._store.readiness(groups)
        self._was_ready |= why is None
        if isinstance(why, Unreachable) and self._was_ready and self._answers_for(groups):
            return None
        return why

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def _answers_for(self, groups: Sequence[WindowedGroup]) -> bool:
        return all(self._policy[group.name] != REJECT for group in groups)

    def _until(self, lookups: Sequence[Lookup], deadline: float | None) -> float | None:
        """Return until when the store may answer: with a fallback at hand, half of the time is left for the rest."""
        now = asyncio.get_running_loop().time()
        if self._timeout_s is not None:
            timeout = now + self._timeout_s
            return timeout if deadline is None else min(deadline, timeout)
        if deadline is None or not self._answers_for([wanted.group for wanted in lookups]):
            return deadline
        return (now + deadline) / 2

    async def _apart(
        self,
        lookups: Sequence[Lookup],
        as_of: np.ndarray,
        deadline: float | None,
        unread: RowsUnread,
        further: Iterator[int],
    ) -> list[Block]:
        """Read the halves of what has rows that cannot be read, so that these alone are answered for."""
        if not self._answers_for([wanted.group for wanted in lookups]):
            raise unread
        parts, half = [], as_of.size // 2
        for part in (slice(0, half), slice(half, None)):
            asked = [Lookup(wanted.group, wanted.keys[part]) for wanted in lookups]
            if next(further, None) is None:
                parts.append([self._instead(wanted, as_of[part], unread) for wanted in asked])
            else:
                parts.append(await self._read(asked, as_of[part], deadline, further))
        return [_one(blocks) for blocks in zip(*parts, strict=True)]

    def _instead(self, wanted: Lookup, as_of: np.ndarray, away: StoreUnavailable) -> Block:
        policy = self._policy[wanted.group.name]
        rows, stale = self._kept(wanted)
        absent = np.fromiter((row is None for row in rows), bool, len(rows))
        if (absent.any() and policy != DEFAULT) or (stale.any() and policy == REJECT):
            raise _refusal(away)
        (block,) = blocks_of([wanted], [[row or b"" for row in rows]], as_of)
        if stale.any():
            block.stale = stale
        if absent.any():
            block.values[absent], block.default = np.nan, absent
        return block

    def _kept(self, wanted: Lookup) -> tuple[list[bytes | None], np.ndarray]:
        if self._cache is None:
            return [None] * wanted.keys.size, np.zeros(wanted.keys.size, bool)
        return self._cache.kept(wanted)


def _one(blocks: Sequence[Block]) -> Block:
    """Return blocks of one group, rows after rows, as one."""

    def marks(name: str) -> np.ndarray | None:
        given = [getattr(block, name) for block in blocks]
        if all(own is None for own in given):
            return None
        none = [np.zeros(block.found.size, bool) for block in blocks]
        return np.concatenate([absent if own is None else own for own, absent in zip(given, none, strict=True)])

    whole = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in _WHOLE}
    return Block(**whole, stale=marks("stale"), default=marks("default"))


def _refusal(away: StoreUnavailable) -> StoreUnavailable:
    if isinstance(away, ReadDeadlinePassed):  # of the time a read may take, not of the request
        return StoreUnavailable("the store gave no answer in the time a read may take")
    return away
