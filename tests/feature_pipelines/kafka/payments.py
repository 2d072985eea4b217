"""Payments as messages, `headrace pipeline run fraud` as a process of its own, and all that a store holds of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from applications.fraud.app import APP, PAYMENTS
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup
from tests.feature_pipelines.kafka.cluster import Message

ROOT = Path(__file__).parents[3]
CARDS = 4_000_000_000_000_000 + np.arange(40)
(GROUP,) = APP.groups_of(PAYMENTS.name)
START_MS, SPREAD_MS, DAY_MS = 1_767_225_600_000, 50 * 60_000, 86_400_000
OLD_MS = START_MS - 90 * DAY_MS
OLD = b"%d" % OLD_MS


def payments(chance: random.Random, count: int) -> list[Message]:
    """Return payments keyed by card and out of order: one in thirty not to be counted, one in twenty a repetition.

    They lie within the horizon of duplicates, but for those that are ninety days old, and
    their amounts are quarters, whose sums are exact in any order.
    """
    messages: list[Message] = []
    for tid in range(count):
        card = int(chance.choice(CARDS))
        event = {
            "tid": f"t{tid}",
            "cc_num": card,
            "terminal_id": chance.randrange(20),
            "datetime": START_MS + int(chance.triangular(0, SPREAD_MS, SPREAD_MS / 2)),
            "amount": chance.randrange(4_000) / 4,
            "latitude": chance.choice([None, chance.uniform(-90, 90)]),
            "longitude": chance.uniform(-180, 180),
        }
        if tid % 30 == 7:
            event |= chance.choice([{"amount": -1}, {"cc_num": None}, {"datetime": OLD_MS}])
        value = b"\xff{" if tid % 90 == 9 else orjson.dumps(event)
        message: Message = (None, b"%d" % card, value)
        messages.append(messages[-chance.randrange(1, 20)] if tid % 20 == 19 else message)
    return messages


def start(*arguments: object, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Run `headrace pipeline run fraud` as a shell would."""
    program = [sys.executable, "-c", "from headrace.cli import main; main()", "pipeline", "run", "fraud"]
    return subprocess.Popen(
        [*program, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200", **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process: subprocess.Popen[str], code: int = 0, wait_s: float = 60.0) -> str:
    """Wait for a process and return what it said."""
    try:
        said, _ = process.communicate(timeout=wait_s)
    finally:
        process.kill()
    assert process.returncode == code, said
    return said


def counted(store: EmbeddedStore) -> int:
    """Return how many events of a topic a store has counted, 0 before there is a store."""
    return store.counts(PAYMENTS.name).get("events", 0) if (store.path / "data.mdb").exists() else 0


@dataclass
class Contents:
    """All that a store holds of the payments, in an order that the order of partitions does not matter to."""

    records: np.ndarray  # one for each card
    offsets: dict[str, int]
    counts: dict[str, int]
    newest: int | None
    letters: list[bytes]

    @classmethod
    def of(cls, path: Path) -> Contents:
        """Read a store and the dead letters beside it."""
        store = EmbeddedStore(path, readonly=True)
        records = store.records(Lookup(GROUP, CARDS)).copy()
        letters = (path / "dead_letters" / f"{PAYMENTS.name}.jsonl").read_bytes().splitlines()
        name = PAYMENTS.name
        found = cls(records, store.offsets(name), store.counts(name), store.newest(name), sorted(letters))
        store.close()
        return found

    def check(self, other: Contents, *, same_batches: bool) -> None:
        """Demand that another store holds the same, byte for byte.

        A sum of squares is merged batch by batch: where the batches are others it may differ in its last digits.
        """
        assert (self.offsets, self.counts, self.newest) == (other.offsets, other.counts, other.newest)
        assert self.letters == other.letters
        mine, theirs = self.records.copy(), other.records.copy()
        if not same_batches:
            np.testing.assert_allclose(mine["m2"], theirs["m2"], rtol=1e-9)
            mine["m2"] = theirs["m2"] = 0
        assert mine.tobytes() == theirs.tobytes()
