"""What the Flink engine decides without Flink: batches made whole, sources that may follow, settings, interpreters."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.engines import Job, Report
from feature_pipelines.engines.flink import PYTHON, interpreter
from feature_pipelines.engines.flink_kafka import java_settings, table_options
from feature_pipelines.engines.flink_packets import Arrivals, Summary
from feature_pipelines.engines.flink_plan import Plan, begin, recovery_path, told
from feature_pipelines.engines.keyed import Folded
from feature_pipelines.files import SourceError
from tests.feature_pipelines.engines.events import TERMINAL_BURSTS

LETTER = DeadLetter("payments/0", 7, "cc_num is missing, an event of payments needs it", b"\xff{")


def part(batch, bucket):
    return Folded(f"{bucket}", np.array([batch]), TERMINAL_BURSTS.empty(1), [], 1, 0)


@given(st.data())
def test_every_part_is_written_once_and_a_bucket_s_in_order_whatever_the_interleaving(data):
    batches = data.draw(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=6))
    queues = {bucket: [at for at, parts in enumerate(batches) if bucket in parts] for bucket in range(4)}
    queues["summary"] = list(range(len(batches)))
    arrivals, written = Arrivals(), []
    while any(queues.values()):
        origin = data.draw(st.sampled_from([name for name, left in queues.items() if left]))
        at = queues[origin].pop(0)
        if origin == "summary":
            written += arrivals.summarise(str(at), Summary("payments/0", 10 * at + 10, 10, len(batches[at]), []))
        else:
            written += arrivals.add(str(at), part(at, origin))
    assert arrivals.whole
    assert arrivals.positions == {"payments/0": 10 * len(batches)}
    for bucket in range(4):
        assert [int(of.keys[0]) for of in written if of.group == str(bucket)] == [
            at for at, parts in enumerate(batches) if bucket in parts
        ]


def test_a_batch_is_not_whole_before_its_last_part():
    arrivals = Arrivals()
    assert arrivals.summarise("b", Summary("payments/0", 10, 10, 2, [])) == []
    assert arrivals.add("b", part(0, 1)) == []
    assert not arrivals.whole
    assert len(arrivals.add("b", part(0, 2))) == 2
    assert arrivals.whole


def test_a_summary_comes_back_from_bytes():
    summary = Summary("a file@1/time", 20, 10, 3, [LETTER])
    assert Summary.of_bytes(summary.to_bytes()) == summary


def _with_state(folder, name="savepoints/savepoint-1", seconds=1):
    kept = folder / name
    kept.mkdir(parents=True)
    (kept / "_metadata").touch()
    os.utime(kept / "_metadata", (seconds, seconds))
    return kept


def test_a_source_may_begin_anew_but_another_may_not_follow_without_state(tmp_path):
    begin(tmp_path, "a@1/time", is_file=True)
    begin(tmp_path, "a@1/time", is_file=True)
    with pytest.raises(ValueError, match="of which Flink kept no state to go on from: needs the same source again"):
        begin(tmp_path, "b@1/time", is_file=True)


def test_files_follow_files_each_once_and_a_topic_follows_nothing(tmp_path):
    begin(tmp_path, "a@1/time", is_file=True)
    assert recovery_path(tmp_path) is None
    assert _with_state(tmp_path) == recovery_path(tmp_path)
    begin(tmp_path, "b@1/time", is_file=True)
    for source, is_file in (("a@1/time", True), ("kafka://h:1/t", False)):
        with pytest.raises(ValueError, match="cannot follow: needs the last of them, a file that is new, or another"):
            begin(tmp_path, source, is_file)


def test_the_newest_that_is_complete_is_gone_on_from(tmp_path):
    _with_state(tmp_path, "checkpoints/job/chk-9", seconds=9)
    newest = _with_state(tmp_path, "checkpoints/job/chk-10", seconds=10)
    (tmp_path / "checkpoints/job/chk-11").mkdir()
    _with_state(tmp_path, seconds=8)
    assert recovery_path(tmp_path) == newest


@pytest.mark.parametrize("asked", ["scandir", "stat"])
def test_a_newer_one_is_found_where_one_is_dropped_meanwhile(tmp_path, monkeypatch, asked):
    _with_state(tmp_path, seconds=1)
    dropped = _with_state(tmp_path, "checkpoints/job/chk-1", seconds=2)
    of_system, newer = getattr(os, asked), []

    def dropping(path, *given, **how):
        if not newer and str(path).startswith(str(dropped)):
            newer.append(_with_state(tmp_path, "checkpoints/job/chk-2", seconds=3))
            shutil.rmtree(dropped)
        return of_system(path, *given, **how)

    with monkeypatch.context() as patched:
        patched.setattr(os, asked, dropping)
        found = recovery_path(tmp_path)
    assert [found] == newer
    assert not dropped.exists()


def test_what_is_never_there_is_not_looked_for_for_ever(tmp_path):
    _with_state(tmp_path)
    broken = tmp_path / "checkpoints/job/chk-3"
    broken.mkdir(parents=True)
    (broken / "_metadata").symlink_to(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="chk-3"):
        recovery_path(tmp_path)


def test_state_that_cannot_be_looked_at_is_not_taken_for_none(tmp_path, monkeypatch):
    _with_state(tmp_path)

    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError):
        recovery_path(tmp_path)


def test_what_the_writer_tells_is_read_by_the_next_run_and_its_report_forgotten(tmp_path):
    plan = Plan(Job("fraud", "payments", "x.parquet", tmp_path), "flink:1", str(tmp_path))
    plan.tell({"payments/0": 5}, Report(events=5))
    assert told(tmp_path) == ({"payments/0": 5}, Report(events=5))
    begin(tmp_path, "x@1/time", is_file=True)
    assert told(tmp_path) == ({"payments/0": 5}, Report())
    assert plan.positions() == {"payments/0": 5}


def test_settings_are_told_to_the_java_client_by_its_own_names():
    given_ = {
        "security.protocol": "sasl_ssl", "sasl.mechanisms": "SCRAM-SHA-512", "sasl.username": "u",
        "sasl.password": 'p"\\', "ssl.ca.location": "/ca.pem",
    }  # fmt: skip
    assert java_settings(given_, lambda path: f"text of {path}") == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.certificates": "text of /ca.pem",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="u" password="p\\"\\\\";',
    }


def test_a_setting_without_a_counterpart_is_refused():
    with pytest.raises(SourceError, match=r"queued.min.messages has no counterpart that Flink's connector is known to"):
        java_settings({"queued.min.messages": "1"})
    with pytest.raises(SourceError, match=r"sasl.mechanism is 'GSSAPI', needs one of PLAIN"):
        java_settings({"sasl.username": "u", "sasl.mechanism": "GSSAPI"})


def test_a_topic_is_read_from_its_beginning_and_to_its_end_where_that_is_asked_for():
    job = Job("fraud", "payments", "kafka://h:1,g:2/payments", Path("store"))
    assert table_options(job, ends=True) == table_options(job, ends=False) | {"scan.bounded.mode": "latest-offset"}
    assert table_options(job, ends=False)["properties.bootstrap.servers"] == "h:1,g:2"


def test_an_interpreter_that_is_not_there_is_told_how_to_be_made(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="which is not there: make one with 'make flink'"):
        interpreter({}, {PYTHON: str(tmp_path / "python")})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("feature_pipelines.engines.flink._HOME", tmp_path)
    with pytest.raises(ValueError, match="needs Apache Flink for Python in an environment of its own, which is not"):
        interpreter({}, {})
