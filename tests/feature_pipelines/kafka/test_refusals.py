"""What a topic, a broker or a setting can have wrong, and what the command says of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from feature_pipelines.files import SourceError
from feature_pipelines.kafka import KafkaAddress, kafka_settings, produce
from headrace.cli.broker import free_port
from headrace.settings import TransformerSettings, read_settings
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.kafka.cluster import Cluster
from tests.feature_pipelines.kafka.payments import Contents, payments
from tests.stores.small import declared

Run = Callable[..., str]


@pytest.fixture
def run(headrace: Any, tmp_path: Any) -> Run:
    """Run a pipeline in this process, alone and to the end of the topic; return what it said on one line."""

    def told(address: KafkaAddress | str, *more: Any, code: int = 0) -> str:
        source = address if isinstance(address, str) else f"kafka://{address.servers}/{address.topic}"
        alone = ("--source", source, "--store", tmp_path / "s", "--fast", "--to-end", "--group", "", "--wait", 20)
        output = headrace("pipeline", "run", "fraud", *alone, *more, code=code).output
        assert "Traceback" not in output
        return " ".join(output.split())

    return told


def filled(cluster: Cluster, count: int = 40) -> KafkaAddress:
    """Return a topic of one partition that holds payments."""
    address = cluster.topic()
    cluster.put(address, payments(random.Random(1), count))
    return address


def test_a_topic_that_is_not_there_is_refused_with_the_nearest_name(cluster, run):
    there = filled(cluster)
    message = f"the broker at {cluster.servers} has no topic 'x{there.topic}'; did you mean '{there.topic}'?: create it"
    assert message in run(KafkaAddress(cluster.servers, f"x{there.topic}"), code=1)


def test_no_broker_at_once_where_waiting_is_not_wanted(run):
    port = free_port()
    said = run(f"kafka://127.0.0.1:{port}/t", "--wait", 0, code=1)
    assert f"no broker answers at 127.0.0.1:{port} after 0 s (127.0.0.1:{port}" in said
    assert "failed: Connection refused), needs one that speaks Kafka's protocol there: start it, or wait longer" in said
    assert "yet" not in said


@pytest.mark.parametrize(
    "address", ["kafka://host/t", "kafka://host:1", "kafka://host:1/", "kafka:t", "kafka://:1/t", "kafka://host:1/a b"]
)
def test_an_address_that_is_none_says_how_one_looks(run, address):
    assert f"'{address}' is no address of a topic, needs kafka://host:port/topic" in run(address, code=1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--kafka", "fetch.wait.max"), "a Kafka setting has no '=' or no name ('fetch.wait.max'), needs name=value"),
        (("--kafka", "group.id=x"), "the Kafka setting group.id is made by Headrace, needs to be left out"),
        (("--kafka", "enable.auto.commit=true"), "the Kafka setting enable.auto.commit is made by Headrace"),
        (("--kafka", "sesion.timeout.ms=5"), 'refuses its settings: No such configuration property: "sesion.timeout'),
        (("--kafka", "security.protocol=tls"), 'Invalid value "tls" for configuration property "security.protocol"'),
        (("--kafka", "ssl.ca.location=/no/such"), "ssl.ca.location"),
        (("--kafka", "sasl.password=hush"), "password is a secret, needs to come from HEADRACE_KAFKA_SASL_PASSWORD"),
        (("--kafka-config", "none.conf"), "the Kafka settings 'none.conf' cannot be read"),
        (("--format", "protobuf"), "events have format 'protobuf', need one of json, avro"),
        (("--format", "avro"), "Avro events have no schema of their own, need either a schema file or a registry"),
        (("--registry", "http://x"), "JSON events have no schema, a schema file or a registry needs the format avro"),
        (("--format", "avro", "--schema", "none.avsc"), "the schema 'none.avsc' cannot be read"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_says_why(cluster, run, more, message):
    if "ssl.ca.location=/no/such" in more:
        more = (*more, "--kafka", "security.protocol=ssl")
    said = run(filled(cluster), *more, code=1)
    assert message in said
    assert "hush" not in said


def test_a_broker_without_tls_and_one_that_refuses_us_are_told_apart_from_none(cluster, run, monkeypatch):
    address = filled(cluster)
    said = run(address, "--kafka", "security.protocol=ssl", "--wait", 0, code=1)
    assert f"no broker answers at {cluster.servers} after 0 s (" in said
    assert "SSL connection closed by peer" in said
    # The broker of these tests knows but PLAIN: it is as good as one that does not know us.
    scram = ("sasl.mechanism=SCRAM-SHA-256", "security.protocol=sasl_plaintext", "sasl.username=me")
    monkeypatch.setenv("HEADRACE_KAFKA_SASL_PASSWORD", "hush")
    said = run(address, *(word for setting in scram for word in ("--kafka", setting)), code=1)
    assert f"the broker at {cluster.servers} refuses us: " in said
    assert "SASL authentication error" in said
    assert "hush" not in said


def test_a_password_comes_from_the_environment_and_is_never_shown(cluster, run, monkeypatch, tmp_path):
    monkeypatch.setenv("HEADRACE_KAFKA_SASL_PASSWORD", "hush-hush")
    monkeypatch.setenv("HEADRACE_KAFKA_PORT", "tcp://10.0.0.1:9092")  # of a Kubernetes Service, and no setting
    file = tmp_path / "client.conf"
    file.write_text("# the cluster's\nsecurity.protocol=sasl_plaintext\n\nsasl.mechanism = PLAIN\nsasl.username=me\n")
    assert "hush" not in run(filled(cluster), "--kafka-config", file)  # the broker of these tests believes anybody
    assert read_settings(TransformerSettings, [], {"HEADRACE_KAFKA_SASL_PASSWORD": "x"}) == TransformerSettings()
    given = kafka_settings(file, ["sasl.username=you"], {"HEADRACE_KAFKA_SASL_PASSWORD": "x"})
    assert given == {
        "security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": "you", "sasl.password": "x",
    }  # fmt: skip
    with pytest.raises(SourceError, match=r"the Kafka setting bootstrap\.servers is made by Headrace"):
        kafka_settings(None, [], {"HEADRACE_KAFKA_BOOTSTRAP_SERVERS": "x:1"})


def test_events_that_retention_took_are_named_and_must_be_given_up(cluster, run, tmp_path):
    address = filled(cluster, 40)
    run(address)
    cluster.put(address, payments(random.Random(2), 40))
    cluster.cut(address, 55)
    said = run(address, code=1)
    lost = f"{address.topic}/0 begins at 55 and the store stands at 40: 15 events are lost"
    assert f"{lost}, needs --accept-gap to go on at 55, or a new store" in said
    said = run(address, "--accept-gap")
    assert f"{lost}; going on at 55, as accepted" in said
    assert "25 events" in said
    assert "0 events, " in run(address)
    found = Contents.of(tmp_path / "s")
    assert found.counts["events"] == 65
    assert found.offsets[f"{address.topic}/0"] == 80


def test_a_topic_that_was_made_anew_is_not_taken_for_the_old_one(cluster, run):
    address = filled(cluster, 40)
    run(address)
    produce_again(cluster, address)
    short = f"{address.topic}/0 ends at 10 and the store stands at 40: the topic is another one or was cut short"
    assert f"{short}, needs --accept-gap to go on at 0, or a new store" in run(address, code=1)
    said = run(address, "--accept-gap")
    assert f"{short}; going on at 0, as accepted" in said
    assert "10 events" in said


def produce_again(cluster: Cluster, address: KafkaAddress) -> None:
    """Make a topic of the same name and put ten payments there."""
    cluster.renew(address)
    messages = payments(random.Random(3), 10)
    assert produce(address, [(key or b"", value or b"") for _, key, value in messages]) == 10


def test_two_pipelines_of_different_windows_do_not_share_a_store(cluster, run, tmp_path):
    store = EmbeddedStore(tmp_path / "s", durable=False)
    store.declare([declared("card_activity")])
    store.close()
    said = run(filled(cluster), code=1)
    assert f"the store at '{tmp_path}/s' holds group 'card_activity' under another declaration" in said


def test_a_broker_that_takes_no_dead_letters_stops_the_run_before_the_batch_counts(cluster, run, tmp_path):
    address = cluster.topic()
    whole = [message for message in payments(random.Random(4), 60) if b"tid" in (message[2] or b"")]
    cluster.put(address, [*whole[:7], *whole[8:21], (None, b"", b"x" * 2_000), *whole[21:37], *whole[38:41]])
    letters = cluster.topic()
    there = f"kafka://{letters.servers}/{letters.topic}"
    said = run(address, "--dead-letters", there, "--batch", 5, "--kafka", "message.max.bytes=1000", code=1)
    assert (
        f"topic '{letters.topic}' does not take a message: Unable to produce message: Broker: Message size too large"
        in said
    )
    assert "their batch is not counted and will be read again" in said
    store = EmbeddedStore(tmp_path / "s", readonly=True)
    assert store.counts("payments")["events"] == 20
    store.close()
    assert cluster.messages(letters) == []
    again = run(address, "--dead-letters", there, "--batch", 5)
    assert "20 events" in again
    assert "20 were there" not in again
    (letter,) = (message for message in cluster.messages(letters) if len(message.value()) == 2_000)
    assert letter.key() == f"{address.topic}/0@20".encode()
    assert letter.value() == b"x" * 2_000
    assert dict(letter.headers()) == {
        "partition": f"{address.topic}/0".encode(), "offset": b"20", "reason": b"the event is not JSON",
    }  # fmt: skip
