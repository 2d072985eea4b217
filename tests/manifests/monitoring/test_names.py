"""Rules, dashboard and autoscalers name only metrics that are there, chosen by labels that these have.

Everything runs and is scraped: a transformer and its predictor that answered a request, a transformer whose store
cannot be reached, and a pipeline that reads a topic. Triton's own metrics are known from its documentation.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from feature_pipelines.kafka import KafkaAddress, create_topic
from headrace.cli.broker import local_broker
from headrace.cli.stack import server
from tests.architecture.code import ROOT
from tests.cli.test_metrics import address_of, running
from tests.end_to_end.ground import made, serving
from tests.manifests.monitoring.expressions import Expression, expressions, rules

Names = Mapping[str, set[str]]
#: What Prometheus, its operator and our monitors add to every series.
ADDED = {"__name__", "namespace", "pod", "container", "endpoint", "instance", "job", "component"}
_OF_MODEL, _OF_GPU = {"model", "version"}, {"gpu_uuid"}
#: Triton's, by its metrics documentation (docs/user_guide/metrics.md).
TRITON: Names = {
    **{
        f"nv_inference_{name}": _OF_MODEL
        for name in (
            *("request_success", "request_failure", "count", "exec_count", "pending_request_count"),
            *("request_duration_us", "queue_duration_us", "compute_input_duration_us"),
            *("compute_infer_duration_us", "compute_output_duration_us"),
        )
    },
    **{f"nv_gpu_{name}": _OF_GPU for name in ("utilization", "memory_used_bytes", "memory_total_bytes", "power_usage")},
}
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}


def names_of(text: str) -> dict[str, set[str]]:
    """Return the series a scrape knows by name, each with the labels that are seen on it: also those without a sample.

    >>> sorted(names_of("# TYPE a_seconds histogram\\n"))
    ['a_seconds_bucket', 'a_seconds_count', 'a_seconds_sum']
    """
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        names = {f"{family.name}{suffix}": set() for suffix in _SUFFIXES.get(family.type, ())}
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
        found |= names
    return found


def scraped(address: str) -> str:
    """Return what is at an address of metrics."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode()


def asked(http: str) -> None:
    """Ask for one row, refused or not."""
    body = json.dumps({"instances": [{"cc_num": 1, "terminal_id": 1, "amount": 1.0}]}).encode()
    request = urllib.request.Request(f"http://{http}/v1/models/fraud:predict", body)
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as refused:
        refused.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Names:
    """Every series that is exported, by name, with its labels."""
    found: dict[str, set[str]] = defaultdict(set)
    for text in scrapes(tmp_path_factory.mktemp("scraped"), tmp_path_factory.getbasetemp()):
        for name, labels in names_of(text).items():
            found[name] |= labels
    return {**found, **TRITON, "up": set(), **{rule["record"]: {"model_name"} for rule in rules() if "record" in rule}}


def scrapes(folder: Path, base: Path) -> Iterator[str]:
    """Run everything, and yield what each tells."""
    with serving(made(base), folder, "--prediction_log", f"dir:{folder}/predictions") as servers:
        for each in reversed(servers):
            asked(each.http)
            yield scraped(f"http://{each.http}/metrics")
    yield away(folder)
    yield pipeline(folder)


def away(folder: Path) -> str:
    """Return what a transformer tells whose store cannot be reached, with all that stands before it."""
    port = ["--http_port", "0", "--grpc_port", "0", "--predictor_host", "127.0.0.1:1"]
    layers = ["--cache_entries", "10", "--second_reads", "true", "--on_store_failure", "default"]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("HOST", "127.0.0.1"), ("PORT", "1"), ("PROJECT", "fraud"), ("API_KEY", "none")):
            patched.setenv(f"HOPSWORKS_{name}", value)
        with server("transformer", ["--store", "hopsworks://", *port, *layers], folder) as alone:
            return scraped(f"http://{alone.http}/metrics")


def pipeline(folder: Path) -> str:
    """Return what a pipeline tells once it has read an event of a topic."""
    with local_broker(folder / "broker") as servers:
        create_topic(KafkaAddress(servers, "payments"))
        source, store = f"kafka://{servers}/payments", str(folder / "store")
        with running("--source", source, "--store", store, "--metrics", "0", "--group", "") as process:
            address, until = address_of(process), time.monotonic() + 60
            while "headrace_pipeline_lag_events{" not in (text := scraped(address)):
                assert time.monotonic() < until, text
            return text


@pytest.mark.parametrize("expression", expressions(), ids=lambda each: each.asker)
def test_an_expression_names_what_is_exported(expression: Expression, exported: Names):
    named = expression.selectors()
    assert named
    for name, labels in named:
        assert name in exported, f"{expression.asker} names {name}, which nobody exports"
        unknown = labels - exported[name] - ADDED
        assert not (unknown and exported[name]), f"{expression.asker} chooses {name} by {sorted(unknown)}"


def test_what_is_not_exported_would_be_found(exported: Names):
    named = Expression("nobody", 'rate(headrace_request_total{model_nam="fraud"}[5m])').selectors()
    assert named == [("headrace_request_total", frozenset({"model_nam"}))]
    assert "headrace_request_total" not in exported
    assert "model_nam" not in exported["headrace_requests_total"]


def test_the_document_names_what_is_exported_and_nothing_else(exported: Names):
    written = (ROOT / "docs" / "observability.md").read_text("utf-8").partition("## Time of stages")[0]
    rows = [line.split("|")[1] for line in written.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    ours = {
        re.sub(r"_(bucket|sum|count)$", "", name) for name in exported if re.match(r"(headrace|request)_\w+$", name)
    }
    assert sorted(named) == sorted(ours)
