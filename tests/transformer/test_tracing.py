"""Traces: who asks for them, whose they go on in, and what becomes of them where nobody receives them."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from headrace.settings import SettingsError, TransformerSettings
from headrace.telemetry import tracing as traces
from headrace.telemetry.tracing import open_tracing
from headrace.telemetry.watching import TracingError, Watching, traces_asked, tracing_of
from tests.transformer.receiver import receiving
from tests.transformer.small import Tiny, path_to, stored
from transformer.recording import Recording

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STAGE_MS = (0.5, 1.0, 0.25, 2.0, 0.125)


@pytest.fixture
def environment(monkeypatch):
    """Set variables that the SDK reads, of a receiver that is there."""
    with receiving() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}

        def told(**more: str) -> dict[str, str]:
            for name, value in (variables | more).items():
                monkeypatch.setenv(name, value)
            return variables | more

        told.receiver = receiver  # type: ignore[attr-defined]
        yield told


def test_stages_are_spans_one_after_the_other_up_to_the_answer(environment):
    tracing = open_tracing(environment(OTEL_SERVICE_NAME="mine"))
    trace = tracing.begin(f"00-{TRACE}-{PARENT}-01".encode(), b"a=1")
    trace.ran(STAGE_MS, {"headrace.rows": 3})
    trace.ended(200)
    tracing.close()
    spans = environment.receiver.trace(TRACE, 6)
    took = [(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 for span in list(spans.values())[1:]]
    assert sorted(took) == sorted(STAGE_MS)
    assert spans["predict"].end_time_unix_nano == spans["respond"].start_time_unix_nano
    assert f"00-{TRACE}-{spans['predict'].span_id.hex()}-01".encode() == trace.onward
    assert environment.receiver.resource["service.name"] == "mine"


def test_a_fault_of_ours_is_marked_as_one(environment):
    tracing = open_tracing(environment())
    for number, status in (("1", 503), ("2", 404)):
        tracing.begin(f"00-{number * 32}-{PARENT}-01".encode()).ended(status)
    tracing.close()
    assert environment.receiver.trace("1" * 32, 1)["infer"].status.code == 2
    assert environment.receiver.trace("2" * 32, 1)["infer"].status.code == 0


@pytest.mark.parametrize(
    "header",
    [b"", b"nonsense", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b"00-" + b"1" * 32 + b"-" + b"0" * 16 + b"-01"],
)
def test_a_request_without_a_trace_begins_one(environment, header):
    tracing = open_tracing(environment())
    trace = tracing.begin(header)
    assert trace.onward.startswith(b"00-" + trace.id.encode() + b"-")
    assert trace.onward.endswith(b"-01")
    trace.ended(200)
    tracing.close()
    assert not environment.receiver.trace(trace.id, 1)["infer"].parent_span_id


def test_what_is_sampled_is_what_the_environment_says(environment):
    tracing = open_tracing(environment(OTEL_TRACES_SAMPLER="always_off"))
    trace = tracing.begin(f"00-{TRACE}-{PARENT}-01".encode())
    trace.ran(STAGE_MS, {})
    trace.ended(200)
    assert trace.onward.startswith(f"00-{TRACE}-".encode())
    assert trace.onward.endswith(b"-00")
    tracing.close()
    environment.receiver.trace(TRACE, 0)


def test_a_receiver_that_is_away_costs_spans_and_nothing_else(environment):
    told = environment(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    tracing = open_tracing(told | {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"})
    for _ in range(5_000):
        tracing.begin(b"").ended(200)
    tracing.close()


def test_an_exporter_that_is_not_known_is_refused(environment):
    with pytest.raises(TracingError, match="OTEL_TRACES_EXPORTER is 'zipkin', needs otlp, console or none"):
        open_tracing(environment(OTEL_TRACES_EXPORTER="zipkin"))
    with pytest.raises(TracingError, match="OTEL_EXPORTER_OTLP_PROTOCOL is 'http/json', needs http/protobuf or grpc"):
        open_tracing(environment(OTEL_EXPORTER_OTLP_PROTOCOL="http/json"))
    open_tracing(environment(OTEL_EXPORTER_OTLP_PROTOCOL="grpc")).close()
    open_tracing(environment(OTEL_TRACES_EXPORTER="console")).close()


@pytest.mark.parametrize(
    ("variables", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "a"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
)
def test_traces_are_made_where_the_environment_asks_for_them(variables, asked):
    assert traces_asked(variables) is asked


def test_without_tracing_a_request_has_an_id_and_no_trace():
    watched = Watching()([(b"traceparent", f"00-{TRACE}-{PARENT}-01".encode()), (b"x-request-id", b"mine")])
    assert (watched.id, watched.trace, watched.instead) == ("mine", None, {b"x-request-id": b"mine"})
    watched.ended(200)


async def opened(**settings) -> Recording:
    async with path_to(Tiny(), stored([])) as path:
        return Recording.open(TransformerSettings(**settings), path, {})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"prediction_log": "s3://b/p"}, "the prediction log is 's3://b/p', needs dir:/path or kafka://"),
        ({"prediction_log": "dir:p", "prediction_log_keys": "hashed"}, "the secret of hashed keys has 0 bytes"),
        ({"prediction_log": "dir:p", "prediction_log_keys": "odd"}, "keys in the prediction log are 'odd', needs one"),
    ],
)
def test_a_log_that_cannot_be_kept_stops_the_start(settings, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=reason):
        asyncio.run(opened(**settings))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("prediction_log_share", 1.5, "setting prediction_log_share is 1.5, needs 0 to 1"),
        ("prediction_log_every_s", 0.0, "setting prediction_log_every_s is 0.0, needs more than 0"),
    ],
)
def test_settings_of_the_log_are_checked(name, value, reason):
    with pytest.raises(SettingsError, match=reason):
        TransformerSettings(**{name: value})


def test_without_the_extra_it_is_said_and_nothing_is_written(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "headrace.telemetry.tracing")
    assert tracing_of({"OTEL_TRACES_EXPORTER": "otlp"}, "mine") is None
    assert capsys.readouterr().err == "OTEL_* asks for traces, which need headrace[tracing]: none are written\n"


def test_a_service_has_a_name_unless_the_environment_gives_it_another(environment):
    tracing = tracing_of(environment(), "mine")
    trace = tracing.begin(b"")
    trace.ended(200)
    tracing.close()
    environment.receiver.trace(trace.id, 1)
    assert environment.receiver.resource["service.name"] == "mine"


def test_a_receiver_that_hangs_delays_the_end_by_seconds_at_most(environment, monkeypatch):
    class Hanging:
        ends = threading.Event()

        def shutdown(self) -> None:
            self.ends.wait(60)

    monkeypatch.setattr(traces, "_CLOSE_S", 0.05)
    traces.Tracing(None, Hanging()).close()  # type: ignore[arg-type]
    assert not Hanging.ends.is_set()  # it was left, and not waited for
    Hanging.ends.set()


def test_of_several_trace_states_all_go_on(environment):
    watching = Watching(open_tracing(environment()))
    parent = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
    several = watching([parent, (b"tracestate", b"a=1"), (b"tracestate", b"b=2,c=3")])
    one = watching([parent, (b"tracestate", b"a=1")])
    assert several.instead[b"tracestate"] == b"a=1,b=2,c=3"
    assert dict(several.trace.context.trace_state) == {"a": "1", "b": "2", "c": "3"}
    assert (b"tracestate" in one.instead, dict(one.trace.context.trace_state)) == (False, {"a": "1"})
