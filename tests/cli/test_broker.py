"""The broker for development: it listens when the block begins, keeps its topics, and says why it cannot run."""

from __future__ import annotations

import socket

import pytest

from feature_pipelines.files import SourceError
from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli import broker
from headrace.cli.broker import free_port, local_broker


def test_a_broker_listens_on_the_loopback_and_keeps_its_topics(tmp_path):
    port = free_port()
    address = KafkaAddress(f"127.0.0.1:{port}", "t")
    for _ in range(2):
        with local_broker(tmp_path / "b", port) as servers:
            assert servers == address.servers
            with socket.socket() as asking:
                assert asking.connect_ex(("127.0.0.1", port)) == 0
            create_topic(address)  # there already the second time
            assert produce(address, [(b"k", b"v")]) == 1
    with socket.socket() as asking:
        assert asking.connect_ex(("127.0.0.1", port)) != 0


def test_a_broker_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(broker, "find_spec", lambda _: None)
    with pytest.raises(SourceError, match="noida-db is not installed, a local broker needs it: pip install noida-db"):
        local_broker(tmp_path / "b").__enter__()


def test_a_broker_that_ends_at_once_says_where_the_reason_is(tmp_path, monkeypatch):
    monkeypatch.setattr(broker, "_program", lambda: "/bin/false")
    with pytest.raises(SourceError, match=r"noida-db ended with code 1 before it listened: see .*broker\.log"):
        local_broker(tmp_path / "b").__enter__()
