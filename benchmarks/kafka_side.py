"""One process of a Kafka benchmark: `python -m benchmarks.kafka_side ROLE SERVERS OUT COUNT RATE START`.

`produce` sends events at a steady rate from START on, an instant of CLOCK_MONOTONIC, and
`consume` takes them; both write to OUT when each event was sent or taken, float64 seconds of
that clock. `pipe` streams them into the store OUT until the topic's COUNT events are there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import orjson

from applications.fraud.app import APP
from benchmarks.ground import FIRST_CARD, NOW_MS, SEED, payments
from feature_pipelines.addresses import SourceOptions
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.json_events import JsonReader
from feature_pipelines.kafka import KafkaAddress, KafkaSource
from feature_pipelines.kafka.client import Broker
from feature_pipelines.runner import BATCH, Pipeline
from headrace.stores.embedded import EmbeddedStore

TOPIC, STREAM = "payments", "payments"
PARTITION = f"{TOPIC}/0"
_KEYS, _SKEW = 2_000, 1.1


def skewed(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return payments as 2,000 cards would make them whose shares follow Zipf's law."""
    share = np.arange(1, _KEYS + 1) ** -_SKEW
    cards = np.random.default_rng(SEED).choice(_KEYS, columns["cc_num"].size, p=share / share.sum())
    return {**columns, "cc_num": FIRST_CARD + cards}


def messages(count: int) -> list[tuple[bytes, bytes]]:
    """Return payments of 2,000 Zipf-distributed cards, in order of time, as key and JSON."""
    columns = skewed(payments(count))
    columns["card_present"] = columns["card_present"] == 1.0
    names = ("tid", *(name for name in APP.stream(STREAM).names if name in columns and name != "tid"))
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    events = [dict(zip(names, row, strict=True)) for row in rows]
    return [(b"%d" % event["cc_num"], orjson.dumps({**event, "tid": str(event["tid"])})) for event in events]


def produce(address: KafkaAddress, out: Path, count: int, rate: float, start: float) -> None:
    """Send every event when it is due."""
    import confluent_kafka

    producer = Broker(address, {}, print).client(confluent_kafka.Producer, {"linger.ms": 0, "acks": "1"})
    sent = np.empty(count)
    for at, (key, value) in enumerate(messages(count)):
        time.sleep(max(0.0, start + at / rate - time.monotonic()))
        sent[at] = time.monotonic()
        producer.produce(address.topic, value, key=key)
        producer.poll(0)
    producer.flush()
    np.save(out, sent)


def consume(address: KafkaAddress, out: Path, count: int, rate: float, start: float) -> None:
    """Take every event as a consumer of its own."""
    import confluent_kafka

    told = {"group.id": "benchmark", "fetch.wait.max.ms": "10", "enable.auto.commit": False}
    consumer = Broker(address, {}, print).client(confluent_kafka.Consumer, told)
    consumer.assign([confluent_kafka.TopicPartition(address.topic, 0, 0)])
    taken = np.empty(count)
    at = 0
    while at < count:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            taken[at] = time.monotonic()
            at += 1
    consumer.close()
    np.save(out, taken)


def pipe(address: KafkaAddress, out: Path, count: int, rate: float, start: float) -> None:
    """Stream the topic into a store until every event is there; print events a second after the first."""
    stream = APP.stream(STREAM)
    reader = JsonReader(stream.names, {column.name: column.dtype for column in stream.columns})
    source = KafkaSource(address, reader, SourceOptions())
    store = EmbeddedStore(out)
    letters = DeadLetterFile(out / "letters.jsonl")
    pipeline = Pipeline(stream, APP.groups_of(STREAM), source, store, letters, lambda: NOW_MS)
    pipeline.start()
    while not pipeline.step(1):  # a broker takes its time to answer for the first time
        pass
    began = time.perf_counter()
    pipeline.run(BATCH, stop=lambda: source.at >= count)
    print((source.at - 1) / (time.perf_counter() - began))
    source.close()
    store.close()


ROLES: dict[str, Callable[[KafkaAddress, Path, int, float, float], None]] = {
    "produce": produce,
    "consume": consume,
    "pipe": pipe,
}


def main() -> None:
    """Play one role."""
    role, servers, out, count, rate, start = sys.argv[1:]
    ROLES[role](KafkaAddress(servers, TOPIC), Path(out), int(count), float(rate), float(start))


if __name__ == "__main__":
    main()
