"""A simulated disk: of the pages written since a sync any may have arrived, in any of their versions.

Run as `python -m tests.stores.disk open PATH` it opens the files of a store with LMDB alone, and prints
a digest of all they hold; as `python -m tests.stores.disk COMMAND PATH` it is another writer: it
commits and checkpoints, then waits to be killed - `idle` between transactions, `writing` inside one.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import lmdb
import numpy as np

from headrace.stores.checkpoint import CHECKPOINT_FILE, DATA_FILE
from headrace.stores.embedded import EmbeddedStore
from tests.stores.small import CARDS, SHOPS, SOURCE, add

PAGE, KEYS = 4096, 24
State = str


def digest(env: lmdb.Environment) -> State:
    """Return a digest of every key and value of every database, read in one transaction."""
    names = [b"headrace", b"journals", b"group:cards", b"group:shops"]
    found = sha256()
    for name in names:
        try:
            db = env.open_db(name, create=False)
        except lmdb.NotFoundError:
            continue
        with env.begin() as txn:
            for key, value in txn.cursor(db):
                found.update(name + bytes(key) + b"\0" + bytes(value))
    return found.hexdigest()


def change(store: EmbeddedStore, number: int, chance: np.random.Generator) -> None:
    """Commit events of some keys in both groups, a counter, and a journal of which only the newest entries stay."""
    start = store.offsets(SOURCE).get("0", 0)
    with store.transaction(SOURCE, {"0": start}) as txn:
        for group in (CARDS, SHOPS):
            keys = chance.choice(KEYS, size=chance.integers(1, KEYS), replace=False)
            add(txn, group, [(int(key), 1_000 * number, float(number)) for key in keys])
        txn.count({"events": number})
        last = txn.append("seen", chance.bytes(int(chance.integers(1, 6_000))))
        txn.forget("seen", [max(last - 3, 0)])
        txn.advance({"0": start + 1})


@dataclass
class Disk:
    """What lay in a store's files at its last sync, and every version of every page written since."""

    path: Path
    synced: bytes = b""
    versions: list[bytes] = field(default_factory=list)

    def sync(self) -> None:
        """Everything written so far has arrived."""
        self.synced, self.versions = (self.path / DATA_FILE).read_bytes(), []

    def look(self) -> None:
        """Remember the file as it is now."""
        self.versions.append((self.path / DATA_FILE).read_bytes())

    def crash(self, chance: np.random.Generator, to: Path) -> Path:
        """Lay down, at `to`, a store as a loss of power may leave it; its other files are as they are now."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir()
        shutil.copy(self.path / CHECKPOINT_FILE, to)
        everything = [self.synced, *self.versions]
        size = len(self.synced) if chance.random() < 0.3 else max(map(len, everything))
        image = bytearray(self.synced.ljust(size, b"\0")[:size])
        arrived = chance.random()
        for at in range(0, size, PAGE):
            held = {version[at : at + PAGE] for version in everything if len(version) > at}
            if len(held) > 1 and chance.random() < arrived:
                image[at : at + PAGE] = sorted(held)[chance.integers(len(held))]
            elif len(self.synced) <= at and held and chance.random() < arrived:
                image[at : at + PAGE] = held.pop()
        (to / DATA_FILE).write_bytes(image)
        return to


def main(command: str, path: str) -> None:
    """See the file's head."""
    if command == "open":
        with lmdb.open(path, max_dbs=8, map_size=1 << 30, readonly=True, lock=False) as env:
            print(digest(env))
        return
    store = EmbeddedStore(path, boot="one")
    store.declare([CARDS, SHOPS])
    chance = np.random.default_rng(7)
    for number in range(1, 6):
        change(store, number, chance)
    store.flush()
    held = digest(store.files.env)
    if command == "idle":
        print(held, flush=True)
        sys.stdin.read()
    with store.transaction(SOURCE, {}):
        print(held, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
