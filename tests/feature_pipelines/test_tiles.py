"""Records are read, folded and written a part at a time, and it makes no difference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from feature_pipelines import tiles
from headrace.features import Window, WindowedGroup, fold
from headrace.features.columns import DAY, HOUR
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup
from tests.features.streaming import settled

WIDE = WindowedGroup(
    "wide",
    1,
    "payments",
    "card",
    "at",
    "amount",
    ("count", "mean", "std", "min", "max"),
    (Window("1h", HOUR), Window("1d", DAY), Window("7d", 7 * DAY), Window("30d", 30 * DAY)),
    last=("amount",),
)
KEYS, EVENTS = 5_000, 12_000


def test_many_keys_at_once_are_what_one_fold_of_them_is(tmp_path: Path):
    chance = np.random.default_rng(7)
    store = EmbeddedStore(tmp_path / "s", durable=False)
    store.declare([WIDE])
    wanted = WIDE.empty(KEYS)
    for batch in range(3):
        events = {
            "card": chance.integers(0, KEYS, EVENTS) - KEYS // 2,
            "at": batch * 40 * DAY + chance.integers(0, 60 * DAY, EVENTS),  # out of order, and some too late
            "amount": np.where(chance.random(EVENTS) < 0.1, np.nan, chance.integers(1, 100, EVENTS)),
        }
        late = fold(WIDE, wanted, events["card"] + KEYS // 2, events)
        with store.transaction("payments", {}) as change:
            assert tiles.add(change, [WIDE], events, EVENTS).tolist() == late.tolist()
    assert late.any()
    held = store.records(Lookup(WIDE, np.arange(KEYS) - KEYS // 2))
    assert settled(WIDE, held).tobytes() == settled(WIDE, wanted).tobytes()
    store.close()
