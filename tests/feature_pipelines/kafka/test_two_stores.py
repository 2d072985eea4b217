"""Stores side by side on one topic: each is filled with every event, whoever else reads."""

from __future__ import annotations

import orjson

from feature_pipelines.engines import Job
from feature_pipelines.engines.local import opened
from feature_pipelines.stores import name_of
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.kafka.cluster import within
from tests.feature_pipelines.kafka.payments import CARDS, START_MS

COUNT = 30


def test_two_stores_at_once_each_take_every_event(cluster, tmp_path):
    address = cluster.topic()
    place = {"terminal_id": 1, "amount": 1.0, "datetime": START_MS}
    cluster.put_values(address, [orjson.dumps({**place, "cc_num": int(CARDS[n % 9])}) for n in range(COUNT)])
    source = f"kafka://{address.servers}/{address.topic}"
    blue, green = (Job("fraud", "payments", source, tmp_path / name) for name in ("blue", "green"))
    with opened(blue) as one, opened(green) as other:
        one.start()
        other.start()
        stop = within()
        while not stop() and min(one.report.events, other.report.events) < COUNT:
            one.step()
            other.step()
        assert (one.report.events, other.report.events) == (COUNT, COUNT)


def test_a_store_keeps_the_name_it_was_given(tmp_path):
    store = EmbeddedStore(tmp_path / "one", durable=False)
    name = name_of(store)
    store.close()
    again = EmbeddedStore(tmp_path / "one", durable=False)
    assert name_of(again) == name == name_of(again)
    assert name_of(MemoryStore()) not in (name, "00000000")
    again.close()
