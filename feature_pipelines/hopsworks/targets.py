"""Where rows of a feature group go: what the SDK knows of its topic, as plain data, read once.

The topic, the settings of the cluster's Kafka, the schema and the headers are those that the SDK
itself uses, and its insert is the model of every message. One online ingestion is begun per process,
as for the SDK's multi-part inserts.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headrace.hopsworks.declared import FeatureGroup
from headrace.hopsworks.session import HopsworksError, Session

ONLINE, OFFLINE = "online", "offline"
_SERVERS = "bootstrap.servers"


@dataclass(frozen=True, slots=True)
class Target:
    """A feature group's topic: every message carries `headers`; `kafka` are settings of the client, secrets among them.

    `schema` is the Avro schema of its messages, JSON text.
    """

    feature_group: FeatureGroup
    topic: str
    servers: str
    schema: str
    headers: Mapping[str, bytes]
    kafka: Mapping[str, str] = field(default_factory=dict, repr=False)


def targets_of(
    session: Session, feature_groups: Sequence[FeatureGroup], *, storage: str | None = ONLINE
) -> list[Target]:
    """Ask a cluster for the topics of feature groups; `storage` None writes them offline too, OFFLINE there alone.

    Raises HopsworksError where a feature group is absent, has another primary key, or is not online and is to be
    written there.
    """
    kafka = _kafka(session)
    return [_target(session, of, kafka, storage) for of in feature_groups]


def _target(session: Session, of: FeatureGroup, kafka: Mapping[str, str], storage: str | None) -> Target:
    from hsfs.core import kafka_engine

    with session.asking(f"read feature group {of.name}"):
        found = session.feature_store.get_feature_group(of.name, version=of.version)
        _check(session, of, found, online=storage != OFFLINE)
        headers = kafka_engine._get_headers(found, storage=storage)
        schema = found.avro_schema
    told = {name: value for name, value in kafka.items() if name != _SERVERS}
    return Target(of, found._online_topic_name, kafka[_SERVERS], schema, headers, told)


def _kafka(session: Session) -> dict[str, str]:
    from hsfs.core import kafka_engine

    with session.asking("read the address of its Kafka"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a topic of an external Kafka must exist is checked when it is opened
        told = kafka_engine._get_kafka_config(session.feature_store.id)
    return {name: str(value) for name, value in told.items() if value is not None}


def _check(session: Session, of: FeatureGroup, found: Any, *, online: bool) -> None:
    called = f"feature group {of.name}, version {of.version},"
    if found is None:
        raise HopsworksError(
            f"{called} is not in project {session.settings.project!r} at {session.settings.where}: "
            "run `headrace hopsworks apply` first"
        )
    if online and not found.online_enabled:
        raise HopsworksError(f"{called} is not online-enabled, needs to be: declare a new version and apply it")
    if sorted(found.primary_key) != sorted(of.primary_key):
        raise HopsworksError(
            f"{called} has the primary key {', '.join(found.primary_key)}, needs {', '.join(of.primary_key)}: "
            "declare a new version and apply it"
        )
