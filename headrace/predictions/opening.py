"""The prediction log that an address names: `dir:/path`, a path, or `kafka://host:port/topic`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.predictions.files import ParquetFiles
from headrace.predictions.log import Sink, SinkFailed

FOLDER, TOPIC = "dir:", "kafka://"


class LogError(Exception):
    """A prediction log cannot be opened; the text says why."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How files are kept: written every so many seconds, for so many days, and at most so many bytes."""

    every_s: float = 30.0
    days: float = 30.0
    most_bytes: int = 1 << 30


def folder_of(address: str) -> Path | None:
    """Return the folder that an address names, None for a topic. Raises LogError for another scheme.

    >>> folder_of("dir:/var/predictions"), folder_of("kafka://127.0.0.1:9092/predictions")
    (PosixPath('/var/predictions'), None)
    """
    if address.startswith(TOPIC):
        return None
    if "://" in address or not address.removeprefix(FOLDER):
        raise LogError(f"the prediction log is {address!r}, needs dir:/path or kafka://host:port/topic")
    return Path(address.removeprefix(FOLDER))


def open_sink(address: str, keeping: Keeping, environment: Mapping[str, str]) -> Sink:
    """Open what an address names for writing. Raises LogError where it cannot be."""
    folder = folder_of(address)
    try:
        if folder is not None:
            return ParquetFiles(folder, every_s=keeping.every_s, days=keeping.days, most_bytes=keeping.most_bytes)
        from headrace.predictions.kafka import KafkaTopic, client_settings

        return KafkaTopic(address, client_settings(environment))
    except ModuleNotFoundError as absent:
        if absent.name != "confluent_kafka":
            raise
        raise LogError(
            "a prediction log in Kafka needs the package confluent-kafka: install headrace[kafka]"
        ) from absent
    except (ValueError, SinkFailed) as refused:
        raise LogError(str(refused)) from refused
