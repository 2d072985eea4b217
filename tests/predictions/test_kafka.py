"""Predictions in a topic of a real broker, and what becomes of them without one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli.broker import free_port, local_broker
from headrace.predictions import PredictionLog, SinkFailed
from headrace.predictions.kafka import KafkaTopic, client_settings
from headrace.predictions.reading import in_topic
from tests.predictions.runs import columns, run
from tests.predictions.test_log import until


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A topic of predictions, in which somebody else's message lies."""
    with local_broker(tmp_path_factory.mktemp("broker")) as servers:
        topic = KafkaAddress(servers, "predictions")
        create_topic(topic)
        produce(topic, [(b"k", b"no JSON"), (b"k", b"[1]")])
        yield f"kafka://{servers}/predictions"


def test_rows_are_messages_and_are_found_again(address):
    log = PredictionLog(KafkaTopic(address, {}), columns().table)
    log.offer(run("a", "b", rows=2))
    log.close()
    assert (log.written, log.failed) == (4, 0)
    found = in_topic(address, {}, "b")
    assert [(record["request_id"], record["row"]) for record in found.records] == [("b", 0), ("b", 1)]
    assert found.records == json.loads(json.dumps(found.records))
    assert found.looked_at == 4
    assert in_topic(address, {}, "b", datetime.now(UTC) + timedelta(hours=1)).looked_at == 0


def test_rows_are_counted_once_the_broker_has_them_without_more_to_write(address):
    log = PredictionLog(KafkaTopic(address, {}), columns().table)
    log.offer(run("c", rows=3))
    until(lambda: log.written == 3)
    log.close()
    assert (log.written, log.failed) == (3, 0)


def test_a_broker_that_is_away_costs_rows_and_nothing_else():
    topic = KafkaTopic(f"kafka://127.0.0.1:{free_port()}/p", {"message.timeout.ms": "250"})
    log = PredictionLog(topic, columns().table)
    log.offer(run("a", rows=3))
    until(lambda: log.failed == 3)
    log.offer(run("b", rows=2))
    log.close()
    assert (log.written, log.failed) == (0, 5)


def test_a_topic_that_is_not_there_is_named(address):
    with pytest.raises(SinkFailed, match="topic 'nothing' cannot be read"):
        in_topic(address.replace("predictions", "nothing"), {}, "a")


def test_settings_come_from_the_environment_and_are_checked():
    assert client_settings({"HEADRACE_KAFKA_SASL_USERNAME": "u", "HOME": "/"}) == {"sasl.username": "u"}
    with pytest.raises(SinkFailed, match="the Kafka client takes no such settings"):
        KafkaTopic("kafka://127.0.0.1:9/p", {"no.such": "1"})
