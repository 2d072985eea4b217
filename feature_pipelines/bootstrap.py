"""Bootstrap: fill an online store from history, as folding every event in order of time would leave it.

Events are staged and sorted by key and time, folded key by key, and written in order of keys in
large transactions. Records are absolute and the last transaction says that all of them are there,
with the offsets, counters and ids that the stream goes on from; see feature_pipelines.handover.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.duplicates import remember
from feature_pipelines.files import Raw, SourceError
from feature_pipelines.handover import Handover, handover, identity, keep_ids
from feature_pipelines.histories import History
from feature_pipelines.progress import Progress, Share, unheard
from feature_pipelines.runner import Pipeline
from headrace.features.columns import NO_TIME
from headrace.features.windows import WindowedGroup, fold
from headrace.stores.history import Columns, Staged
from headrace.stores.online import StoreGrew, Transaction
from headrace.stores.timeline import coded

_KEYS = 8_192  # most records that are folded together
_WRITTEN = 32 << 20  # bytes of a transaction


@dataclass(slots=True)
class Filled:
    """What a bootstrap did; nothing but `was_there` where an earlier one had done it."""

    was_there: bool = False
    events: int = 0  # read, whether they count or not
    repeated: int = 0
    dead: int = 0
    keys: dict[str, int] = field(default_factory=dict)  # by group
    until_ms: int = NO_TIME
    offsets: dict[str, int] = field(default_factory=dict)  # where the stream starts
    notes: list[str] = field(default_factory=list)


def fill(
    pipeline: Pipeline,
    path: Path,
    *,
    offset_columns: tuple[str, str] | None = None,
    progress: Progress = unheard,
    folder: Path | None = None,
) -> Filled:
    """Fill a pipeline's store from the files of `path`, and let its source start where they end.

    The pipeline must not have been started. `offset_columns` name the partition and the offset of
    an event in the files. `folder` holds what does not fit in memory. Raises SourceError for what
    cannot be read, LayoutMismatch, and ValueError for a store that holds events already.
    """
    history = History.of(pipeline.stream, path, pipeline.groups, offset_columns or ())
    known = handover(pipeline.store, pipeline.stream)
    filling = _Filling(pipeline, history, identity(history.files), offset_columns, progress)
    if filling.is_done(known):
        return Filled(was_there=True, until_ms=known.until_ms if known else NO_TIME)
    filling.begin()
    with tempfile.TemporaryDirectory(prefix=".bootstrap-", dir=folder) as work, Staged(Path(work)) as staged:
        filling.stage(staged)
        for at, group in enumerate(pipeline.groups):
            filling.write(group, staged, 0.5 + 0.5 * at / len(pipeline.groups), 0.5 / len(pipeline.groups))
    filling.finish()
    return filling.done


def final_records(group: WindowedGroup, events: Iterator[Columns]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield distinct keys in ascending order and their records, from batches of events sorted by key and time.

    A batch holds the group's key, time, value and last columns; a key may go on in the next one.
    """
    key: np.ndarray | None = None
    held, most = group.empty(0), max(1, min(_KEYS, _WRITTEN // group.layout.size))
    for batch in events:
        keys, row = coded(batch[group.key])
        for first in range(0, keys.size, most):
            part = keys[first : first + most]
            start, stop = np.searchsorted(row, (first, first + most))
            records = group.empty(part.size)
            if key is not None and part[0] == key[0]:
                records[0] = held[0]
            elif key is not None:
                yield key, held
            fold(group, records, row[start:stop] - first, {n: values[start:stop] for n, values in batch.items()})
            if part.size > 1:
                yield part[:-1], records[:-1]
            key, held = part[-1:], records[-1:].copy()
    if key is not None:
        yield key, held


@dataclass(slots=True)
class _Filling:
    pipeline: Pipeline
    history: History
    identity: str
    offset_columns: tuple[str, str] | None
    progress: Progress
    done: Filled = field(default_factory=Filled)
    letters_at: int = 0
    last_offsets: dict[int, int] = field(default_factory=dict)  # of the topic's partitions

    def is_done(self, known: Handover | None) -> bool:
        """Tell whether the store was filled from this history; ValueError where it holds anything else."""
        stream, store = self.pipeline.stream, self.pipeline.store
        if known is not None and known.history != self.identity:
            raise ValueError(
                f"the store was {'filled' if known.complete else 'half filled'} from another history of {stream.name}, "
                "needs the same files, or a store of its own for these"
            )
        if known is not None and known.complete:
            return True
        offsets, letters = store.offsets(stream.name), self.pipeline.letters.partition
        if streamed := sorted(name for name, at in offsets.items() if at and name != letters):
            raise ValueError(
                f"the store holds events of {stream.name} that were streamed ({', '.join(streamed)}), "
                "and history would be written over them: needs a new store"
            )
        return False

    def begin(self) -> None:
        """Check what can be checked, and mark the store as being filled."""
        history, pipeline = self.history, self.pipeline
        if lacking := history.lacking():
            raise SourceError(f"the history has no {', '.join(lacking)}, needs every key and value of the groups")
        if absent := history.absent():
            self.done.notes.append(f"the history has no {', '.join(absent)}: null in every event")
        if self.offset_columns is not None:
            if not hasattr(pipeline.source, "offsets_at"):
                raise SourceError("the source has no partitions, needs a topic to start at offsets that files name")
            if unknown := [name for name in self.offset_columns if name not in history.columns]:
                raise SourceError(f"the history has no {', '.join(unknown)}, needs the columns of partition and offset")
        pipeline.store.declare(pipeline.groups)
        if pipeline.letters.partition not in pipeline.store.offsets(pipeline.stream.name):
            pipeline.letters.check_new()
        with pipeline.store.transaction(pipeline.stream.name, {}) as change:
            change.advance({pipeline.letters.partition: 0})
            Handover(self.identity).record(change, pipeline.stream)

    def stage(self, staged: Staged) -> None:
        """Read the events."""
        heard = Share(self.progress, "read history", 0.0, 0.5, self.history.count)
        self.history.stage(staged, self.pipeline.clock(), self._bury, heard.advance, self._note_offsets)
        self.done.events, self.done.repeated = self.history.count, self.history.repeated
        self.done.notes += self.history.notes()

    def write(self, group: WindowedGroup, staged: Staged, start: float, width: float) -> None:
        """Fold the events of a group and write its records."""
        heard = Share(self.progress, f"fill {group.name}", start, width, staged.count)
        columns = tuple(dict.fromkeys((group.key, group.time, group.value, *group.last)))
        held: list[tuple[np.ndarray, np.ndarray]] = []
        written = size = 0
        for keys, records in final_records(group, _heard(staged.sorted((group.key, group.time), columns), heard)):
            held.append((keys, records))
            size += records.nbytes
            if size >= _WRITTEN:
                written += self._put(group, held)
                size = 0
        self.done.keys[group.name] = written + self._put(group, held)

    def finish(self) -> None:
        """Say in one transaction that all is there, and where the stream goes on."""
        stream, history = self.pipeline.stream, self.history
        until = history.newest_ms + 1 if history.newest_ms != NO_TIME else NO_TIME
        before = NO_TIME
        if until != NO_TIME and self.offset_columns is None:
            before = until - stream.horizon_ms - 1 if stream.id else until
        self.done.until_ms, self.done.offsets = until, self._starts(before)
        counts = Counter({**history.reasons, "events": history.count, "duplicate": history.repeated})

        def say(change: Transaction) -> None:
            for ids, at in history.remembered:
                remember(change, stream, ids, at, history.newest_ms)
                keep_ids(change, stream, ids)
            change.count({name: count for name, count in counts.items() if count})
            change.advance({**self.done.offsets, self.pipeline.letters.partition: self.letters_at})
            if until != NO_TIME:
                change.reach(history.newest_ms)
            Handover(self.identity, True, until, before).record(change, stream)

        self._commit(say)
        self.pipeline.store.flush()

    def _starts(self, before_ms: int) -> dict[str, int]:
        """Return the offsets the stream starts at, none where it starts at its beginning."""
        source = self.pipeline.source
        if self.offset_columns is not None:
            return {source.address.partition(p): at + 1 for p, at in self.last_offsets.items()}  # type: ignore[attr-defined]
        if before_ms == NO_TIME or not hasattr(source, "offsets_at"):
            return {}
        # A producer's clock may be behind by as much as it may be ahead.
        found: dict[str, int] = source.offsets_at(before_ms - self.pipeline.stream.tolerance_ms)
        return {name: at for name, at in found.items() if at}

    def _put(self, group: WindowedGroup, held: list[tuple[np.ndarray, np.ndarray]]) -> int:
        """Write records and empty the list; return how many there were."""
        if not held:
            return 0
        keys, records = (np.concatenate(parts) for parts in zip(*held, strict=True))
        held.clear()
        self._commit(lambda change: change.write(group, keys, records))
        return int(keys.size)

    def _commit(self, work) -> None:  # type: ignore[no-untyped-def]
        while True:
            try:
                with self.pipeline.store.transaction(self.pipeline.stream.name, {}) as change:
                    work(change)
                return
            except StoreGrew:
                continue

    def _bury(self, letters: Sequence[DeadLetter]) -> None:
        self.letters_at = self.pipeline.letters.append(letters, self.letters_at)
        self.done.dead += len(letters)

    def _note_offsets(self, raw: Raw) -> None:
        if self.offset_columns is None:
            return
        try:
            partitions, offsets = (np.asarray(raw[name]).astype(np.int64) for name in self.offset_columns)
        except (TypeError, ValueError, OverflowError) as wrong:
            raise SourceError(f"the history's partitions and offsets are not all whole numbers: {wrong}") from wrong
        for partition in np.unique(partitions).tolist():
            newest = int(offsets[partitions == partition].max())
            self.last_offsets[partition] = max(newest, self.last_offsets.get(partition, newest))


def _heard(batches: Iterator[Mapping[str, np.ndarray]], heard: Share) -> Iterator[Mapping[str, np.ndarray]]:
    for batch in batches:
        yield batch
        heard.advance(len(next(iter(batch.values()))))
