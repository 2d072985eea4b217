"""Predictions in files: whole or not there, no more than agreed, and lost without harm where the disk takes none."""

from __future__ import annotations

import errno
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from headrace.features import Column, FeatureView
from headrace.features.rows import Rows
from headrace.predictions import LONGEST_ID, Columns, PredictionLog, Pseudonyms, SinkFailed
from headrace.predictions.files import ParquetFiles, files_of
from headrace.predictions.opening import Keeping, LogError, open_sink
from headrace.predictions.reading import in_files
from headrace.predictions.records import iso_of
from tests.predictions.runs import columns, run
from tests.transformer.small import NOW

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


def written(folder: Path, *ids: str, **how) -> ParquetFiles:
    files = ParquetFiles(folder, **how)
    write(files, *ids)
    return files


def write(files: ParquetFiles, *ids: str) -> None:
    """Write what was answered, and let the files be looked after, as the log does."""
    files.write(columns().table([run(*ids)]))
    files.settled()


def test_a_file_is_named_by_its_instant_and_holds_what_was_given(tmp_path):
    written(tmp_path / "p", "a", "b", clock=Clock())
    (file,) = files_of(tmp_path / "p")
    assert file.relative_to(tmp_path) == Path(f"p/2026-11-21/120000.000-{os.getpid()}-1.parquet")
    assert pq.read_table(file)["request_id"].to_pylist() == ["a", "b"]
    assert [path for path in (tmp_path / "p").rglob("*") if path.is_file()] == [file]


def test_old_days_are_swept_and_the_newest_file_stays(tmp_path):
    clock = Clock()
    files = written(tmp_path, "old", days=2, clock=clock)
    clock.now += timedelta(days=3)
    write(files, "new")
    assert [file.parent.name for file in files_of(tmp_path)] == ["2026-11-24"]
    assert not (tmp_path / "2026-11-21").exists()


def test_what_is_too_old_goes_though_nothing_is_written_any_more(tmp_path):
    clock = Clock()
    files = written(tmp_path, "old", days=2, clock=clock)
    clock.now += timedelta(days=1)
    assert (files.settled(), len(files_of(tmp_path))) == (0, 1)
    clock.now += timedelta(days=2)
    assert (files.settled(), files_of(tmp_path)) == (0, [])


def test_what_others_keep_beside_them_is_left_alone(tmp_path):
    others = ["2024-01-01/payments.parquet", "2024/01.parquet", "exports/120000.000-1-1.parquet", "zoo/z.parquet"]
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"somebody else's")
    written(tmp_path, "own", clock=Clock(), most_bytes=1)
    assert len(files_of(tmp_path)) == 1
    assert [name for name in others if not (tmp_path / name).exists()] == []


def test_files_of_a_clock_that_was_ahead_give_way_to_what_is_written_now(tmp_path):
    clock = Clock()
    clock.now += timedelta(days=300)
    files = written(tmp_path, "ahead", clock=clock)
    clock.now = NOON
    write(files, "now")
    assert len(files_of(tmp_path)) == 2  # there is room for both
    files._most_bytes = 1
    for turn in range(1, 3):
        clock.now = NOON + timedelta(minutes=turn)
        write(files, f"later {turn}")
        (kept,) = files_of(tmp_path)
        assert pq.read_table(kept)["request_id"].to_pylist() == [f"later {turn}"]


def test_a_day_that_another_process_sweeps_meanwhile_fails_nothing(tmp_path, monkeypatch):
    clock = Clock()
    files = written(tmp_path, "old", days=2, clock=clock)
    clock.now += timedelta(days=3)

    def swept(path, listed=os.listdir):
        if str(path) == str(tmp_path / "2026-11-21"):
            shutil.rmtree(path)
        return listed(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", swept)
        write(files, "new")
    assert [pq.read_table(file)["request_id"][0].as_py() for file in files_of(tmp_path)] == ["new"]


def test_what_a_killed_process_left_is_swept_and_what_another_is_writing_is_not(tmp_path):
    clock = Clock()
    for day, name in (("2026-11-20", ".235959.000-7-9"), ("2026-11-21", ".113000.000-7-1")):
        (tmp_path / day).mkdir()
        (tmp_path / day / f"{name}.parquet.tmp").write_bytes(b"half")
    written(tmp_path, "a", clock=clock)
    assert not (tmp_path / "2026-11-20").exists()
    assert (tmp_path / "2026-11-21" / ".113000.000-7-1.parquet.tmp").exists()


def test_a_sweep_that_fails_loses_nothing_that_was_written(tmp_path, caplog):
    (tmp_path / "2026-01-01" / "000000.000-7-1.parquet").mkdir(parents=True)
    log = PredictionLog(ParquetFiles(tmp_path, days=1, clock=Clock()), columns().table)
    log.offer(run("a", rows=2))
    log.close()
    assert (log.written, log.failed) == (2, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "old predictions stay, the folder grows: Is a directory"
    ]


def test_no_more_bytes_are_kept_than_agreed(tmp_path):
    clock = Clock()
    files = written(tmp_path, "0", clock=clock)
    size = files_of(tmp_path)[0].stat().st_size
    files = ParquetFiles(tmp_path, most_bytes=3 * size + size // 2, clock=clock)
    for name in "123456":
        clock.now += timedelta(minutes=2)
        write(files, name)
    assert [pq.read_table(file)["request_id"][0].as_py() for file in files_of(tmp_path)] == ["4", "5", "6"]


def test_a_full_disk_loses_rows_leaves_nothing_behind_and_is_over_when_there_is_room(tmp_path, monkeypatch):
    log = PredictionLog(ParquetFiles(tmp_path, every_s=3600.0), columns().table)
    real = pq.write_table

    def full(table, where, **how) -> None:
        real(table.slice(0, 0), where, **how)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pq, "write_table", full)
    log.offer(run("a", rows=3))
    log.close()
    assert (log.written, log.failed) == (0, 3)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_file_system_is_said_by_its_reason(tmp_path):
    files = ParquetFiles(tmp_path)
    (tmp_path / datetime.now(UTC).strftime("%Y-%m-%d")).write_text("in the way")
    with pytest.raises(SinkFailed, match="the folder of predictions takes no file: File exists"):
        files.write(columns().table([run("a")]))


def test_a_folder_that_cannot_be_written_to_is_found_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        LogError, match=r"nothing can be written to '.*/p' \(Not a directory\), predictions need a folder"
    ):
        open_sink(f"dir:{tmp_path}/file/p", Keeping(), {})
    with pytest.raises(LogError, match=r"the prediction log is 's3://b/p', needs dir:/path or kafka://host:port/topic"):
        open_sink("s3://b/p", Keeping(), {})
    with pytest.raises(LogError, match=r"'kafka://nowhere' is no address of a topic, needs kafka://host:port/topic"):
        open_sink("kafka://nowhere", Keeping(), {})


def test_the_rows_of_a_request_are_found_by_any_of_its_ids(tmp_path):
    written(tmp_path, "a", "b")
    written(tmp_path, "c", "a").write(columns().table([run("d", at_ms=1_800_000_000_000)]))
    (tmp_path / "2026-11-21").mkdir(exist_ok=True)
    (tmp_path / "2026-11-21" / "999999-broken.parquet").write_bytes(b"PAR1")
    found = in_files(tmp_path, "b")
    assert [record["request_id"] for record in found.records] == ["b"]
    assert found.features["amount"].source == "request.amount"
    nothing = in_files(tmp_path, "nobody")
    assert (nothing.records, nothing.looked_at, nothing.files) == ([], 5, 3)
    assert (nothing.oldest, nothing.newest) == ("2023-11-14T22:13:20.000Z", "2027-01-15T08:00:00.000Z")


def test_an_id_that_was_used_twice_means_the_last_request(tmp_path):
    files = ParquetFiles(tmp_path)
    files.write(columns().table([run("a", at_ms=1_700_000_000_000), run("a", rows=2, at_ms=1_700_000_000_001)]))
    assert [record["at"][-5:] for record in in_files(tmp_path, "a").records] == [".001Z"[-5:]] * 2


def test_what_is_before_the_instant_is_not_found_and_its_days_are_not_looked_at(tmp_path):
    at_ms = int(NOON.timestamp() * 1000)
    ParquetFiles(tmp_path, clock=Clock()).write(columns().table([run("a", at_ms=at_ms)]))
    assert in_files(tmp_path, "a", NOON - timedelta(hours=1)).records
    passed = in_files(tmp_path, "a", NOON + timedelta(seconds=1))
    assert (passed.records, passed.files) == ([], 1)
    assert in_files(tmp_path, "a", NOON + timedelta(days=1)).files == 0


def test_of_two_requests_in_one_millisecond_the_last_is_meant(tmp_path):
    ParquetFiles(tmp_path).write(columns(Pseudonyms("plain")).table([run("a", "a", rows=2)]))
    found = in_files(tmp_path, "a").records
    assert [(record["row"], record["keys"]["user"]) for record in found] == [(0, "user-2"), (1, "user-3")]


def test_of_two_processes_files_the_one_that_was_answered_last_is_meant(tmp_path):
    clock, at_ms = Clock(), int(NOON.timestamp() * 1000)
    first, second = (ParquetFiles(tmp_path, clock=clock) for _ in range(2))
    clock.now = NOON + timedelta(seconds=29)
    first.write(columns().table([run("a", at_ms=at_ms + 28_000)]))
    clock.now = NOON + timedelta(seconds=30)
    second.write(columns().table([run("a", at_ms=at_ms + 1_000)]))
    clock.now = NOON - timedelta(seconds=1)
    second.write(columns().table([run("a", at_ms=at_ms - 2_000)]))
    found = in_files(tmp_path, "a")
    assert [record["at"] for record in found.records] == [iso_of(at_ms + 28_000)]
    assert found.files == 2  # what was written before the first that was found is not looked at


def test_a_long_id_is_found_by_what_is_kept_of_it(tmp_path):
    written(tmp_path, "7" * LONGEST_ID)
    assert in_files(tmp_path, "7" * 300).records


def test_a_view_without_groups_and_an_output_of_text_are_written(tmp_path):
    view = FeatureView("plain", 1, (Column("amount"),), (), ("request.amount",), time="")
    told = [np.array([b"fine", b"fra\xff"], dtype=object)]
    rows = Rows(2, {"amount": np.ones(2)}, np.full(2, NOW))
    one = run("a", rows=2)
    one = one._replace(answered=[one.answered[0]._replace(outputs=told)])
    one = one._replace(rows=rows, blocks={}, matrix=np.ones((2, 1), np.float32))
    ParquetFiles(tmp_path).write(Columns("plain", view, {"label": "BYTES"}).table([one]))
    found = in_files(tmp_path, "a").records
    assert [record["outputs"]["label"] for record in found] == ["fine", "fra\ufffd"]
    assert "keys" not in found[0]
