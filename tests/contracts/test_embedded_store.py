"""The store on disk among processes: many read while one writes, it grows, and readers die."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from headrace.features import WindowedGroup
from headrace.stores import environment
from headrace.stores.checkpoint import DATA_FILE
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import StoreGrew, StoreUnavailable
from tests.contracts.reader import KEYS
from tests.stores.small import CARDS, COUNT, SHOPS, SOURCE, SUM, Given, add, keys_of, put, read

ROOT = Path(__file__).parents[2]
WAIT_S = 60


@contextmanager
def reader(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a reading process, and see it ended."""
    command = [sys.executable, "-m", "tests.contracts.reader", *arguments]
    process = subprocess.Popen(
        command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def elsewhere(script: str, path: Path) -> None:
    """Run a script on a store in another process, to its end."""
    ran = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def began(process: subprocess.Popen[str]) -> str:
    """Wait for a process's first line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def one_of_each(keys: range) -> list[Given]:
    """Return an event of every key."""
    return [(key, 1_000, 1.0) for key in keys]


def commit(store: EmbeddedStore, events: list[Given], *groups: WindowedGroup) -> None:
    """Commit events, again where the store had to grow in the middle."""
    while True:
        try:
            put(store, events, *groups)
        except StoreGrew:
            continue
        return


@pytest.mark.parametrize("tiny", [False, True], ids=["roomy", "growing"])
def test_every_process_sees_only_what_one_commit_left_while_another_writes(tmp_path, monkeypatch, tiny):
    if tiny:  # the map grows many times under the readers' feet
        monkeypatch.setattr(environment, "FIRST_MAP", 1 << 16)
        monkeypatch.setattr(environment, "HEADROOM", 1 << 13)
    path, last = tmp_path / "s", 150
    with reader("watch", str(path), str(last)) as one, reader("watch", str(path), str(last)) as two:
        assert began(one) == began(two) == "watching"  # before there is a store
        store = EmbeddedStore(path, durable=False)
        for number in range(1, last + 1):
            commit(store, [(key, number, float(number)) for key in range(KEYS)], CARDS, SHOPS)
        for process in (one, two):
            out, err = process.communicate(timeout=WAIT_S)
            assert process.returncode == 0, err
            reads, states, why = out.split(maxsplit=2)
            assert int(reads) >= int(states) >= 1
            assert why.strip() == "None"
        grown = store.files.env.info()["map_size"]
        store.close()
    assert grown > environment.FIRST_MAP if tiny else grown == environment.FIRST_MAP


def test_a_full_store_grows_and_the_batch_is_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "FIRST_MAP", 1 << 16)
    monkeypatch.setattr(environment, "HEADROOM", 0)
    store = EmbeddedStore(tmp_path / "s", durable=False)
    store.declare([CARDS])
    keys = range(400)
    with pytest.raises(StoreGrew, match=r"room for \d+ MiB: the batch must be run again"):
        put(store, one_of_each(keys))
    assert store.offsets(SOURCE) == {}
    assert store.size(CARDS) == 0
    commit(store, one_of_each(keys))
    assert store.offsets(SOURCE) == {"0": 400}
    assert (read(store, keys, 5_000).values[:, SUM] == 1).all()
    store.close()
    again = EmbeddedStore(tmp_path / "s", durable=False)  # opened with a first map smaller than the file
    assert again.size(CARDS) == 400
    again.close()


def test_another_process_growing_the_store_is_no_fault_for_who_has_it_open(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "FIRST_MAP", 1 << 16)
    monkeypatch.setattr(environment, "HEADROOM", 1 << 13)
    path = tmp_path / "s"
    ours = EmbeddedStore(path, durable=False)
    put(ours, [(1, 1_000, 1.0)])
    for call in (
        lambda: read(ours, [1, 9_999], 5_000),
        lambda: ours.readiness([CARDS]),
        lambda: ours.offsets(SOURCE),
        lambda: ours.declare([CARDS]),
        lambda: ours.declare([SHOPS]),
        lambda: put(ours, [(1, 1_000, 1.0)]),
        lambda: ours.size(SHOPS),
    ):
        elsewhere(FILL, path)
        call()
    assert read(ours, [1], 5_000).values[0, COUNT] == 2
    ours.close()


#: Doubles the number of cards, in a map that grows as it needs to.
FILL = """
import sys
from headrace.stores import environment
from headrace.stores.embedded import EmbeddedStore
from tests.contracts.test_embedded_store import commit, one_of_each
from tests.stores.small import CARDS
environment.FIRST_MAP, environment.HEADROOM = 1 << 16, 1 << 13
store = EmbeddedStore(sys.argv[1], durable=False)
before = store.files.env.info()["map_size"]
held = store.size(CARDS)
while store.files.env.info()["map_size"] == before:
    commit(store, one_of_each(range(10_000 + held, 10_100 + held)))
    held += 100
"""


def test_a_store_may_be_opened_to_read_before_it_is_made(tmp_path):
    path = tmp_path / "later"
    ours = EmbeddedStore(path, readonly=True)
    assert ours.readiness([CARDS]) == f"there is no store at {str(path)!r}: run a pipeline first"
    called = EmbeddedStore(path, readonly=True, shown="later")
    assert called.readiness([CARDS]) == "there is no store at 'later': run a pipeline first"
    with pytest.raises(StoreUnavailable, match=r"there is no store at '\S*/later': run a pipeline first"):
        read(ours, [1], 5_000)
    assert not path.exists()
    elsewhere(MAKE, path)
    assert read(ours, [1], 5_000).values[0, SUM] == 5
    assert "holds no key of group 'shops'" in str(ours.readiness([CARDS, SHOPS]))
    assert not read(ours, [1], 5_000, SHOPS).found.any()  # a group that nobody has declared
    assert ours.size(SHOPS) == 0
    ours.close()


MAKE = """
import sys
from headrace.stores.embedded import EmbeddedStore
from tests.stores.small import put
put(EmbeddedStore(sys.argv[1], durable=False), [(1, 1_000, 5.0)])
"""


def test_a_file_that_is_no_store_is_unavailable(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / DATA_FILE).write_bytes(b"not a store" * 1000)
    with pytest.raises(StoreUnavailable, match=r"the store at '\S*/s' cannot be opened: .*"):
        EmbeddedStore(tmp_path / "s")
    assert "cannot be opened" in str(EmbeddedStore(tmp_path / "s", readonly=True).readiness([CARDS]))


def test_a_store_that_can_no_longer_be_read_is_unavailable(tmp_path):
    store = EmbeddedStore(tmp_path / "s", durable=False)
    put(store, [(1, 1_000, 5.0)])
    store.files.env.close()  # as after a fault of the disk: what was open answers no more
    with pytest.raises(StoreUnavailable, match=r"the store at '\S*/s' cannot be read: "):
        read(store, [1], 5_000)
    assert "/s' cannot be read: " in str(store.readiness([CARDS]))


def test_the_slot_of_a_killed_reader_is_free_again_at_the_next_start(tmp_path):
    path = tmp_path / "s"
    store = EmbeddedStore(path, durable=False)
    put(store, [(1, 1_000, 5.0)])
    with reader("hold", str(path)) as process:
        assert began(process) == "reading"
        pid = process.pid
        process.send_signal(signal.SIGKILL)
        process.wait(WAIT_S)
    assert str(pid) in store.files.env.readers()
    store.close()
    again = EmbeddedStore(path, durable=False)
    assert str(pid) not in again.files.env.readers()
    again.close()


def test_a_group_must_be_declared_before_it_is_written(tmp_path):
    store = EmbeddedStore(tmp_path / "s", durable=False)
    store.declare([CARDS])
    with (
        pytest.raises(LookupError, match="group 'shops' is not declared to this store, needs declare"),
        store.transaction(SOURCE, {}) as change,
    ):
        add(change, SHOPS, [(1, 1_000, 5.0)])
    with pytest.raises(LookupError, match="needs declare"), store.transaction(SOURCE, {}) as change:
        change.write(SHOPS, keys_of([1]), SHOPS.empty(1))
    store.close()


def test_what_was_committed_is_there_after_the_store_is_opened_again(tmp_path):
    store = EmbeddedStore(tmp_path / "s")
    put(store, [(1, 1_000, 5.0), (-7, 2_000, 6.0)])
    store.close()
    again = EmbeddedStore(tmp_path / "s", readonly=True)
    assert read(again, [-7, 1], 5_000).values[:, SUM].tolist() == [6, 5]
    assert again.offsets(SOURCE) == {"0": 2}
    assert again.declared()["cards"]["layout"] == f"{CARDS.layout.fingerprint:016x}"
    again.close()


def test_a_store_made_anew_under_a_reader_is_opened_again(tmp_path):
    path = tmp_path / "store"
    with closing(EmbeddedStore(path, durable=False)) as first:
        commit(first, one_of_each(range(3)), CARDS)
    with closing(EmbeddedStore(path, readonly=True)) as serving:
        assert serving.readiness([CARDS]) is None
        shutil.rmtree(path)
        assert "/store': run a pipeline first" in str(serving.readiness([CARDS]))
        with closing(EmbeddedStore(path, durable=False)) as second:
            commit(second, one_of_each(range(7)), CARDS)
        assert serving.readiness([CARDS]) is None
        assert serving.size(CARDS) == 7


def test_a_group_takes_the_pages_its_records_lie_in(tmp_path):
    with closing(EmbeddedStore(tmp_path / "s", durable=False)) as store:
        assert store.stored_bytes(CARDS) == 0
        store.declare([CARDS])
        commit(store, one_of_each(range(1000)), CARDS)
        assert 1000 * 8 < store.stored_bytes(CARDS) < 1000 * CARDS.layout.size / 3
