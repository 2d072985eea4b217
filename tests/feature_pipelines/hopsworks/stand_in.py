"""A stand-in cluster with the fraud application applied, and what its rows must be for what a store holds."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import confluent_kafka as kafka
import numpy as np
import orjson

from applications.fraud.app import APP
from headrace.features.columns import NO_TIME
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import Declared, FeatureGroup
from headrace.hopsworks.rows import rows_of, windowed
from headrace.hopsworks.session import HopsworksSettings, connect
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup
from tests.feature_pipelines.kafka.cluster import WAIT_S, Message
from tests.hopsworks import StandIn

DECLARED = Declared.of(APP)
CARDS, TERMINALS = DECLARED.groups


@contextmanager
def applied(folder: Path) -> Iterator[StandIn]:
    """Run a cluster and apply the fraud application to it."""
    with StandIn.started(folder) as cluster:
        with connect(HopsworksSettings.of(variables(cluster))) as session:
            apply(session, DECLARED)
        yield cluster


def variables(cluster: StandIn, **more: str) -> dict[str, str]:
    """Return the environment in which a pipeline finds a cluster."""
    return {**os.environ, **cluster.environment(), "HOPSWORKS_TRUST_STORE_PATH": cluster.ca_file, **more}


def expected(store: EmbeddedStore, of: FeatureGroup, keys: np.ndarray) -> dict[Any, dict[str, Any]]:
    """Return the rows that a cluster must have for the records of keys in a store, by key."""
    records = store.records(Lookup(windowed(of), keys))
    held = records["newest_ms"] != NO_TIME
    columns = rows_of(of, keys[held], records[held])
    rows = zip(*(list(values) for values in columns.values()), strict=True)
    names = list(columns)
    return {row[0].item(): dict(zip(names, map(_plain, row), strict=True)) for row in rows}


def rows(cluster: StandIn, of: FeatureGroup) -> dict[Any, dict[str, Any]]:
    """Return a cluster's rows of a feature group, without what is computed on demand."""
    names = [feature.name for feature in of.features]
    return {key: {name: row[name] for name in names} for key, row in cluster.rows(of.name, of.version).items()}


def settled(cluster: StandIn, of: FeatureGroup) -> int:
    """Wait until the ingestion has applied every message there is of a feature group, and return how many there are."""
    topic = cluster.feature_group(of.name, of.version)["onlineTopicName"]
    asking = kafka.Consumer({"bootstrap.servers": cluster.kafka, "group.id": "asking"})
    _, end = asking.get_watermark_offsets(kafka.TopicPartition(topic, 0), timeout=WAIT_S)
    asking.close()
    cluster.wait_ingested(of.name, of.version, end)
    assert cluster.refused == []
    return int(end)


def file_of(path: Path, messages: list[Message]) -> Path:
    """Write the events of messages that are events to a file, in order."""
    lines = [value for _, _, value in messages if value and _is_event(value)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _is_event(value: bytes) -> bool:
    try:
        return isinstance(orjson.loads(value), Mapping)
    except json.JSONDecodeError:
        return False


def _plain(value: Any) -> Any:
    plain = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(plain, float) and math.isnan(plain) else plain
