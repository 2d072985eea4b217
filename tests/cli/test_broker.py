"""The broker of this machine ends with its block, keeps its topics, and says what it needs."""

from __future__ import annotations

import socket

import pytest
from confluent_kafka import Consumer, TopicPartition

from feature_pipelines.files import SourceError
from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli import broker
from headrace.cli.broker import free_port, local_broker


def end_of(servers: str, topic: str) -> int:
    """Return the offset after a topic's last event."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "end"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1]
    finally:
        consumer.close()


def test_a_broker_ends_with_its_block_and_keeps_its_topics(tmp_path):
    port = free_port()
    for wanted in (3, 6):
        with local_broker(tmp_path / "broker", port) as servers:
            assert servers == f"127.0.0.1:{port}"
            address = KafkaAddress(servers, "payments")
            create_topic(address)
            produce(address, [(b"k", b"{}")] * 3)
            assert end_of(servers, "payments") == wanted
        with socket.socket() as asking:
            assert asking.connect_ex(("127.0.0.1", port)) != 0


def test_a_program_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(broker, "find_spec", lambda name: None)
    with (
        pytest.raises(SourceError, match="noida-db is not installed, a local broker needs it: pip install noida-db"),
        local_broker(tmp_path),
    ):
        pass
