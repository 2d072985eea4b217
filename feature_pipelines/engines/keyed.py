"""What every distributed engine does between its source and its sink: fold per bucket, and remember.

Keys are spread over buckets; a bucket holds the records of its keys and the ids of their recent
events, and folds the events of all its keys at once. An engine sends every event of a
bucket to one place, in order of arrival, keeps the bucket in its own recoverable state,
and puts the records that changed.

Time is epoch milliseconds. Of the events of an id only the first counts, by the rule of
`headrace.features.duplicates` with the newest event of the *key* in place of the stream's, so
that what counts depends neither on how keys are spread nor on how partitions are interleaved. An
id is remembered at least as long as by the rule for streams.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines import frames
from feature_pipelines.engines.chunks import Chunk
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup, fold

_FORGET_AT = 1 << 16  # remembered ids after which those beyond the horizon are looked for


@dataclass(frozen=True, slots=True)
class Folded:
    """What changed in a bucket: whole records of distinct keys, and the events that were not counted."""

    group: str
    keys: np.ndarray
    records: np.ndarray
    late: list[DeadLetter]  # too late for every window of this group; no bytes where the chunk had none
    events: int
    duplicates: int


class Bucket:
    """The records of some keys of a group, and which ids they have counted lately.

    It is rebuilt from `to_bytes()`; records of another declaration of the group are refused.
    """

    def __init__(self, stream: Stream, group: WindowedGroup, state: bytes = b"") -> None:
        self._stream, self._group = stream, group
        self._rows: dict[int | str, int] = {}
        self._records = group.empty(16)
        self._times: dict[tuple[int, int | str], int] = {}  # row and id -> the time of the event that counted
        self._forget_at = _FORGET_AT
        if state:
            self._restore(state)

    @classmethod
    def of(
        cls,
        stream: Stream,
        group: WindowedGroup,
        keys: np.ndarray,
        records: np.ndarray,
        remembered: Iterable[Mapping[int | str, int]],
    ) -> Bucket:
        """Return a bucket of some keys alone, for engines that keep state by key; see `remembered`."""
        bucket = cls(stream, group)
        bucket._rows = {key: row for row, key in enumerate(keys.tolist())}
        bucket._records = records
        bucket._times = {(row, id_): at for row, times in enumerate(remembered) for id_, at in times.items()}
        return bucket

    def remembered(self) -> list[dict[int | str, int]]:
        """Return each key's remembered ids and the times of the events that counted, in the order of the keys."""
        self._forget()
        ids: list[dict[int | str, int]] = [{} for _ in self._rows]
        for (row, id_), at in self._times.items():
            ids[row][id_] = at
        return ids

    def add(self, chunks: Sequence[Chunk]) -> Folded:
        """Fold events in order of arrival; return what changed."""
        group = self._group
        columns = {name: np.concatenate([c.columns[name] for c in chunks]) for name in chunks[0].columns}
        keys, of_event = np.unique(columns[group.key], return_inverse=True)
        rows = self._rows_of(keys)
        row = rows[of_event]
        first = self._first(row, columns)
        late = np.zeros(row.size, dtype=bool)
        late[first] = fold(group, self._records, row[first], {name: values[first] for name, values in columns.items()})
        return Folded(
            group=group.name,
            keys=keys,
            records=self._records[rows],
            late=self._letters(chunks, np.flatnonzero(late)),
            events=row.size,
            duplicates=int(row.size - first.sum()),
        )

    def to_bytes(self) -> bytes:
        """Return the state: records and remembered ids."""
        self._forget()
        group, held = self._group, len(self._rows)
        records = frames.to_bytes({"key": _texts_or_numbers(self._rows), "record": self._records[:held]}, group.name)
        at = list(self._times)
        ids = {
            "row": np.array([row for row, _ in at], dtype=np.int64),
            "id": _texts_or_numbers(id_ for _, id_ in at),
            "time": np.array(list(self._times.values()), dtype=np.int64),
        }
        return len(records).to_bytes(8, "big") + records + frames.to_bytes(ids)

    def _restore(self, state: bytes) -> None:
        end = 8 + int.from_bytes(state[:8], "big")
        held, _ = frames.of_bytes(state[8:end], {"record": self._group.layout.dtype})
        records = held["record"]
        if not self._group.layout.known(records).all():
            raise ValueError(
                f"the state of group {self._group.name!r} is of another declaration, needs "
                f"layout {self._group.layout.fingerprint:016x}: give the group a new name or begin with a new state"
            )
        self._rows = {key: row for row, key in enumerate(held["key"].tolist())}
        self._records = records.copy()
        ids, _ = frames.of_bytes(state[end:])
        at = zip(ids["row"].tolist(), ids["id"].tolist(), strict=True)
        self._times = dict(zip(at, ids["time"].tolist(), strict=True))

    def _rows_of(self, keys: np.ndarray) -> np.ndarray:
        rows = np.array([self._rows.setdefault(key, len(self._rows)) for key in keys.tolist()], dtype=np.int64)
        if len(self._rows) > self._records.size:
            more = self._group.empty(max(len(self._rows), 2 * self._records.size) - self._records.size)
            self._records = np.concatenate([self._records, more])
        return rows

    def _first(self, row: np.ndarray, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Tell which events are the first of their id, bool [n]; ids are remembered on the way."""
        first = np.ones(row.size, dtype=bool)
        if not self._stream.id:
            return first
        times = columns[self._group.time]
        ids = list(zip(row.tolist(), columns[self._stream.id].tolist(), strict=True))
        distinct = set(ids)
        seen = self._times.keys() & distinct
        if len(distinct) < len(ids):
            seen |= {id_ for id_, count in Counter(ids).items() if count > 1}
        fresh = dict(zip(ids, times.tolist(), strict=True))
        for at in [at for at, id_ in enumerate(ids) if id_ in seen] if seen else ():
            mine, time = ids[at], int(times[at])
            if mine[1] is None:
                continue
            newest = max(int(self._records["newest_ms"][mine[0]]), int(times[: at + 1][row[: at + 1] == mine[0]].max()))
            counted = self._times.get(mine)
            if counted is not None and newest - counted <= self._stream.horizon_ms:
                first[at] = False
            else:
                self._times[mine] = time
            fresh.pop(mine, None)
        for id_ in [id_ for id_ in fresh if id_[1] is None]:
            del fresh[id_]
        self._times |= fresh
        if len(self._times) > self._forget_at:
            self._forget()
            self._forget_at = max(_FORGET_AT, 2 * len(self._times))
        return first

    def _forget(self) -> None:
        newest, horizon = self._records["newest_ms"].tolist(), self._stream.horizon_ms
        self._times = {at: time for at, time in self._times.items() if newest[at[0]] - time <= horizon}

    def _letters(self, chunks: Sequence[Chunk], late: np.ndarray) -> list[DeadLetter]:
        ends = np.cumsum([chunk.offsets.size for chunk in chunks])
        reason = f"too late, every window of {self._stream.name} has moved on"
        letters = []
        for at in late.tolist():
            which = int(np.searchsorted(ends, at, side="right"))
            chunk, mine = chunks[which], at - int(ends[which]) + chunks[which].offsets.size
            event = chunk.originals[mine] if chunk.originals else b""
            letters.append(DeadLetter(chunk.partition, int(chunk.offsets[mine]), reason, event))
        return letters


def _texts_or_numbers(values: Iterable[int | str]) -> np.ndarray:
    plain = list(values)
    if plain and isinstance(plain[0], str):
        return np.array(plain, dtype=object)
    return np.array(plain, dtype=np.int64)
