"""The yardstick: what the local engine leaves of the same events."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from feature_pipelines.engines import Job, Report, load_engine
from headrace.application import load_application
from tests.architecture.code import ROOT
from tests.feature_pipelines.engines import events

WAIT_S, POLL_S = 300, 0.005


def job(app: str, source: Path | str, store: Path, **options: str) -> Job:
    """Return a job of one of the applications in `events`, by the name it has there; a file is read in its order."""
    order = {} if str(source).startswith("kafka:") else {"order": "file"}
    return Job(f"{events.__name__}:{app}", "payments", str(source), store, to_end=True, options=order | options)


def forever() -> bool:
    """Never stop."""
    return False


def run(engine: str, given: Job) -> Report:
    """Run a job to its end."""
    return load_engine(engine).run(given, forever)


def assert_as_local(
    found: Path, app: str, source: Path, store: Path, *, letters: Literal["alike", "as many"] = "alike"
) -> None:
    """Let the local engine run a file into `store`, and compare every record and dead letter of `found` with its own.

    Letters of another source name other partitions: they are then compared by reason.
    """
    report = run("local", job(app, source, store))
    groups = load_application(f"{events.__name__}:{app}").groups
    events.assert_equal(events.records(found, groups), events.records(store, groups))
    ours, theirs = events.letters(found), events.letters(store)
    if letters == "as many":
        assert Counter(letter[2] for letter in ours) == Counter(letter[2] for letter in theirs)
    else:
        assert ours == theirs
    assert report.duplicates
    assert report.dead == len(theirs) > 0


def run_killed(program: str, app: str, source: Path | str, store: Path, at: Sequence[int]) -> int:
    """Run a program, kill it when it has written so many dead letters, each time, and then let it end.

    Returns how often it was killed before it was done.
    """
    command, killed = [sys.executable, "-c", program, app, str(source), str(store)], 0
    for letters in at:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and letters_at(store) < letters:
            try:
                process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        killed += process.wait() == -9
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=WAIT_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return killed


def run_together(program: str, app: str, source: Path, store: Path, addresses: str, count: int) -> None:
    """Run a program as so many processes that share the work, the first of them first."""
    state = store / "bytewax" / "payments" / "part-0.sqlite3"
    command = [sys.executable, "-c", program, app, str(source), str(store), addresses]
    processes = [subprocess.Popen([*command, "0"], cwd=ROOT)]
    while processes[0].poll() is None and not state.exists():
        with suppress(subprocess.TimeoutExpired):
            processes[0].wait(POLL_S)
    processes += [subprocess.Popen([*command, str(number)], cwd=ROOT) for number in range(1, count)]
    assert [process.wait(WAIT_S) for process in processes] == [0] * count


def letters_at(store: Path) -> int:
    """Return how many dead letters there are so far."""
    path = store / "dead_letters" / "payments.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
