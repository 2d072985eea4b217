"""A pipeline killed again and again leaves the very store and dead letters that an undisturbed one leaves."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from applications.fraud.app import APP, PAYMENTS
from headrace.stores.embedded import EmbeddedStore

ROOT = Path(__file__).parents[2]
EVENTS, BATCH, KILLS = 5_000, 25, 7
POLL_S, WAIT_S = 0.002, 60
START_MS, DAY_MS = 1_767_225_600_000, 86_400_000


def payments(chance: random.Random) -> bytes:
    """Return payments out of order as CSV, one in thirty of them not to be counted and one in forty a duplicate."""
    lines = [b"tid,cc_num,terminal_id,datetime,amount,latitude,longitude,card_present"]
    for tid in range(EVENTS):
        at = START_MS + int(chance.triangular(0, 40 * DAY_MS, 20 * DAY_MS))
        place = f"{chance.uniform(-90, 90):.4f},{chance.uniform(-180, 180):.4f}"
        amount = f"{chance.expovariate(0.02):.2f}"
        card = 4_000_000_000_000_000 + chance.randrange(60)
        if tid % 30 == 7:
            amount, card = chance.choice([("-1", card), ("much", card), (amount, ""), ('"', card), ("\xff", card)])  # type: ignore[assignment]
        elif tid % 97 == 5:
            at -= 90 * DAY_MS  # in order of arrival too late, in order of time not
        line = f"{tid},{card},{chance.randrange(20)},{at},{amount},{place},{chance.choice(['true', 'false', ''])}"
        lines.append(lines[-chance.randrange(1, 20)] if tid % 40 == 39 else line.encode("latin-1"))
    return b"\n".join(lines) + b"\n"


def start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Run the command as a shell would."""
    command = [sys.executable, "-c", "from headrace.cli import main; main()", "pipeline", "run", "fraud", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def counted(store: EmbeddedStore) -> int:
    """Return how many events the store's source stands at, 0 before there is a store."""
    if store.readiness(APP.groups_of("payments")):
        return 0
    return max((at for partition, at in store.offsets("payments").items() if "@" in partition), default=0)


def kill_once_beyond(process: subprocess.Popen[bytes], store: EmbeddedStore, events: int) -> bool:
    """Kill a run as soon as it has counted more than so many events; tell whether it was still running."""
    while process.poll() is None and counted(store) <= events:
        try:
            process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    process.communicate()
    return process.returncode == -9


def everything(path: Path) -> dict[str, dict[bytes, bytes]]:
    """Return every database of a store, byte for byte."""
    store = EmbeddedStore(path, readonly=True)
    names = [b"headrace", *(b"group:" + group.name.encode() for group in APP.groups_of("payments"))]
    found = {}
    for name in names:
        db = store.files.database(name)
        with store.files.begin() as txn:
            found[name.decode()] = {bytes(key): bytes(value) for key, value in txn.cursor(db)}
    store.close()
    return found


def letters(store: Path) -> bytes:
    """Return a store's dead letters."""
    return (store / "dead_letters" / f"{PAYMENTS.name}.jsonl").read_bytes()


def test_three_pipelines_at_once_count_every_event_once(tmp_path):
    source = tmp_path / "payments.csv"
    source.write_bytes(payments(random.Random("together")))

    def run(store: str) -> subprocess.Popen[bytes]:
        return start(["--source", str(source), "--store", str(tmp_path / store), "--batch", "25", "--fast"])

    for store, processes in (("alone", 1), ("together", 3)):
        for process in [run(store) for _ in range(processes)]:
            said, _ = process.communicate(timeout=WAIT_S)
            assert process.returncode == 0, said.decode()
    assert everything(tmp_path / "together") == everything(tmp_path / "alone")
    assert letters(tmp_path / "together") == letters(tmp_path / "alone")


@pytest.mark.parametrize("order", ["time", "file"])
def test_a_pipeline_that_is_killed_loses_nothing_and_counts_nothing_twice(tmp_path, order):
    chance = random.Random(f"kill {order}")
    source = tmp_path / "payments.csv"
    source.write_bytes(payments(chance))

    def arguments(store: str) -> list[str]:
        kept = str(tmp_path / store)
        return ["--source", str(source), "--store", kept, "--batch", str(BATCH), "--order", order, "--fast"]

    thresholds = sorted(chance.randrange(EVENTS - 20 * BATCH) for _ in range(KILLS - 1))
    watched = EmbeddedStore(tmp_path / "killed", readonly=True)
    killed = [kill_once_beyond(start(arguments("killed")), watched, at) for at in [0, *thresholds]]
    assert sum(killed) >= 5  # a run may have been done before the signal came
    assert 0 < counted(watched) <= EVENTS
    watched.close()

    for store in ("killed", "undisturbed"):
        process = start(arguments(store))
        said, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, said.decode()
    one = everything(tmp_path / "killed")
    assert one == everything(tmp_path / "undisturbed")
    assert len(one["group:card_activity"]) == 60
    refused = letters(tmp_path / "killed")
    assert refused == letters(tmp_path / "undisturbed")
    assert refused.count(b"\n") >= EVENTS // 30
    assert b'"base64"' in refused
    assert (b"too late" in refused) == (order == "file")
