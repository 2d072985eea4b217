"""Metrics: KServe's names are kept, every one has its labels from the start, and none holds a payload."""

from __future__ import annotations

import math
from itertools import accumulate

import numpy as np
import prometheus_client
import pytest
from hypothesis import given
from hypothesis.strategies import floats, just, lists
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

import headrace
from headrace.telemetry import AGES, BUCKETS, STAGES, PredictorMetrics, RequestMetrics, ServerMetrics, merged
from headrace.telemetry.counts import Histogram, counters
from headrace.telemetry.predictors import REASONS


def samples(metrics: ServerMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return what a scrape would read, by name and labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


MODEL = (("model_name", "fraud"),)


def test_every_metric_is_there_before_the_first_request():
    names = {name for name, _ in samples(RequestMetrics("fraud", ("cards",)))}
    for histogram in (
        "request_preprocess_seconds",
        "request_predict_seconds",
        "request_postprocess_seconds",
        "headrace_store_read_seconds",
    ):
        assert {f"{histogram}_bucket", f"{histogram}_count", f"{histogram}_sum"} <= names
    assert {"headrace_rows_total", "headrace_rows_degraded_total"} <= names
    assert {
        "headrace_rows_missing_total",
        "headrace_rows_fallback_total",
        "headrace_feature_age_seconds_bucket",
    } <= names


def test_what_is_counted_is_read():
    metrics = RequestMetrics("fraud", ("cards", "shops"))
    metrics.rows.inc(25)
    metrics.observe("fraud", 429, 0.0001)
    metrics.observe("fraud", 429, None)  # refused unread
    metrics.observe("fraud", 200, 0.002)
    metrics.observe("fraud", 200, 0.2)
    metrics.observe("", 404, 0.001)
    metrics.missing["shops"].inc(3)
    metrics.age["cards"].observe(50.0)
    metrics.predict.observe(0.0015)
    read = samples(metrics)
    assert read["headrace_rows_total", MODEL] == 25
    assert read["headrace_requests_total", (*MODEL, ("status", "429"))] == 2
    assert read["headrace_requests_total", (*MODEL, ("status", "200"))] == 2
    assert read["headrace_requests_total", (("model_name", ""), ("status", "404"))] == 1
    assert read["headrace_request_seconds_count", MODEL] == 3
    assert read["headrace_request_seconds_bucket", (("le", "0.002"), *MODEL)] == 2
    assert read["headrace_rows_missing_total", (("group", "shops"), *MODEL)] == 3
    assert read["headrace_rows_missing_total", (("group", "cards"), *MODEL)] == 0
    assert read["headrace_feature_age_seconds_bucket", (("group", "cards"), ("le", "60.0"), *MODEL)] == 1
    assert read["headrace_feature_age_seconds_bucket", (("group", "cards"), ("le", "10.0"), *MODEL)] == 0
    assert read["request_predict_seconds_bucket", (("le", "0.002"), *MODEL)] == 1
    assert read["request_predict_seconds_bucket", (("le", "0.001"), *MODEL)] == 0


def test_two_models_count_for_themselves():
    one, other = RequestMetrics("a", ()), RequestMetrics("b", ())
    one.rows.inc()
    assert samples(one)["headrace_rows_total", (("model_name", "a"),)] == 1
    assert samples(other)["headrace_rows_total", (("model_name", "b"),)] == 0


def test_buckets_ascend_and_resolve_a_millisecond():
    for buckets in (BUCKETS, AGES):
        assert list(buckets) == sorted(set(buckets))
    assert sum(bucket <= 0.001 for bucket in BUCKETS) >= 3


def test_every_metric_says_what_it_is():
    for family in text_string_to_metric_families(RequestMetrics("fraud", ("cards",)).text().decode()):
        assert family.documentation


def test_a_stage_is_counted_once_and_told_under_both_of_its_names():
    metrics = RequestMetrics("fraud", ())
    metrics.stages["predict"].observe(0.004)
    metrics.store.observe(0.0004)
    read = samples(metrics)
    assert read["request_predict_seconds_count", MODEL] == 1
    assert read["headrace_stage_seconds_sum", (*MODEL, ("stage", "predict"))] == 0.004
    assert read["headrace_stage_seconds_bucket", (("le", "0.0005"), *MODEL, ("stage", "store"))] == 1
    assert {dict(labels).get("stage") for name, labels in read if name == "headrace_stage_seconds_count"} == set(STAGES)


def test_what_is_under_way_and_what_runs_are_asked_for_when_they_are_read():
    metrics, under_way = ServerMetrics(), [3]
    metrics.watch_in_flight(lambda: under_way[0])
    assert samples(metrics)["headrace_requests_in_flight", ()] == 3
    under_way[0] = 0
    read = samples(metrics)
    assert read["headrace_requests_in_flight", ()] == 0
    labels = next(dict(labels) for name, labels in read if name == "headrace_build_info")
    assert labels["version"] == headrace.__version__


def test_a_family_is_given_as_many_label_values_as_it_has_labels():
    family = counters(CollectorRegistry(), "rows", "Rows", "model_name")
    with pytest.raises(ValueError, match="metric 'rows' was given 2 label values, needs 1"):
        family.labels("fraud", "cards")


@given(lists(floats(0, 100, allow_nan=False)))
def test_a_histogram_counts_as_the_library_does(values):
    registry = CollectorRegistry()
    ours, theirs = Histogram(AGES), prometheus_client.Histogram("a", "A", buckets=AGES, registry=registry)
    for value in values:
        ours.observe(value)
        theirs.observe(value)
    told = [sample.value for metric in theirs.collect() for sample in metric.samples if sample.name == "a_bucket"]
    assert list(accumulate(ours.counts)) == told
    assert ours.total == registry.get_sample_value("a_sum")


def test_metrics_of_several_processes_are_added_up_and_states_are_not():
    one, other = RequestMetrics("fraud", ("cards",)), RequestMetrics("fraud", ("cards",))
    one.rows.inc(25)
    other.rows.inc(5)
    other.observe("fraud", 200, 0.002)
    one.predict.observe(0.0015)
    other.predict.observe(0.1)
    together = text_string_to_metric_families(merged([one.text(), other.text()]).decode())
    read = {(s.name, tuple(sorted(s.labels.items()))): s.value for family in together for s in family.samples}
    assert read["headrace_rows_total", MODEL] == 30
    assert read["headrace_requests_total", (*MODEL, ("status", "200"))] == 1
    assert read["request_predict_seconds_bucket", (("le", "0.002"), *MODEL)] == 1
    assert read["request_predict_seconds_count", MODEL] == 2
    assert next(value for (name, _), value in read.items() if name == "headrace_build_info") == 1
    assert {name for name, _ in read} == {name for name, _ in samples(one)} | {name for name, _ in samples(other)}


def test_labels_survive_being_merged():
    told = b'# HELP a A\n# TYPE a gauge\na{path="back\\\\slash \\"quoted\\" \\nline"} 1.0\n'
    assert merged([told, told]) == told.replace(b"1.0", b"2.0")
    assert merged([told]) == told


def test_every_process_knows_the_same_endpoints():
    told = b"# HELP {0} E\n# TYPE {0} gauge\n{0} 2.0\n"
    for name in (b"headrace_predictor_endpoints", b"headrace_predictor_endpoints_left_out"):
        assert merged([told.replace(b"{0}", name)] * 4) == told.replace(b"{0}", name)


def test_failures_are_told_of_from_none_on_so_that_the_first_is_a_growth():
    told = PredictorMetrics()
    told.runs_of("fraud")
    for text in (told.text(), RequestMetrics("fraud", ()).text()):
        for status in (200, 429, 500, 502, 503, 504):
            assert f'headrace_requests_total{{model_name="fraud",status="{status}"}} 0.0'.encode() in text
    for reason in REASONS:
        assert f'headrace_model_refused_total{{model_name="fraud",reason="{reason}"}} 0.0'.encode() in told.text()


@given(lists(floats(0, 1e10) | just(float("nan")), max_size=30))
def test_values_of_an_array_are_counted_as_one_by_one(values):
    together, alone = Histogram(AGES), Histogram([age * 1e3 for age in AGES])
    together.observe_each(np.array(values), 1e3)
    for value in values:
        if not math.isnan(value):
            alone.observe(value)
    assert together.counts == alone.counts
    assert together.total == pytest.approx(alone.total / 1e3)
