"""Where engines with a state of their own put what they computed: absolute records and dead letters, each once.

A record is put whole, and never replaces one whose newest event is newer, so that putting
it again changes nothing and a replay after a recovery takes no value back. A dead letter
is known by its partition and offset and written once, however often it is put. Several
processes may put into one store at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

import numpy as np

from feature_pipelines.dead_letters import PARTITION, DeadLetter, DeadLetters
from feature_pipelines.engines import Report
from feature_pipelines.engines.keyed import Folded
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup
from headrace.stores.online import OffsetMismatch, StoreGrew, Transaction, WritableStore

Result = TypeVar("Result")
Original = Callable[[str, int], bytes]
#: Before the name of the state that a stream's records are of, among the stream's offsets.
OWNER = "engine:"


class Sink:
    """The end of every flow of one stream.

    `original` returns the bytes of the event at a partition's offset, for late events that
    came without them. An event counts as dead where it was refused, or where it was too late for
    every group of the stream. `report` says what this process put.
    """

    def __init__(
        self,
        store: WritableStore,
        stream: Stream,
        groups: Sequence[WindowedGroup],
        letters: DeadLetters,
        original: Original | None = None,
    ) -> None:
        self._store, self._stream = store, stream
        self._groups = {group.name: group for group in groups}
        self._letters = letters
        self._buried, self._begun = buried(stream.name), begun(stream.name)
        self._original = original
        self.report = Report()

    def start(self, owner: str, partitions: Sequence[str] = ()) -> None:
        """Declare the groups and claim the stream's records for an engine's state, named `owner`.

        `partitions` are what is to be read. Raises LayoutMismatch; ValueError where the store holds
        records of the stream that this state does not know of and would mix with its own, where
        a file was read before with other contents, and where the dead letters are not the store's.
        """
        self._store.declare(list(self._groups.values()))
        mine, stream = OWNER + owner, self._stream.name
        held = (name for name, at in self._store.offsets(stream).items() if at and name != mine)
        others = sorted(name for name in held if not name.startswith(PARTITION))
        if others:
            raise ValueError(
                f"the store holds {stream} from {', '.join(others[:3])}, needs to be new to {mine}, or begun by it: "
                "use another store, or continue with the engine and the state that began it"
            )
        known = self._store.offsets(self._begun)
        for name in partitions:
            file = name.rpartition("@")[0]
            if file and name not in known and any(other.rpartition("@")[0] == file for other in known):
                raise ValueError(
                    f"{file!r} was read into this store with other contents or in another order, and would be counted "
                    "from its beginning: name it otherwise if all its events are new"
                )
        if self._letters.partition not in self._store.offsets(self._buried):
            self._letters.check_new()
            with suppress(OffsetMismatch):  # another process of the engine was faster
                self._write([], {}, {})
        self._changed(self._begun, {}, lambda change: change.advance(dict.fromkeys(partitions, 1)))
        self._changed(stream, {}, lambda change: change.advance({mine: 1}))

    def partitions(self) -> list[str]:
        """Return what was ever named to `start`, in order."""
        return sorted(self._store.offsets(self._begun))

    def put(self, group: WindowedGroup | str, keys: np.ndarray, records: np.ndarray) -> int:
        """Put the records of distinct keys; return how many were new or replaced what was there."""
        of = self._groups[group] if isinstance(group, str) else group

        def write(change: Transaction) -> int:
            newer = records["newest_ms"] >= change.records(of, keys)["newest_ms"]
            change.write(of, keys[newer], records[newer])
            change.reach(int(records["newest_ms"].max()))
            return int(newer.sum())

        return self._changed(self._stream.name, {}, write) if len(keys) else 0

    def put_folded(self, folded: Sequence[Folded]) -> None:
        """Put what changed in buckets, the later of a key's records, and the events they found late."""
        for name in dict.fromkeys(part.group for part in folded):
            parts = [part for part in folded if part.group == name]
            keys, records = _latest([part.keys for part in parts], [part.records for part in parts])
            self.put(name, keys, records)
            self.bury([letter for part in parts for letter in part.late], name)
            if name == next(iter(self._groups)):  # every group finds the same ones
                self.report.duplicates += sum(part.duplicates for part in parts)

    def bury(self, letters: Sequence[DeadLetter], group: str = "") -> int:
        """Write the letters that were not written before; return how many.

        With `group` they are its late events: one is written when every group of the stream has found it late.
        """
        whole = (1 << len(self._groups)) - 1
        bit = 1 << list(self._groups).index(group) if group else whole
        todo = {_mark(letter): letter for letter in letters}
        known = dict.fromkeys(todo, 0)
        while todo:
            found_by = {mark: known[mark] | bit for mark in todo}
            complete = [self._whole(letter) for mark, letter in todo.items() if found_by[mark] == whole]
            try:
                self._write(complete, {mark: known[mark] for mark in todo}, found_by)
            except OffsetMismatch as moved:  # some are known already, or another process has written meanwhile
                known |= {mark: at for mark, at in moved.stored.items() if mark in known}
                todo = {mark: letter for mark, letter in todo.items() if known[mark] | bit != known[mark]}
            else:
                self._count(complete)
                return len(complete)
        return 0

    def flush(self) -> None:
        """Return once everything put so far survives a loss of power."""
        self._store.flush()

    def _write(self, letters: Sequence[DeadLetter], known: Mapping[str, int], found_by: Mapping[str, int]) -> None:
        at, name = self._letters_at(), self._letters.partition
        self._changed(
            self._buried,
            {**known, name: at},
            lambda change: change.advance({**found_by, name: self._letters.append(letters, at)}),
        )

    def _changed(self, source: str, start: Mapping[str, int], work: Callable[[Transaction], Result]) -> Result:
        while True:
            try:
                with self._store.transaction(source, start) as change:
                    return work(change)
            except StoreGrew:
                continue

    def _letters_at(self) -> int:
        return self._store.offsets(self._buried).get(self._letters.partition, 0)

    def _whole(self, letter: DeadLetter) -> DeadLetter:
        if letter.event or self._original is None:
            return letter
        return replace(letter, event=self._original(letter.partition, letter.offset))

    def _count(self, letters: Sequence[DeadLetter]) -> None:
        self.report.dead += len(letters)
        for letter in letters:
            reason = letter.reason.split(",")[0]
            self.report.reasons[reason] = self.report.reasons.get(reason, 0) + 1


def buried(stream: str) -> str:
    """Return the source under which a store knows the dead letters of a stream that an engine reads."""
    return f"{stream} letters"


def begun(stream: str) -> str:
    """Return the source under which a store knows the partitions of such a stream; how far is the engine's to know."""
    return f"{stream} partitions"


def _latest(keys: Sequence[np.ndarray], records: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    joined = np.concatenate(keys)
    distinct, at = np.unique(joined[::-1], return_index=True)
    return distinct, np.concatenate(records)[joined.size - 1 - at]


def _mark(letter: DeadLetter) -> str:
    return f"{letter.partition}#{letter.offset}"
