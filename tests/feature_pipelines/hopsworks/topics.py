"""The topic of a feature group on a real broker, a writer to it, and what an ingestion makes of its messages."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.hopsworks.targets import Target
from feature_pipelines.hopsworks.writer import FeatureGroupWriter
from feature_pipelines.kafka import KafkaAddress
from headrace.hopsworks.declared import FeatureGroup
from headrace.stores.online import WritableStore
from tests.feature_pipelines.hopsworks.schemas import schema_of
from tests.feature_pipelines.kafka.cluster import WAIT_S, Cluster

HEADERS = {
    "projectId": b"1",
    "featureGroupId": b"2",
    "subjectId": b"3",
    "onlineIngestionId": b"4",
    "storage": b"online",
}
PARTITIONS = 3


def target_of(address: KafkaAddress, of: FeatureGroup, **more: Any) -> Target:
    """Return the target of a feature group whose topic is at an address."""
    told = {"schema": schema_of(of), "headers": HEADERS, **more}
    return Target(of, address.topic, address.servers, **told)


def writer_of(address: KafkaAddress, of: FeatureGroup, **more: Any) -> FeatureGroupWriter:
    """Open a writer of one feature group."""
    return FeatureGroupWriter.of([target_of(address, of)], **{"wait_s": WAIT_S, **more})


def mirrored(store: WritableStore, address: KafkaAddress, of: FeatureGroup, **more: Any) -> MirroredStore:
    """Return a store that writes a feature group too."""
    return MirroredStore(store, writer_of(address, of, **more))


def ingested(cluster: Cluster, address: KafkaAddress, of: FeatureGroup, partitions: int = PARTITIONS) -> dict[str, Any]:
    """Return the row of each key that the topic's messages leave, by the key of the message."""
    parsed = fastavro.parse_schema(json.loads(schema_of(of)))
    rows: dict[str, Any] = {}
    for message in cluster.messages(address, partitions):
        row: Any = fastavro.schemaless_reader(io.BytesIO(message.value()), parsed, None)
        assert message.key().decode() == "".join(str(row[name]) for name in of.primary_key)
        rows[message.key().decode()] = row
    return rows
