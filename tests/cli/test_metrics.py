"""A running pipeline is scraped: what it read from a topic, how fresh that is, how far it is behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from prometheus_client.parser import text_string_to_metric_families

from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli.broker import local_broker

ROOT = Path(__file__).parents[2]
EVENTS = 40
WAIT_S = 60


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run `headrace pipeline run fraud` in a process of its own, ended with the block."""
    command = [sys.executable, "-c", "from headrace.cli import main; main()", "pipeline", "run", "fraud", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    """Return where a pipeline says that its metrics are."""
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", line):
            return found[1]
    raise AssertionError("the pipeline ended without saying where its metrics are")


def scraped(address: str) -> dict[str, float]:
    """Return what a scrape reads, by name and labels as one text."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {" ".join([s.name, *map(str, sorted(s.labels.values()))]): s.value for f in families for s in f.samples}


def test_a_pipeline_from_a_topic_is_scraped_while_it_runs(tmp_path):
    with local_broker(tmp_path / "broker") as servers:
        topic = KafkaAddress(servers, "payments")
        create_topic(topic)
        now = time.time_ns() // 1_000_000
        rows = [{"cc_num": at, "terminal_id": 1, "datetime": now - 60_000, "amount": 5.0} for at in range(EVENTS)]
        produce(topic, [(b"k", orjson.dumps(row)) for row in rows] + [(b"k", b"not JSON")])
        store, source = str(tmp_path / "s"), f"kafka://{servers}/payments"
        with running("--source", source, "--store", store, "--metrics", "0", "--group", "") as process:
            address, until = address_of(process), time.monotonic() + WAIT_S
            while (seen := scraped(address))["headrace_pipeline_events_total payments"] <= EVENTS:
                assert time.monotonic() < until, "the events were not read in time"
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=WAIT_S)
    assert seen["headrace_pipeline_dead_letters_total payments unreadable"] == 1
    assert seen["headrace_group_keys card_activity payments"] > 0
    assert seen["headrace_pipeline_lag_events payments payments/0"] == 0
    assert seen["headrace_pipeline_newest_event_timestamp_seconds payments"] == (now - 60_000) / 1000
    for group in ("event", "produce"):
        assert seen[f"headrace_{group}_to_servable_seconds_count card_activity payments"] in (EVENTS, EVENTS + 1)
    assert seen["headrace_event_to_servable_seconds_bucket 60.0 card_activity payments"] == 0
    assert seen["headrace_produce_to_servable_seconds_bucket 60.0 card_activity payments"] >= EVENTS
    assert process.returncode == 0
