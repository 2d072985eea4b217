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


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("no-such-broker", "no-such-broker is not installed, a local broker needs it: pip install no-such-broker"),
        ("false", "false ended with code 1 before it listened: see .*broker.log"),
    ],
)
def test_a_broker_that_cannot_run_says_why(tmp_path, monkeypatch, program, message):
    monkeypatch.setattr(broker, "_PROGRAM", program)
    with pytest.raises(SourceError, match=message), local_broker(tmp_path / "b"):
        pass
