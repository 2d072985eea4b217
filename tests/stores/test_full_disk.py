"""A store whose disk has no room left, or fails: it says so, keeps its last commit, and goes on later."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from headrace.stores import group_commit
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import StoreFull, StoreUnavailable
from tests.stores.small import CARDS, COUNT, SOURCE, put, read

ROOT = Path(__file__).parents[2]
FULL = "is on a disk that has no room left .*: it stands at its last commit, make room and run the pipeline again"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes, where this user may mount one; else a folder that is never full."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(where)], capture_output=True)
    yield where
    if mounted.returncode == 0:
        subprocess.run(["umount", "-l", str(where)], check=True)


def fill(store: EmbeddedStore) -> int:
    """Commit cards until the disk is full; return how many commits there were."""
    done = 0
    while done < 2_000 and os.path.ismount(store.path.parent):
        put(store, [(key, 1_000, 1.0) for key in range(100 * done, 100 * done + 100)])
        done += 1
    return done


def test_a_full_disk_leaves_the_store_at_its_last_commit_and_a_later_run_goes_on(small_disk):
    if not os.path.ismount(small_disk):  # who may not mount checks the words alone
        return check_the_words(small_disk)
    store = EmbeddedStore(small_disk / "s")
    with pytest.raises(StoreFull, match=rf"the store at '\S*/s' {FULL}"):
        fill(store)
    stands = store.offsets(SOURCE)["0"]
    assert stands > 0
    assert store.size(CARDS) == stands
    assert read(store, range(stands), 5_000).values[:, COUNT].tolist() == [1] * stands
    with pytest.raises(StoreFull):
        put(store, [(key, 1_000, 1.0) for key in range(stands, stands + 60_000)])
    store.close()
    grown = subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], capture_output=True)
    assert grown.returncode == 0
    with closing(EmbeddedStore(small_disk / "s")) as again:
        assert again.offsets(SOURCE) == {"0": stands}
        put(again, [(key, 2_000, 1.0) for key in range(stands + 50)])
        assert again.size(CARDS) == stands + 50
    return None


def check_the_words(path: Path) -> None:
    """Say what a full disk is called."""
    with closing(EmbeddedStore(path / "s")) as store:
        refused = store.files.refused(OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(refused, StoreFull)


def no_room(_: int) -> None:
    """Refuse to sync, as a disk does that promised more than it has."""
    raise OSError(errno.ENOSPC, "No space left on device")


def broken(_: int) -> None:
    """Refuse to sync, as a failing disk does."""
    raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize(
    ("sync", "kind", "said"), [(no_room, StoreFull, FULL), (broken, StoreUnavailable, "cannot be written: .*Input")]
)
def test_a_sync_that_fails_stops_the_store_and_puts_it_back_to_its_last_checkpoint(
    tmp_path, monkeypatch, sync, kind, said
):
    monkeypatch.setattr(group_commit.Checkpoints, "soon", lambda self: None)
    path = tmp_path / "s"
    store = EmbeddedStore(path)
    put(store, [(1, 1_000, 5.0)])
    store.flush()
    put(store, [(1, 2_000, 5.0)])
    store.files._commits._sync = sync
    with pytest.raises(kind, match=rf"the store at '\S*/s' {said}"):
        store.flush()
    with pytest.raises(kind, match=said):
        put(store, [(1, 3_000, 5.0)])
    assert "could not be written to its disk and stands at no certain state" in elsewhere(READY, path)
    assert "put back to its last checkpoint, and other processes have it open: stop them first" in elsewhere(OPEN, path)
    store.close()
    with closing(EmbeddedStore(path)) as again:
        assert again.offsets(SOURCE) == {"0": 1}
        assert read(again, [1], 5_000).values[0, COUNT] == 1


READY = (
    "import sys; from headrace.stores.embedded import *; print(EmbeddedStore(sys.argv[1], readonly=True).readiness([]))"
)
OPEN = READY.replace(", readonly=True", "")
KILLED = """
import os, sys
from tests.stores.small import *
from headrace.stores.embedded import EmbeddedStore
store = EmbeddedStore(sys.argv[1], durable=False, boot="one")
put(store, [(1, 1_000, 5.0)])
os._exit(9)
"""


def elsewhere(script: str, path: Path) -> str:
    """Run a script on a store in another process; return all it said."""
    ran = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True)
    return ran.stdout + ran.stderr


def test_a_store_without_checkpoints_that_was_not_closed_is_not_trusted_after_a_restart(tmp_path):
    path = tmp_path / "s"
    elsewhere(KILLED, path)
    damaged = "was last written without waiting for the disk and not closed before the machine restarted.* delete it"
    for readonly in (True, False):
        with (
            pytest.raises(StoreUnavailable, match=damaged),
            closing(EmbeddedStore(path, readonly=readonly, boot="two")) as store,
        ):
            store.declared()
    with closing(EmbeddedStore(path, boot="one")) as store:  # a process that is killed damages nothing
        assert store.offsets(SOURCE) == {"0": 1}
    with closing(EmbeddedStore(path, boot="two")) as store:  # since a durable writer has synced it
        assert store.offsets(SOURCE) == {"0": 1}


def test_a_store_without_checkpoints_is_safe_once_its_last_writer_has_closed_it(tmp_path):
    path = tmp_path / "s"
    with closing(EmbeddedStore(path, durable=False, boot="one")) as store:
        put(store, [(1, 1_000, 5.0)])
        store.flush()
        elsewhere(CLOSED, path)
        with closing(EmbeddedStore(tmp_path / "other", boot="two")):
            pass
    with closing(EmbeddedStore(path, boot="two")) as store:
        assert store.offsets(SOURCE) == {"0": 2}


CLOSED = KILLED.replace("os._exit(9)", "store.close()").replace("1_000", "2_000")


def test_where_no_restart_can_be_told_every_commit_waits_for_the_disk(tmp_path):
    with closing(EmbeddedStore(tmp_path / "s", boot="")) as store:
        put(store, [(1, 1_000, 5.0)])
        store.flush()
        assert store.files.env.flags()["sync"] is not False
    with closing(EmbeddedStore(tmp_path / "s", readonly=True, boot="")) as again:
        assert again.offsets(SOURCE) == {"0": 1}


def test_checkpoints_are_made_in_the_background(tmp_path):
    with closing(EmbeddedStore(tmp_path / "s")) as store:
        put(store, [(1, 1_000, 5.0)])
        working = store.files._commits._thread
        if working is not None:
            working.join(60)  # it ends when there is nothing left to do
        with store.files.begin() as txn:
            assert group_commit.latest(store.path).root.transaction == txn.id()
