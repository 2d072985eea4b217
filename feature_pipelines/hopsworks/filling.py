"""Every record of a store as a row in Hopsworks, whatever it held before: for a store that was not mirrored.

Keys are read in order, some thousand at a time, each part in a transaction of the store, so that no
pipeline can commit a newer record in between. A filling that is interrupted goes on after the last key that
was acknowledged; the store is not mirrored before it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from feature_pipelines.hopsworks.marks import BEGUN, WHOLE, changed, mark, marks
from feature_pipelines.hopsworks.writer import FeatureGroupWriter
from feature_pipelines.progress import Progress, Share, unheard
from feature_pipelines.running import Stop, never
from headrace.features.columns import NO_TIME
from headrace.features.windows import WindowedGroup
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Transaction, decode_keys

_PART = 16 << 20  # bytes of records in a transaction


@dataclass(slots=True)
class Filled:
    """What a filling did: rows acknowledged by group, and whether every record has its row now."""

    rows: dict[str, int] = field(default_factory=dict)
    resumed: bool = False
    whole: bool = False


def fill(
    store: EmbeddedStore,
    writer: FeatureGroupWriter,
    groups: Sequence[WindowedGroup],
    progress: Progress = unheard,
    stop: Stop = never,
    part: int = _PART,
) -> Filled:
    """Write the rows of every record, about `part` bytes of records at a time; until `stop()`.

    Raises LayoutMismatch, and StoreUnavailable where a row is not acknowledged.
    """
    store.declare(groups)
    topics = {group.name: writer.targets[group.name][0].topic for group in groups}
    resumed = any(marks(store).get(topic) == BEGUN for topic in topics.values())
    if not resumed:
        changed(store, lambda change: _begin(change, topics.values()))
        mark(store, topics.values(), BEGUN)
    filled = Filled(resumed=resumed)
    for at, group in enumerate(groups):
        share = Share(progress, f"fill {group.name}", at / len(groups), 1 / len(groups), store.size(group))
        filled.rows[group.name] = 0
        for rows in _filled(store, writer, group, max(1, part // group.layout.size)):
            filled.rows[group.name] += rows
            share.advance(rows)
            if stop():
                return filled
    mark(store, topics.values(), WHOLE)
    store.flush()
    filled.whole = True
    return filled


def _filled(store: EmbeddedStore, writer: FeatureGroupWriter, group: WindowedGroup, most: int) -> Iterator[int]:
    """Write the rows that are missing, `most` at a time; yield how many each time."""
    target, _ = writer.targets[group.name]
    whole = target.feature_group.features[0].type != "string"
    rows = 0

    def write(change: Transaction) -> None:
        nonlocal rows
        reached = change.journal(_journal(target.topic), 0)
        encoded = store.keys(group, reached[-1][1] if reached else b"", most)
        if rows := len(encoded):
            keys = decode_keys(encoded, whole=whole)
            records = change.records(group, keys)
            held = records["newest_ms"] != NO_TIME
            writer.write({group.name: writer.encode(group, keys[held], records[held])})
            change.append(_journal(target.topic), encoded[-1])
            change.forget(_journal(target.topic), [number for number, _ in reached])

    while True:
        changed(store, write)
        if not rows:
            return
        yield rows


def _begin(change: Transaction, topics: Iterable[str]) -> None:
    for topic in topics:
        change.forget(_journal(topic), [number for number, _ in change.journal(_journal(topic), 0)])


def _journal(topic: str) -> str:
    return f"hopsworks/{topic}"
