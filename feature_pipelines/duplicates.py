"""Duplicates of a stream: events whose id has counted are found inside the transaction that would count them.

The ids that a batch counts are one entry of a journal in the store, committed with the batch's tiles
and offsets or not at all, so the rule of `headrace.features.duplicates` holds across restarts and for
several processes that write one store in turns. An entry is the stream's newest time, the number up
to which it stands in for small entries, how many ids its own batch counted, and then those of the
small entries and its own: 16 bytes each, and after all of them their times, 8 bytes each,
little-endian.

An event that decoding refused was not counted: its id is not remembered and its time does not
matter, so a mended one counts. One that was decoded and is too late for every window is remembered
like any other: what is a duplicate depends on the stream alone, not on its groups. Events without
an id count always.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from xxhash import xxh3_128_digest

from headrace.features.columns import some
from headrace.features.duplicates import Memory, remembered_since, repeats
from headrace.features.streams import Stream
from headrace.stores.online import Transaction

Columns = Mapping[str, np.ndarray]
Counted = tuple[np.ndarray, np.ndarray]  # ids and their times
_HEAD = struct.Struct("<qqq")
_PER_ID = 24
_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two numbers become one: Knuth's multiplicative hash
_SMALL = 1_024  # an entry of fewer ids is small; as many small entries become one
_GATHERED = 16_384  # ids of small entries that become one


class Duplicates:
    """Finds the duplicates of one stream in a store; one for each pipeline.

    `begin` belongs inside a transaction and `committed` after it. Where a transaction was thrown
    away nothing need be said: what it would have remembered is forgotten by the next `begin`.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._journal = _journal(stream)
        self._memory = Memory(stream.horizon_ms)
        self._after = 0
        self._small: dict[int, Counted] = {}  # by number
        self._small_ids = 0
        self._large: list[tuple[int, int]] = []  # a heap of the newest time among an entry's ids, and its number
        self._expired: list[tuple[int, int]] = []  # what the last transaction took from the heap
        self._appended: list[tuple[int, bytes]] = []

    def begin(self, change: Transaction, columns: Columns) -> np.ndarray:
        """Return which decoded events of a batch are duplicates, bool [n], and remember and count within `change`."""
        self._appended = []
        while self._expired:  # by a transaction that was thrown away, whose events had not arrived then
            heapq.heappush(self._large, self._expired.pop())
        times = columns[self.stream.time]
        duplicate = np.zeros(times.size, dtype=bool)
        if not self.stream.id or not times.size:
            return duplicate
        self._absorb(change.journal(self._journal, self._after))
        newest = np.maximum.accumulate(times)
        if newest[0] < self._memory.newest_ms:
            newest = np.maximum(newest, self._memory.newest_ms)
        ids, rows = ids_of(columns[self.stream.id])
        at = times if rows is None else times[rows]
        again = self._memory.repeated(ids, at, newest if rows is None else newest[rows])
        if some(again):
            duplicate[slice(None) if rows is None else rows] = again
            ids, at = ids[~again], at[~again]
        self._remember(change, ids, at, int(newest[-1]))
        if found := int(np.count_nonzero(duplicate)):
            change.count({"duplicate": found})
        return duplicate

    def committed(self) -> None:
        """Take note that the transaction of the last `begin` was committed."""
        if self._appended:
            self._expired.clear()
            self._absorb(self._appended)
            self._appended = []

    def _remember(self, change: Transaction, ids: np.ndarray, at: np.ndarray, newest_ms: int) -> None:
        """Append what a batch counted, after all small entries where they have become many, and drop old entries."""
        if not len(ids) and newest_ms <= self._memory.newest_ms:
            return
        since = remembered_since(newest_ms, self.stream.horizon_ms)
        while self._large and self._large[0][0] < since:
            self._expired.append(heapq.heappop(self._large))
        if len(ids) and int(at.min()) < since:
            ids, at = ids[at >= since], at[at >= since]
        removed, upto, own = [number for _, number in self._expired], 0, len(ids)
        if len(self._small) >= _SMALL or self._small_ids >= _GATHERED:
            upto, removed = max(self._small), [*removed, *self._small]
            known, known_at = _joined(list(self._small.values()))
            kept = known_at >= since
            ids, at = np.concatenate((known[kept], ids)), np.concatenate((known_at[kept], at))
        entry = _HEAD.pack(newest_ms, upto, own) + ids.tobytes() + at.tobytes()
        self._appended = [(change.append(self._journal, entry), entry)]
        if removed:
            change.forget(self._journal, removed)

    def _absorb(self, entries: Sequence[tuple[int, bytes]]) -> None:
        """Take committed entries into memory."""
        if not entries:
            return
        new, newest, before = [], self._memory.newest_ms, self._after
        for self._after, entry in entries:
            newest_ms, upto, own = _HEAD.unpack_from(entry)
            newest = max(newest, newest_ms)
            ids, at = _parts(entry)
            self._keep(ids, at, upto)
            first = at.size - own if upto <= before else 0  # the small entries it stands in for are known
            new.append((ids[first:], at[first:]))
        self._memory.add(*(new[0] if len(new) == 1 else _joined(new)), newest)

    def _keep(self, ids: np.ndarray, at: np.ndarray, upto: int) -> None:
        """Note what must be known of the entry just read to remove it one day."""
        if upto:
            self._small = {number: held for number, held in self._small.items() if number > upto}
            self._small_ids = sum(held.size for _, held in self._small.values())
        if at.size < _SMALL:
            self._small[self._after] = ids, at
            self._small_ids += at.size
        else:
            heapq.heappush(self._large, (int(at.max()), self._after))


def remember(change: Transaction, stream: Stream, ids: np.ndarray, at: np.ndarray, newest_ms: int) -> None:
    """Remember ids (see `ids_of`) that were counted elsewhere, as those of a history's end, at these times."""
    entry = _HEAD.pack(newest_ms, 0, len(ids)) + ids.tobytes() + at.tobytes()
    change.append(_journal(stream), entry)


def _journal(stream: Stream) -> str:
    return f"ids/{stream.name}/{stream.id}"


def counted_once(stream: Stream, columns: Columns) -> dict[str, np.ndarray]:
    """Return the events of a history without its duplicates, in the order given.

    They are taken to have arrived in order of time, those of one instant in the order given, as a
    file is streamed unless its own order is asked for.
    """
    if not stream.id or not columns[stream.time].size:
        return dict(columns)
    times = columns[stream.time]
    arrived = times.argsort(kind="stable")
    ids, rows = ids_of(columns[stream.id][arrived])
    rows = arrived if rows is None else arrived[rows]
    at, again = times[rows], np.zeros(rows.size, dtype=bool)
    repeats(ids, at, remembered_since(at, stream.horizon_ms), again)
    if not some(again):
        return dict(columns)
    kept = np.ones(times.size, dtype=bool)
    kept[rows[again]] = False
    return {name: values[kept] for name, values in columns.items()}


def ids_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return ids as uint64 [m, 2], and the rows that have one, None where all have.

    Whole numbers are kept as they are but for their order, text (objects [n], None for null) as
    XXH3's 128 bits: of a thousand million ids two are alike with a chance below one in 10^20.
    """
    if values.dtype.kind == "i":
        ids = np.zeros((values.size, 2), dtype=np.uint64)
        np.multiply(values.view(np.uint64), _SPREAD, out=ids[:, 0])
        return ids, None
    rows = None
    try:
        digests = _digests(values.tolist())
    except TypeError:  # a null is no text
        rows = np.flatnonzero(values != None)  # noqa: E711  element by element
        digests = _digests(values[rows].tolist())
    return np.frombuffer(digests, dtype=np.uint64).reshape(-1, 2), rows


def _digests(texts: list[str]) -> bytes:
    try:
        return b"".join(map(xxh3_128_digest, map(str.encode, texts)))
    except UnicodeEncodeError:  # half a surrogate pair, which is text too
        return b"".join(xxh3_128_digest(text.encode("utf-8", "surrogatepass")) for text in texts)


def _parts(entry: bytes) -> Counted:
    count = (len(entry) - _HEAD.size) // _PER_ID
    ids = np.frombuffer(entry, dtype=np.uint64, count=2 * count, offset=_HEAD.size).reshape(-1, 2)
    return ids, np.frombuffer(entry, dtype=np.int64, offset=_HEAD.size + 16 * count)


def _joined(parts: Sequence[Counted]) -> Counted:
    return np.concatenate([ids for ids, _ in parts]), np.concatenate([at for _, at in parts])
