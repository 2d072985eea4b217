"""A broker that is away at the start, or goes and comes back: what the command says, and that nothing is lost."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from select import select
from signal import SIGTERM

from feature_pipelines.kafka import KafkaAddress, create_topic
from headrace.cli.broker import free_port, local_broker
from headrace.stores.embedded import EmbeddedStore
from tests.feature_pipelines.kafka.cluster import Cluster, within
from tests.feature_pipelines.kafka.payments import Contents, counted, finished, payments, start

EVENTS = 300


def arguments(address: KafkaAddress, store: Path, *more: str) -> tuple[object, ...]:
    """Return the arguments of a pipeline that reads every partition alone."""
    source = f"kafka://{address.servers}/{address.topic}"
    return ("--source", source, "--store", store, "--batch", 10, "--fast", "--group", "", *more)


def test_a_broker_is_awaited_lost_and_found_again(tmp_path):
    port = free_port()
    address = KafkaAddress(f"127.0.0.1:{port}", "payments")
    messages = payments(random.Random("outage"), EVENTS)
    store = EmbeddedStore(tmp_path / "s", readonly=True)
    with local_broker(tmp_path / "broker", port) as servers:
        create_topic(address, 3)
        Cluster(servers).put(address, messages[:100])

    process = start(*arguments(address, tmp_path / "s"))
    assert process.stdout is not None
    with ExitStack() as kept:
        kept.callback(process.kill)
        assert f"no broker answers at {address.servers} yet (" in process.stdout.readline()
        with local_broker(tmp_path / "broker", port) as servers:
            until(lambda: counted(store) == 100)
            Cluster(servers).put(address, messages[100:200])
            until(lambda: counted(store) == 200)
        assert f"the broker at {address.servers} is lost: going on when it is back" in process.stdout.readline()
        with local_broker(tmp_path / "broker", port) as servers:
            Cluster(servers).put(address, messages[200:])
            until(lambda: counted(store) == EVENTS)
            assert f"the broker at {address.servers} is back" in process.stdout.readline()
            process.send_signal(SIGTERM)
            assert f"done   payments into card_activity: {EVENTS} events" in finished(process)
            finished(start(*arguments(address, tmp_path / "whole", "--to-end")))
    store.close()
    Contents.of(tmp_path / "s").check(Contents.of(tmp_path / "whole"), same_batches=False)


def test_who_waits_for_a_broker_can_be_told_to_stop(tmp_path):
    address = KafkaAddress(f"127.0.0.1:{free_port()}", "payments")
    process = start(*arguments(address, tmp_path / "s"))
    assert process.stdout is not None
    assert "yet (" in process.stdout.readline()
    process.send_signal(SIGTERM)
    assert f"told to stop before a broker answered at {address.servers}" in finished(process, code=1)


def test_who_is_told_to_stop_leaves_while_the_broker_is_lost(tmp_path):
    port = free_port()
    address = KafkaAddress(f"127.0.0.1:{port}", "payments")
    with local_broker(tmp_path / "broker", port):
        create_topic(address)
        process = start("--source", f"kafka://{address.servers}/payments", "--store", tmp_path / "s", "--fast")
        assert process.stdout is not None
        assert "partitions of payments read here: 0" in process.stdout.readline()
    assert "is lost: going on" in process.stdout.readline()
    process.send_signal(SIGTERM)
    assert "done   payments into card_activity: 0 events" in finished(process)


def until(condition) -> None:  # type: ignore[no-untyped-def]
    """Look until a condition holds."""
    stop = within(60, condition)
    while not stop():
        select([], [], [], 0.005)
