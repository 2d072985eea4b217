"""Metrics of a pipeline: every event is in its bucket, labels are bounded, and a scrape reads them over HTTP."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from feature_pipelines.events import decode
from headrace.features import Column, Window, WindowedGroup
from headrace.features.streams import Stream
from headrace.telemetry import PipelineMetrics, serve
from headrace.telemetry.pipelines import BATCHES, COMMITS, FRESHNESS, KINDS, kind_of

STREAM = Stream("clicks", (Column("user", "int64"), Column("at", "timestamp"), Column("spent", low=0)), time="at")
GROUPS = tuple(
    WindowedGroup(name, 1, "clicks", "user", "at", "spent", ("count",), (Window("1m", 60_000), Window("1h", 3_600_000)))
    for name in ("users", "shops")
)
NOW = 1_700_000_000_000
CLICKS = (("stream", "clicks"),)


def read(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what a scrape holds, by name and labels."""
    families = text_string_to_metric_families(text.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def observed(times: list[int], now_ms: float = NOW, **given_: object) -> PipelineMetrics:
    """Return the metrics of one batch of these event times."""
    metrics = PipelineMetrics(STREAM, GROUPS)
    metrics.observe(np.array(times, dtype=np.int64), now_ms, events=len(times), **given_)  # type: ignore[arg-type]
    return metrics


@given(st.lists(st.lists(st.integers(-100, 10**9), max_size=20), min_size=1, max_size=4))
def test_every_event_is_counted_into_the_bucket_of_its_freshness(batches):
    metrics = PipelineMetrics(STREAM, GROUPS)
    for ages in batches:
        metrics.observe(NOW - np.array(ages, dtype=np.int64), NOW, events=len(ages))
    samples = read(metrics.text())
    ages_ms = [max(age, 0) for ages in batches for age in ages]
    for group in ("users", "shops"):
        labels = (("group", group), *CLICKS)
        for edge in FRESHNESS:
            wanted = sum(age <= edge * 1000 for age in ages_ms)
            assert (
                samples["headrace_event_to_servable_seconds_bucket", (labels[0], ("le", str(edge)), *CLICKS)] == wanted
            )
        assert samples["headrace_event_to_servable_seconds_count", labels] == len(ages_ms)
        assert samples["headrace_event_to_servable_seconds_sum", labels] == pytest.approx(sum(ages_ms) / 1000)


def test_when_an_event_was_produced_is_measured_apart_from_its_own_time():
    samples = read(observed([NOW - 60_000, NOW - 1], NOW + 0.4, produced=np.array([NOW, NOW])).text())
    labels = (("group", "users"), *CLICKS)
    assert samples["headrace_produce_to_servable_seconds_sum", labels] == pytest.approx(0.0008, rel=1e-3)
    bucket = (("group", "users"), ("le", "0.0005"), *CLICKS)
    assert samples["headrace_produce_to_servable_seconds_bucket", bucket] == 2
    assert samples["headrace_event_to_servable_seconds_bucket", bucket] == 0


def test_a_batch_says_what_it_held_and_what_it_refused():
    refused = {"too late, every window of clicks has moved on": 2, "user is missing, an event of clicks needs it": 1}
    metrics = observed(
        [NOW, NOW - 1], duplicates=4, refused=refused, commit_s=0.0015, lag={"clicks[0]": 7, "clicks[1]": 0}
    )
    metrics.observe(np.array([NOW - 60_001, NOW - 60_000]), NOW, events=3, refused={"7 values, needs 3": 1})
    samples = read(metrics.text())
    assert samples["headrace_pipeline_events_total", CLICKS] == 5
    assert samples["headrace_pipeline_duplicates_total", CLICKS] == 4
    assert samples["headrace_pipeline_disordered_total", CLICKS] == 1
    dead = {kind: samples["headrace_pipeline_dead_letters_total", (("reason", kind), *CLICKS)] for kind in KINDS}
    assert dead == {"unreadable": 1, "missing": 1, "invalid": 0, "future": 0, "late": 2}
    assert samples["headrace_pipeline_batch_events_bucket", (("le", "4.0"), *CLICKS)] == 2
    assert samples["headrace_pipeline_batch_events_bucket", (("le", "1.0"), *CLICKS)] == 0
    assert samples["headrace_pipeline_commit_seconds_count", CLICKS] == 1
    assert samples["headrace_pipeline_commit_seconds_bucket", (("le", "0.002"), *CLICKS)] == 1
    assert samples["headrace_pipeline_lag_events", (("partition", "clicks[0]"), *CLICKS)] == 7
    assert samples["headrace_pipeline_newest_event_timestamp_seconds", CLICKS] == NOW / 1000


def test_a_partition_that_was_given_away_has_no_lag_here():
    metrics = observed([NOW], lag={"0": 7, "1": 1})
    metrics.observe(np.array([NOW]), NOW, events=1, lag={"1": 5})
    metrics.observe(np.array([NOW]), NOW, events=1)
    samples = read(metrics.text())
    assert samples["headrace_pipeline_lag_events", (("partition", "1"), *CLICKS)] == 5
    assert ("headrace_pipeline_lag_events", (("partition", "0"), *CLICKS)) not in samples


def test_keys_and_tiles_are_asked_for_now_and_then():
    asked = []

    def size(group: WindowedGroup) -> int:
        asked.append(group.name)
        return 10 * len(asked)

    metrics = PipelineMetrics(STREAM, GROUPS, size)
    for later in (0, 1_000, 4_999):
        metrics.observe(np.array([NOW]), NOW + later, events=1)
    assert asked == ["users", "shops"]
    metrics.observe(np.array([NOW]), NOW + 5_000, events=1)
    samples = read(metrics.text())
    labels = (("group", "users"), *CLICKS)
    assert samples["headrace_group_keys", labels] == 30
    assert samples["headrace_group_tiles", labels] == 30 * (13 + 13)
    assert samples["headrace_group_keys", (("group", "shops"), *CLICKS)] == 40


def test_every_metric_is_there_before_the_first_batch_and_says_what_it_is():
    families = list(text_string_to_metric_families(PipelineMetrics(STREAM, GROUPS).text().decode()))
    assert all(family.documentation for family in families)
    samples = {sample.name for family in families for sample in family.samples}
    assert {"headrace_event_to_servable_seconds_count", "headrace_pipeline_dead_letters_total"} <= samples
    assert {"headrace_pipeline_batch_events_bucket", "headrace_pipeline_commit_seconds_sum"} <= samples


def test_buckets_ascend_and_reach_from_half_a_millisecond_to_hours():
    for buckets in (FRESHNESS, COMMITS, BATCHES):
        assert list(buckets) == sorted(set(buckets))
    assert FRESHNESS[0] == 0.0005
    assert FRESHNESS[-1] > 3600


def test_the_reason_of_every_refusal_has_its_kind():
    raw = {
        "user": ["x", None, 1, 1, 1],
        "at": [NOW, NOW, "soon", NOW + 10**9, NOW],
        "spent": [1.0, 1.0, 1.0, 1.0, -5.0],
    }
    reasons = decode(STREAM, raw, 5, NOW).reasons
    kinds = [kind_of(STREAM, reasons[at]) for at in range(5)]
    assert kinds == ["invalid", "missing", "invalid", "future", "invalid"]
    for reason in ("the line is not JSON", "a quote is not closed", "9 values, needs 3 as in the header", ""):
        assert kind_of(STREAM, reason) == "unreadable"
    assert kind_of(STREAM, "too late, every window of clicks has moved on") == "late"


def test_a_scrape_reads_what_was_observed():
    metrics = observed([NOW - 10])
    with serve(metrics.registry, "0") as address:
        assert address.startswith("127.0.0.1:")
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            first = read(answer.read())
        metrics.observe(np.array([NOW]), NOW, events=1)
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            second = read(answer.read())
    assert first["headrace_pipeline_events_total", CLICKS] == 1
    assert second["headrace_pipeline_events_total", CLICKS] == 2


@pytest.mark.parametrize("address", ["", "somewhere", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused(address):
    wanted = r"the address of metrics is .*, needs HOST:PORT such as 127.0.0.1:9100"
    with pytest.raises(ValueError, match=wanted), serve(PipelineMetrics(STREAM, ()).registry, address):
        pass


def test_a_taken_port_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        wanted = f"metrics cannot be served at {address} .*, needs another HOST:PORT"
        with pytest.raises(ValueError, match=wanted), serve(PipelineMetrics(STREAM, ()).registry, address):
            pass


def test_every_metric_is_documented_with_its_kind_and_labels():
    whole = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    page = whole[whole.index("## Is it fresh") : whole.index("\n## ", whole.index("headrace_group_keys"))]
    rows = [line.strip("| ").split("|") for line in page.splitlines() if line.startswith("| `headrace_")]
    said = {name.strip(" `"): (kind.strip(), set(labels.split())) for name, kind, labels, _ in rows}
    metrics = PipelineMetrics(STREAM, GROUPS, lambda group: 1)
    metrics.observe(np.array([NOW]), NOW, events=1, lag={"0": 1})
    served = {}
    for family in metrics.collect():
        labels = {name for sample in family.samples for name in sample.labels} - {"stream", "le"}
        served[family.name] = (family.type, {f"`{name}`" for name in labels})
    assert said == served
    assert all(f"`{kind}`" in page for kind in KINDS)


def test_a_stream_that_is_silent_is_so_after_a_new_start_too():
    newest = ("headrace_pipeline_newest_event_timestamp_seconds", CLICKS)
    assert newest not in read(PipelineMetrics(STREAM, GROUPS).text())
    metrics = PipelineMetrics(STREAM, GROUPS, newest_ms=NOW - 5_000)
    assert read(metrics.text())[newest] == (NOW - 5_000) / 1e3
    metrics.observe(np.array([NOW - 1_000]), NOW, events=1)
    assert read(metrics.text())[newest] == (NOW - 1_000) / 1e3
