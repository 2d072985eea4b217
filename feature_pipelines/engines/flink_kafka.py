"""A topic through Flink's Kafka connector: messages with their partition and offset, and the client's settings.

The connector's client is Kafka's own, in Java; settings are given by librdkafka's names, as
everywhere in Headrace, and translated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from feature_pipelines.engines import Job
from feature_pipelines.files import SourceError
from feature_pipelines.kafka import KafkaAddress

if TYPE_CHECKING:
    from pyflink.datastream import DataStream, StreamExecutionEnvironment

_SAME = (
    "client.id", "fetch.max.bytes", "fetch.min.bytes", "max.partition.fetch.bytes", "security.protocol",
    "socket.connection.setup.timeout.ms", "reconnect.backoff.ms", "reconnect.backoff.max.ms",
)  # fmt: skip
_NAMED = {
    "fetch.wait.max.ms": "fetch.max.wait.ms",
    "sasl.mechanism": "sasl.mechanism",
    "sasl.mechanisms": "sasl.mechanism",
    "ssl.endpoint.identification.algorithm": "ssl.endpoint.identification.algorithm",
    "ssl.key.password": "ssl.key.password",
}
_FILES = {
    "ssl.ca.location": ("truststore", "ssl.truststore.certificates"),
    "ssl.certificate.location": ("keystore", "ssl.keystore.certificate.chain"),
    "ssl.key.location": ("keystore", "ssl.keystore.key"),
}
_LOGINS = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_LOGIN = ("sasl.username", "sasl.password")


def java_settings(settings: Mapping[str, str], read: Callable[[Path], str] = Path.read_text) -> dict[str, str]:
    """Translate settings of librdkafka into those of Kafka's Java client; SourceError for one without a counterpart.

    Certificates and keys are PEM files, and travel with the job as their text.

    >>> java_settings({"security.protocol": "ssl", "fetch.wait.max.ms": "10"})
    {'security.protocol': 'SSL', 'fetch.max.wait.ms': '10'}
    """
    known = (*_SAME, *_NAMED, *_FILES, *_LOGIN)
    if unknown := [name for name in settings if name not in known]:
        raise SourceError(
            f"the Kafka setting {unknown[0]} has no counterpart that Flink's connector is known to take, "
            f"needs one of {', '.join(sorted(known))}"
        )
    found = {name: value for name, value in settings.items() if name in _SAME}
    found |= {_NAMED[name]: value for name, value in settings.items() if name in _NAMED}
    for name, (store, target) in _FILES.items():
        if name in settings:
            found |= {f"ssl.{store}.type": "PEM", target: read(Path(settings[name]))}
    if "security.protocol" in found:
        found["security.protocol"] = found["security.protocol"].upper()
    if any(name in settings for name in _LOGIN):
        found["sasl.jaas.config"] = _jaas(settings, found.get("sasl.mechanism", ""))
    return found


def _jaas(settings: Mapping[str, str], mechanism: str) -> str:
    if mechanism not in _LOGINS:
        raise SourceError(f"the Kafka setting sasl.mechanism is {mechanism!r}, needs one of {', '.join(_LOGINS)}")
    user, password = (_quoted(settings.get(name, "")) for name in _LOGIN)
    return f"{_LOGINS[mechanism]} required username={user} password={password};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def table_options(job: Job, *, ends: bool) -> dict[str, str]:
    """Return the options of Flink's `kafka` table of a job's topic, from its beginning or where its state stands.

    With `ends` the table ends where the topic does at the start.
    """
    address = KafkaAddress.of(job.source)
    options = {
        "topic": address.topic,
        "properties.bootstrap.servers": address.servers,
        "scan.startup.mode": "earliest-offset",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
    }
    if ends:
        options["scan.bounded.mode"] = "latest-offset"
    return options | {f"properties.{name}": value for name, value in java_settings(job.kafka).items()}


def messages_of(env: StreamExecutionEnvironment, job: Job, *, ends: bool) -> DataStream:
    """Return the messages of a job's topic: rows of bytes, partition and offset, in order within a partition."""
    # Only where Flink is: everything else here is known without it.
    from pyflink.table import DataTypes, Schema, StreamTableEnvironment, TableDescriptor

    schema = Schema.new_builder().column("event", DataTypes.BYTES())
    schema.column_by_metadata("partition", DataTypes.INT(), None, True)
    schema.column_by_metadata("offset", DataTypes.BIGINT(), None, True)
    descriptor = TableDescriptor.for_connector("kafka").schema(schema.build())
    options = table_options(job, ends=ends)
    for name, value in options.items():
        descriptor = descriptor.option(name, value)
    tables = StreamTableEnvironment.create(env)
    messages = tables.to_data_stream(tables.from_descriptor(descriptor.build()))
    source = messages._j_data_stream.getTransformation()
    while source.getInputs().size():
        source = source.getInputs().get(0)
    source.setUid(f"topic {options['topic']}")  # by which its offsets are found again
    return messages
