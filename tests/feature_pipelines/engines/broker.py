"""A topic of the judged events on a broker of this machine, keyed by the card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa

from feature_pipelines.kafka import KafkaAddress, create_topic, produce
from headrace.cli.broker import local_broker


@contextmanager
def topic_of(events: pa.Table, folder: Path, partitions: int) -> Iterator[str]:
    """Yield the address of a topic that holds the events as JSON, those of a card in order in one partition."""
    times = events.column("datetime").cast(pa.int64())
    rows = events.set_column(events.schema.get_field_index("datetime"), "datetime", times).to_pylist()
    with local_broker(folder) as server:
        address = f"kafka://{server}/payments"
        create_topic(KafkaAddress.of(address), partitions)
        produce(KafkaAddress.of(address), ((str(row["cc_num"]).encode(), orjson.dumps(row)) for row in rows))
        yield address
