"""Metrics: KServe's names are kept, every one has its labels from the start, and none holds a payload."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from headrace.telemetry import AGES, BUCKETS, RequestMetrics


def samples(metrics: RequestMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
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
    metrics.observe("fraud", 200, 0.002)
    metrics.observe("fraud", 200, 0.2)
    metrics.observe("", 404, 0.001)
    metrics.missing["shops"].inc(3)
    metrics.age["cards"].observe(50.0)
    metrics.predict.observe(0.0015)
    read = samples(metrics)
    assert read["headrace_rows_total", MODEL] == 25
    assert read["headrace_requests_total", (*MODEL, ("status", "429"))] == 1
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
