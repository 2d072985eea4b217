"""Where the pipelines of a store stand: what was read of each stream, what was refused, how much is held.

Everything is read from the store, so it is true whichever processes write to it, and where none
does. Instants are epoch milliseconds, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from feature_pipelines.dead_letters import PARTITION, DeadLetterFile
from feature_pipelines.handover import IN_HISTORY
from feature_pipelines.sinks import OWNER, begun, buried
from headrace.application import Application
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import LayoutMismatch, mismatch

_EVENTS, _DUPLICATES = "events", "duplicate"
_NOT_REFUSED = (_EVENTS, _DUPLICATES, IN_HISTORY)
Ends = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class PartitionStanding:
    """How far a partition was read; `end` is the offset after its last event, None where nobody was asked.

    An engine with a state of its own has its positions there: `at` is None.
    """

    partition: str
    at: int | None
    end: int | None
    lag: int | None


@dataclass(frozen=True, slots=True)
class LettersStanding:
    """Where dead letters went: a file and its length in bytes, or a topic and how many went there."""

    where: str
    reach: int


@dataclass(frozen=True, slots=True)
class StreamStanding:
    """A stream: what all runs so far counted and refused, and its newest event.

    `engine` names the state of an engine that has positions and counts of its own; empty for the local engine.
    """

    stream: str
    engine: str
    events: int
    duplicates: int
    in_history: int  # left out because the history that the store was filled from holds them
    refused: Mapping[str, int]  # by reason
    newest_ms: int | None
    age_ms: int | None  # negative where it lies ahead of the clock
    partitions: tuple[PartitionStanding, ...]
    dead_letters: tuple[LettersStanding, ...]


@dataclass(frozen=True, slots=True)
class GroupStanding:
    """What is held of a group; `declared` is False where no pipeline has written it yet."""

    group: str
    stream: str
    declared: bool
    keys: int
    tiles: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """All streams and groups of an application in one store."""

    application: str
    store: str
    at_ms: int
    streams: tuple[StreamStanding, ...]
    groups: tuple[GroupStanding, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the standing as plain data."""
        return asdict(self)


def standing(app: Application, store: EmbeddedStore, now_ms: int, ends: Ends | None = None) -> Standing:
    """Read where the pipelines of an application stand; `ends[stream][partition]` is what brokers said.

    Raises StoreUnavailable where there is no store, LayoutMismatch where a group is held under another declaration.
    """
    declared = store.declared()
    for group in app.groups:
        if group.name in declared and (
            unlike := mismatch(group, declared[group.name], f"the store at {store.path.name!r}")
        ):
            raise LayoutMismatch(unlike)
    groups = []
    for group in app.groups:
        known = group.name in declared
        keys = store.size(group) if known else 0
        stored = store.stored_bytes(group) if known else 0
        groups.append(GroupStanding(group.name, group.stream, known, keys, keys * group.plan.total, stored))
    streams = tuple(
        _stream(stream.name, store, now_ms, (ends or {}).get(stream.name, {}))
        for stream in app.streams
        if app.groups_of(stream.name)
    )
    return Standing(app.name, str(store.path), now_ms, streams, tuple(groups))


def _stream(name: str, store: EmbeddedStore, now_ms: int, ends: Mapping[str, int]) -> StreamStanding:
    offsets, counts, newest = store.offsets(name), store.counts(name), store.newest(name)
    engines = [owner for owner in offsets if owner.startswith(OWNER)]
    reached = {**offsets, **store.offsets(buried(name))} if engines else offsets
    letters = {partition: at for partition, at in reached.items() if partition.startswith(PARTITION)}
    known: Mapping[str, int | None] = dict.fromkeys(store.offsets(begun(name))) if engines else offsets
    partitions = []
    for partition in sorted({*known, *ends} - letters.keys(), key=_in_order):
        at, end = known.get(partition, None if engines else 0), ends.get(partition)
        lag = None if end is None or at is None else max(0, end - at)
        partitions.append(PartitionStanding(partition, at, end, lag))
    return StreamStanding(
        stream=name,
        engine=", ".join(owner.removeprefix(OWNER) for owner in engines),
        events=counts.get(_EVENTS, 0),
        duplicates=counts.get(_DUPLICATES, 0),
        in_history=counts.get(IN_HISTORY, 0),
        refused={reason: n for reason, n in sorted(counts.items()) if reason not in _NOT_REFUSED},
        newest_ms=newest,
        age_ms=None if newest is None else now_ms - newest,
        partitions=tuple(partitions),
        dead_letters=tuple(
            LettersStanding(_where(partition, store.path, name), at) for partition, at in letters.items()
        ),
    )


def _in_order(partition: str) -> tuple[str, int, str]:
    topic, _, number = partition.rpartition("/")
    return (topic, int(number), "") if number.isdecimal() else (topic, -1, number)


def _where(partition: str, store: Path, stream: str) -> str:
    named = partition.removeprefix(PARTITION).removeprefix(":")
    return named or str(DeadLetterFile.beside(store, stream).path)
