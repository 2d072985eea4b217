"""A store after the machine lost power: at its last checkpoint, whole, whatever had reached the disk."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.stores import checkpoint
from headrace.stores.checkpoint import CHECKPOINT_FILE, Checkpoint, latest
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.group_commit import Checkpoints
from tests.stores.disk import PAGE, Disk, change, digest
from tests.stores.small import CARDS, SHOPS

ROOT = Path(__file__).parents[2]
WAIT_S = 60


@pytest.fixture(autouse=True)
def at_will(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are made when a test says so, and never in the background."""
    monkeypatch.setattr(Checkpoints, "soon", lambda self: None)


def begun(path: Path) -> tuple[EmbeddedStore, Disk]:
    """Open a store, and its disk."""
    store = EmbeddedStore(path, boot="one")
    store.declare([CARDS, SHOPS])
    store.flush()
    disk = Disk(path)
    disk.sync()
    return store, disk


def state(path: Path, boot: str) -> str:
    """Return what a store holds when it is opened in a boot of the machine."""
    with closing(EmbeddedStore(path, boot=boot)) as store:
        return digest(store.files.env)


@given(seed=st.integers(0, 2**32), commits=st.lists(st.integers(0, 6), min_size=1, max_size=4), images=st.just(3))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_is_whole_at_its_last_checkpoint_whatever_had_arrived(tmp_path_factory, seed, commits, images):
    tmp = tmp_path_factory.mktemp("power")
    chance = np.random.default_rng(seed)
    store, disk = begun(tmp / "s")
    held, number = digest(store.files.env), 0
    for batch in commits:
        for _ in range(batch):
            number += 1
            change(store, number, chance)
            disk.look()
        for _ in range(images):
            assert state(disk.crash(chance, tmp / "crashed"), "two") == held
        before = (tmp / "s" / CHECKPOINT_FILE).read_bytes()
        store.flush()
        torn = tear(before, (tmp / "s" / CHECKPOINT_FILE).read_bytes(), chance)
        crashed = disk.crash(chance, tmp / "crashed")  # the pages may have arrived, the checkpoint only in part
        (crashed / CHECKPOINT_FILE).write_bytes(torn)
        assert state(crashed, "two") == held
        disk.sync()
        held = digest(store.files.env)
    store.close()


def tear(before: bytes, after: bytes, chance: np.random.Generator) -> bytes:
    """Return a checkpoint file of which a write was cut short."""
    changed = [at for at in range(len(after)) if before[at] != after[at]]
    if not changed:
        return before
    cut = changed[chance.integers(len(changed))]
    return after[:cut] + before[cut:]


def test_without_its_checkpoint_a_store_would_not_survive(tmp_path):
    chance = np.random.default_rng(11)
    store, disk = begun(tmp_path / "s")
    committed = {digest(store.files.env)}
    for number in range(1, 40):
        change(store, number, chance)
        committed.add(digest(store.files.env))
        disk.look()
    store.close()
    broken = 0
    for _ in range(12):
        crashed = disk.crash(chance, tmp_path / "crashed")
        ran = subprocess.run(
            [sys.executable, "-m", "tests.stores.disk", "open", str(crashed)], cwd=ROOT, capture_output=True, text=True
        )
        broken += ran.returncode != 0 or ran.stdout.strip() not in committed
    assert broken > 0


@contextmanager
def another_writer(command: str, path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run another writer until it waits, and give what it said."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stores.disk", command, str(path)],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("where", ["idle", "writing"])
def test_a_checkpoint_outlives_the_process_that_made_it(tmp_path, where):
    chance = np.random.default_rng(5)
    store, disk = begun(tmp_path / "s")
    with another_writer(where, tmp_path / "s") as (process, held):
        assert held
        disk.sync()
        process.kill()
        process.wait(WAIT_S)
    for number in range(6, 40):  # many commits over pages that only the dead process's pin had been asked to keep
        change(store, number, chance)
        disk.look()
    for _ in range(10):
        assert state(disk.crash(chance, tmp_path / "crashed"), "two") == held
    store.close()


def test_a_process_that_is_killed_loses_nothing(tmp_path):
    with closing(begun(tmp_path / "s")[0]):
        pass
    with another_writer("idle", tmp_path / "s") as (process, said):
        process.kill()
        process.wait(WAIT_S)
    assert state(tmp_path / "s", "one") == said
    assert latest(tmp_path / "s").boot == "one"


def test_what_was_closed_is_whole_after_a_restart_and_may_be_read_at_once(tmp_path):
    store, _ = begun(tmp_path / "s")
    change(store, 1, np.random.default_rng(1))
    held = digest(store.files.env)
    store.close()
    with closing(EmbeddedStore(tmp_path / "s", readonly=True, boot="two")) as reading:
        assert reading.readiness([CARDS]) is None
    assert state(tmp_path / "s", "two") == held


def test_who_only_reads_waits_for_a_writer_to_put_the_store_back(tmp_path):
    store, disk = begun(tmp_path / "s")
    change(store, 1, np.random.default_rng(1))
    disk.look()
    (tmp_path / "crashed").mkdir()
    for file in ("data.mdb", "checkpoint"):
        (tmp_path / "crashed" / file).write_bytes((tmp_path / "s" / file).read_bytes())
    store.close()
    with closing(EmbeddedStore(tmp_path / "crashed", readonly=True, boot="two")) as reading:
        assert reading.readiness([CARDS]) == (
            f"the store at '{tmp_path}/crashed' was open when the machine restarted and stands at no certain state: "
            "start its pipeline, which puts it back to its last checkpoint"
        )
        with closing(EmbeddedStore(tmp_path / "other", boot="two")):
            pass
        state_of_writer = subprocess.run(
            [sys.executable, "-c", PUT_BACK, str(tmp_path / "crashed")], cwd=ROOT, capture_output=True, text=True
        )
        assert state_of_writer.stdout.split() == ["{}"], state_of_writer.stderr
        assert "holds no key of group 'cards'" in str(reading.readiness([CARDS]))


PUT_BACK = """
import sys
from headrace.stores.embedded import EmbeddedStore
store = EmbeddedStore(sys.argv[1], boot="two")
print(store.offsets("payments"))
store.close()
"""


def test_the_file_of_a_checkpoint_has_a_slot_to_spare():
    made = Checkpoint("boot", checkpoint.Root(bytes(range(136))), fast=True, number=3)
    slot = made.encode().ljust(PAGE, b"\0")
    assert Checkpoint.decode(slot) == made
    assert Checkpoint.decode(bytes(PAGE)) is None
    assert Checkpoint.decode(b"") is None
    assert Checkpoint.decode(slot[:40] + b"\1" + slot[41:]) is None
