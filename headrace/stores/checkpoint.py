"""The root of a store on disk that is known to be safe, in a file beside it, and how it is put back.

LMDB publishes a commit in the kernel's page cache; which of its pages have reached the disk is
unknown until a sync. A checkpoint is the root of a synced transaction - LMDB's meta page, 136
bytes - whose pages are not used again (see group_commit). Where the machine has restarted
since, that root is put back before the store is opened, and the store is as it was at that
transaction, whatever else had reached the disk.

The file has two slots, written in turns, each with a digest: a torn slot leaves the other.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

DATA_FILE, LOCK_FILE, CHECKPOINT_FILE = "data.mdb", "lock.mdb", "checkpoint"
FAILED = "failed"  # in place of a boot, where a sync has failed: no boot is called so
HEADER = struct.Struct("=QHHI")  # MDB_page: number, pad, flags, bounds
META = struct.Struct("=IIQQI92sQQ")  # MDB_meta: magic, version, address, map size, page size, roots, last page, txn
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAGIC, _VERSION, _IS_META = 0xBEEFC0DE, 1, 0x08
_SLOT = struct.Struct("=8sQ?64s136s")
_SLOT_BYTES, _SIGN, _DIGEST_BYTES = 4096, b"headrace", 32


@dataclass(frozen=True, slots=True)
class Root:
    """LMDB's meta page of one transaction: everything that is committed hangs from it."""

    raw: bytes  # 136 bytes

    @property
    def valid(self) -> bool:
        """Tell whether this is a meta page of the version known here."""
        return META.unpack(self.raw)[:2] == (_MAGIC, _VERSION)

    @property
    def page_size(self) -> int:
        """How many bytes a page has."""
        return int(META.unpack(self.raw)[4])

    @property
    def transaction(self) -> int:
        """The number of the transaction."""
        return int(META.unpack(self.raw)[7])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the file says: the root that is safe on disk, and in which boot of the machine it was so.

    `fast` where a writer without checkpoints has since been at work: then no root is safe.
    """

    boot: str
    root: Root
    fast: bool = False
    number: int = 0

    def encode(self) -> bytes:
        """Return the slot's bytes."""
        body = _SLOT.pack(_SIGN, self.number, self.fast, self.boot.encode(), self.root.raw)
        return body + sha256(body).digest()

    @classmethod
    def decode(cls, slot: bytes) -> Checkpoint | None:
        """Return what a slot holds, None where it is blank or torn."""
        body, digest = slot[: _SLOT.size], slot[_SLOT.size : _SLOT.size + _DIGEST_BYTES]
        if len(digest) < _DIGEST_BYTES or sha256(body).digest() != digest:
            return None
        _, number, fast, boot, raw = _SLOT.unpack(body)
        return cls(boot.rstrip(b"\0").decode(), Root(raw), fast, number)


def boot_id() -> str:
    """Return the name of this boot of the machine; empty where the system tells none."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


def latest(path: Path) -> Checkpoint | None:
    """Return the last complete checkpoint of the store at `path`, None where there is none."""
    try:
        text = (path / CHECKPOINT_FILE).read_bytes()
    except FileNotFoundError:
        return None
    slots = [Checkpoint.decode(text[at : at + _SLOT_BYTES]) for at in (0, _SLOT_BYTES)]
    return max((slot for slot in slots if slot), key=lambda slot: slot.number, default=None)


def fault(path: Path, boot: str) -> str:
    """Say why the store at `path` cannot be opened as it lies on disk; empty where it can be.

    It can where the machine has not restarted since it was written, and where nothing followed its last checkpoint.
    """
    saved = latest(path)
    if saved is None or saved.boot == boot or not (path / DATA_FILE).exists():
        return ""
    if saved.fast:
        return (
            "was last written without waiting for the disk and not closed before the machine restarted, "
            "so it may be damaged: delete it and run its pipeline again"
        )
    newest = _newest(path / DATA_FILE, saved.root.page_size)
    if newest == saved.root or (newest is not None and newest.transaction < saved.root.transaction):
        return ""  # nothing was lost, or the checkpoint is that of a store which was here before
    happened = "could not be written to its disk" if saved.boot == FAILED else "was open when the machine restarted"
    return f"{happened} and stands at no certain state: start its pipeline, which puts it back to its last checkpoint"


def restore(path: Path, boot: str) -> str:
    """Put the root of the last checkpoint back where that is needed; say why the store cannot be opened, or nothing.

    For a writer that holds `locked` and has yet to open the store.
    """
    why, saved = fault(path, boot), latest(path)
    if not why or saved is None or saved.fast:
        return why
    if not _alone(path):
        return "must be put back to its last checkpoint, and other processes have it open: stop them first"
    with (path / DATA_FILE).open("r+b", buffering=0) as data:
        for number in (0, 1):
            page = HEADER.pack(number, 0, _IS_META, 0) + saved.root.raw
            os.pwrite(data.fileno(), page, number * saved.root.page_size)
            os.fsync(data.fileno())
    return ""


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the checkpoint file of a store against every other process, and give its descriptor."""
    descriptor = os.open(path / CHECKPOINT_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_size < 2 * _SLOT_BYTES:  # so that a full disk cannot stop it from being written
            os.pwrite(descriptor, bytes(2 * _SLOT_BYTES), 0)
            os.fsync(descriptor)
            folder = os.open(path, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        yield descriptor
    finally:
        os.close(descriptor)


def write(path: Path, descriptor: int, made: Checkpoint) -> None:
    """Write a checkpoint into the slot that is not the latest, and wait for the disk."""
    before = latest(path)
    number = before.number + 1 if before else 1
    os.pwrite(descriptor, replace(made, number=number).encode(), number % 2 * _SLOT_BYTES)
    os.fdatasync(descriptor)


def _newest(data: Path, page_size: int) -> Root | None:
    with data.open("rb") as file:
        pages = [os.pread(file.fileno(), META.size, number * page_size + HEADER.size) for number in (0, 1)]
    roots = [Root(page) for page in pages if len(page) == META.size]
    return max((root for root in roots if root.valid), key=lambda root: root.transaction, default=None)


def _alone(path: Path) -> bool:
    if not (path / LOCK_FILE).exists():
        return True
    with (path / LOCK_FILE).open("r+b") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1)  # the byte that LMDB holds in every process
        except OSError:
            return False
    return True
