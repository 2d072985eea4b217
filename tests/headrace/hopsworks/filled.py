"""A stand-in cluster in which an application was applied, with the rows of records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from headrace.application import Application
from headrace.features import fold
from headrace.hopsworks.apply import apply
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.rows import rows_of
from headrace.hopsworks.session import HopsworksSettings, connect
from tests.hopsworks import StandIn

_AT_ONCE = 500


@contextmanager
def cluster_of(app: Application, folder: Path, *, sql: bool = False) -> Iterator[StandIn]:
    """Give a cluster that has an application's groups and views, without Kafka."""
    with StandIn.started(folder, kafka=False, sql=sql) as cluster:
        with connect(HopsworksSettings.of(environment(cluster))) as session:
            apply(session, Declared.of(app))
        yield cluster


def environment(cluster: StandIn) -> dict[str, str]:
    """Return the variables by which a cluster is found and believed."""
    return {**cluster.environment(), "HOPSWORKS_TRUST_STORE_PATH": cluster.ca_file}


def fill(cluster: StandIn, app: Application, held: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Put the rows of keys and records into a cluster, by the name of their group."""
    for group in Declared.of(app).groups:
        keys, records = held[group.of.name]
        for at in range(0, keys.size, _AT_ONCE):
            part = slice(at, at + _AT_ONCE)
            columns = {
                name: values if isinstance(values, list) else values.tolist()
                for name, values in rows_of(group, keys[part], records[part]).items()
            }
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            cluster.put(group.name, group.version, [_nulled(row) for row in rows])


def one_event_each(app: Application, keys: np.ndarray, at_ms: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return keys 0 to n and records of one event each, at an instant and of the amount of its key, by group."""
    events = {"datetime": np.full(keys.size, at_ms), "amount": keys * 1.0, "fraud_label": keys % 2 * 1.0}
    events |= {name: np.zeros(keys.size) for name in ("latitude", "longitude")}
    rows = {}
    for group in app.groups:
        records = group.empty(keys.size)
        fold(group, records, keys, events)
        rows[group.name] = (keys, records)
    return rows


def _nulled(row: dict[str, object]) -> dict[str, object]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
