"""The events that every engine is judged by, and everything that a store and its dead letters hold after them.

200,000 payments of 2,000 cards, drawn by Zipf's law, over four hours; of every hundred one comes 2 to
15 minutes late and one twice, some cannot be decoded, and some are so late that no window covers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipelines.dead_letters import DeadLetterFile
from headrace.application import Application, Output
from headrace.features import DAY, HOUR, MINUTE, Column, FeatureView, Window, WindowedGroup
from headrace.features.streams import Stream
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup
from tests.features.streaming import settled

EVENTS, CARDS, TERMINALS = 200_000, 2_000, 300
START_MS = 1_767_225_600_000
SPAN_MS = 4 * HOUR
FIRST_CARD = 4_000_000_000_000_000

PAYMENTS = Stream(
    "payments",
    (
        Column("tid", "string", required=False),
        Column("cc_num", "int64"),
        Column("terminal_id", "int64"),
        Column("datetime", "timestamp"),
        Column("amount", low=0.0, high=1e12),
        Column("latitude", low=-90, high=90, required=False),
    ),
    id="tid",
)
_LENGTHS = {"10m": 10 * MINUTE, "1h": HOUR, "24h": DAY, "7d": 7 * DAY, "30d": 30 * DAY}
CARD_ACTIVITY = WindowedGroup(
    "card_activity", 1, "payments", "cc_num", "datetime", "amount",
    ("count", "sum", "mean", "std", "min", "max", "last"),
    tuple(Window(label, length) for label, length in _LENGTHS.items()),
    last=("latitude", "datetime", "amount"),
)  # fmt: skip
#: Keyed otherwise than the topic, and so short that events come too late for it.
TERMINAL_BURSTS = WindowedGroup(
    "terminal_bursts", 1, "payments", "terminal_id", "datetime", "amount", ("count", "mean"),
    (Window("1m", MINUTE), Window("5m", 5 * MINUTE)),
)  # fmt: skip


def _application(name: str, *groups: WindowedGroup) -> Application:
    request = tuple(Column(key, "int64") for key in dict.fromkeys(group.key for group in groups))
    columns = tuple(f"{group.name}.{group.column_names[0]}" for group in groups)
    return Application(
        name=name,
        view=FeatureView(name, 1, request=(*request, Column("amount")), groups=groups, columns=columns),
        streams=(PAYMENTS,),
        outputs=(Output("score"),),
    )


#: Two groups, of which one keeps every event: nothing is dead for being late.
APP = _application("engines", CARD_ACTIVITY, TERMINAL_BURSTS)
#: The short group alone, for which late events are dead.
BURSTS = _application("bursts", TERMINAL_BURSTS)
#: The group that is keyed as a topic is: what it holds does not hang on how partitions are interleaved.
CARDS_ONLY = _application("cards", CARD_ACTIVITY)
_APART = 1_000  # events between the first and the second coming of one


def payments(count: int = EVENTS, seed: int = 3) -> pa.Table:
    """Return payments in order of arrival; the same count and seed give the same payments."""
    chance = np.random.default_rng(seed)
    popular = 1.0 / np.arange(1, CARDS + 1)
    card = chance.choice(CARDS, count, p=popular / popular.sum())
    at = START_MS + np.linspace(0, SPAN_MS, count).astype(np.int64) - chance.integers(0, 45_000, count)
    late = chance.random(count) < 0.01
    at[late] -= chance.integers(2 * MINUTE, 15 * MINUTE, int(late.sum()))
    amount = np.round(chance.gamma(1.5, 40.0, count), 2)
    columns = {
        "tid": np.array([f"t{number}" for number in range(count)], dtype=object),
        "cc_num": (FIRST_CARD + card).astype(object),
        "terminal_id": chance.integers(0, TERMINALS, count),
        "datetime": at,
        "amount": amount,
        "latitude": np.round(chance.uniform(-90, 90, count), 4),
    }
    again = np.flatnonzero(chance.random(count) < 0.01)
    again = again[again >= _APART]
    for column in columns.values():
        column[again] = column[again - _APART]
    broken = np.flatnonzero(chance.random(count) < 0.0005)
    columns["amount"][broken[::2]] = -1.0
    columns["cc_num"][broken[1::2]] = None
    ancient = np.flatnonzero(chance.random(count) < 0.0005)
    columns["datetime"][ancient] -= 90 * DAY
    kinds = {"tid": pa.string(), "cc_num": pa.int64(), "datetime": pa.timestamp("ms")}
    return pa.table({name: pa.array(values, type=kinds.get(name)) for name, values in columns.items()})


def written(path: Path, events: pa.Table) -> Path:
    """Write events to a Parquet file with row groups, and return it; whoever reads sees it whole, or as it was."""
    pq.write_table(events, begun := path.with_name(f".{path.name}.begun"), row_group_size=50_000)
    return begun.replace(path)


def records(path: Path, groups: Sequence[WindowedGroup]) -> dict[str, np.ndarray]:
    """Return every record of the groups that a store holds for the keys there may be, absent ones empty.

    Tiles that are over, which a store may hold or not, are left out.
    """
    keys = {"cc_num": FIRST_CARD + np.arange(CARDS), "terminal_id": np.arange(TERMINALS)}
    store = EmbeddedStore(path, readonly=True)
    try:
        found = [store.records(Lookup(group, keys[group.key])) for group in groups]
        assert sum(store.size(group) for group in groups) == sum(int((of["newest_ms"] > 0).sum()) for of in found)
        return {group.name: settled(group, of) for group, of in zip(groups, found, strict=True)}
    finally:
        store.close()


def letters(path: Path, stream: str = PAYMENTS.name) -> list[tuple[str, int, str, bytes]]:
    """Return the dead letters of a store, by partition and offset."""
    kept = DeadLetterFile.beside(path, stream).read()
    return sorted((letter.partition, letter.offset, letter.reason, letter.event) for letter in kept)


def assert_equal(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    """Compare every field of every record: whole numbers exactly, others to 1e-9."""
    assert found.keys() == wanted.keys()
    for group, records_ in wanted.items():
        for name in records_.dtype.names or ():
            exact = records_[name].dtype.kind in "iu"
            np.testing.assert_allclose(
                found[group][name], records_[name], rtol=0 if exact else 1e-9, atol=0 if exact else 1e-9,
                err_msg=f"{group}.{name}",
            )  # fmt: skip
