"""What a Kafka client is told and what it asks a broker: addresses, settings, topics and their bounds.

Settings are those of librdkafka by their own names (`security.protocol`, `sasl.username`,
`ssl.ca.location`, ...). Secrets come from a file or the environment, never from the command line's
history, and are never shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import confluent_kafka as kafka

from feature_pipelines.files import SourceError
from feature_pipelines.running import Stop, Tell
from headrace.features.rows import nearest
from headrace.settings import KAFKA_PREFIX, is_service_link

SCHEME = "kafka://"
ASK_S = 1.0  # how long a question may wait before it is put again
ANSWER_S = 10.0
#: What the exactness of the offsets hangs on, and is therefore not to be set.
OURS = (
    "bootstrap.servers",
    "group.id",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.partition.eof",
    "auto.offset.reset",
)
#: Settings that end so are secrets, and a command line is read by everybody on the machine.
_SECRET = ("password", "secret", ".pem", "oauthbearer.config")
_TOPIC = re.compile(r"[\w.-]{1,249}", re.ASCII)
_AWAY = (kafka.KafkaError._TRANSPORT, kafka.KafkaError._TIMED_OUT, kafka.KafkaError._ALL_BROKERS_DOWN)
_UNSETTLED = (kafka.KafkaError.LEADER_NOT_AVAILABLE, kafka.KafkaError.REQUEST_TIMED_OUT)
_REFUSED = (kafka.KafkaError._AUTHENTICATION, kafka.KafkaError._SSL)


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Brokers and a topic, as `kafka://host:port,host:port/topic`.

    >>> KafkaAddress.of("kafka://127.0.0.1:9092/payments")
    KafkaAddress(servers='127.0.0.1:9092', topic='payments')
    """

    servers: str
    topic: str

    @classmethod
    def of(cls, text: str) -> KafkaAddress:
        """Read an address; SourceError where it is none."""
        servers, _, topic = text.removeprefix(SCHEME).partition("/")
        hosts = [server.rpartition(":") for server in servers.split(",")]
        if (
            not is_kafka(text)
            or not all(host and port.isdecimal() for host, _, port in hosts)
            or not _TOPIC.fullmatch(topic)
        ):
            raise SourceError(f"{text!r} is no address of a topic, needs kafka://host:port/topic")
        return cls(servers, topic)

    def partition(self, number: int) -> str:
        """Return the name under which a store keeps a partition's offset."""
        return f"{self.topic}/{number}"


def is_kafka(text: str) -> bool:
    """Tell whether an address names a topic rather than a file."""
    return text.startswith(SCHEME)


def kafka_settings(
    file: Path | None = None, given: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Gather client settings from a file of `name=value` lines, the environment, and `name=value` texts.

    HEADRACE_KAFKA_SASL_PASSWORD sets `sasl.password`. Raises SourceError for a line that is no
    setting, for one that is Headrace's to make, and for a secret among the texts.

    >>> kafka_settings(None, ["client.id=x"], {"HEADRACE_KAFKA_SASL_USERNAME": "u", "HOME": "/"})
    {'sasl.username': 'u', 'client.id': 'x'}
    """
    lines: list[str] = []
    if file:
        try:
            lines = [line.strip() for line in file.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as away:
            raise SourceError(f"the Kafka settings {str(file)!r} cannot be read: {away}") from away
    found = dict(_setting(line) for line in lines if line and not line.startswith("#"))
    for name, value in (environment or {}).items():
        if name.startswith(KAFKA_PREFIX) and not is_service_link(name, value):
            found[name.removeprefix(KAFKA_PREFIX).lower().replace("_", ".")] = value
    found |= (said := dict(_setting(text) for text in given))
    if secret := [name for name in said if name.endswith(_SECRET)]:
        variable = KAFKA_PREFIX + secret[0].upper().replace(".", "_")
        raise SourceError(
            f"the Kafka setting {secret[0]} is a secret, needs to come from {variable} or a file, not a command line"
        )
    if taken := [name for name in OURS if name in found]:
        raise SourceError(f"the Kafka setting {taken[0]} is made by Headrace, needs to be left out")
    return found


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name.strip():
        raise SourceError(f"a Kafka setting has no '=' or no name ({name.strip()!r}), needs name=value")
    return name.strip(), value.strip()


class Broker:
    """One connection to a cluster, and what it says of a topic.

    `tell` hears when the broker is awaited, when it is lost and when it is back.
    """

    def __init__(self, address: KafkaAddress, settings: Mapping[str, str], tell: Tell) -> None:
        self.address = address
        self._tell = tell
        self._refusal = self._heard = ""
        self._met = self._lost = False
        # What matters of the client's log comes to `tell`.
        self._told = {**settings, "bootstrap.servers": address.servers, "error_cb": self._error, "log_level": 0}

    def client(self, kind: Callable[[dict[str, Any]], Any], told: Mapping[str, Any]) -> Any:
        """Make a client of a class with further settings; SourceError for one it does not know."""
        try:
            return kind({**told, **self._told})
        except (kafka.KafkaException, TypeError, ValueError) as wrong:
            raise SourceError(f"the Kafka client refuses its settings: {text_of(wrong)}") from wrong

    def partitions(self, client: Any, wait_s: float, stop: Stop) -> list[int]:
        """Return the topic's partitions, waiting up to `wait_s` for a broker that answers, or until `stop()`.

        Raises SourceError where none does, where it refuses us, or where it has no such topic.
        """
        # A producer that asks for a topic by name has it made where the cluster allows that.
        wanted = {} if isinstance(client, kafka.Producer) else {"topic": self.address.topic}
        began, told = monotonic(), False
        while not stop():
            try:
                topic = client.list_topics(**wanted, timeout=ASK_S).topics.get(self.address.topic)
                if topic is None:
                    raise SourceError(self._no_topic(client, None))
                if topic.error is None and topic.partitions:
                    self._met = True
                    return sorted(topic.partitions)
                if topic.error is not None and topic.error.code() not in _UNSETTLED:
                    raise SourceError(self._no_topic(client, topic.error))
            except kafka.KafkaException as away:
                if away.args[0].code() not in _AWAY:
                    raise SourceError(f"the broker at {self.address.servers} refuses: {text_of(away)}") from away
            client.poll(0)  # what went wrong is told there
            if self._refusal:
                raise SourceError(f"the broker at {self.address.servers} refuses us: {self._refusal}")
            if monotonic() - began >= wait_s:
                raise SourceError(
                    f"no broker answers at {self.address.servers} after {wait_s:g} s{self._heard}, "
                    "needs one that speaks Kafka's protocol there: start it, or wait longer"
                )
            if not told:
                self._tell(f"no broker answers at {self.address.servers} yet{self._heard}: waiting up to {wait_s:g} s")
                told = True
        raise SourceError(f"told to stop before a broker answered at {self.address.servers}")

    def bounds(self, client: Any, partition: int, *, cached: bool = False) -> tuple[int, int]:
        """Return a partition's first offset and the one after its last; SourceError where nobody tells."""
        try:
            found = client.get_watermark_offsets(self.at(partition), timeout=ANSWER_S, cached=cached)
        except kafka.KafkaException as away:
            raise SourceError(
                f"the bounds of {self.address.partition(partition)} are unknown: {text_of(away)}"
            ) from away
        if found is None:
            raise SourceError(f"the bounds of {self.address.partition(partition)} are unknown: no answer in time")
        low, high = found
        return low, high

    def offsets_at(self, client: Any, partitions: Sequence[int], instant_ms: int) -> dict[int, int]:
        """Return each partition's first offset whose timestamp is at or after an instant, its end where none is."""
        asked = [self.at(partition, max(0, instant_ms)) for partition in partitions]
        try:
            found = client.offsets_for_times(asked, timeout=ANSWER_S)
        except kafka.KafkaException as away:
            raise SourceError(
                f"the offsets of an instant in {self.address.topic} are unknown: {text_of(away)}"
            ) from away
        ends = {at.partition: at.offset for at in found}
        return {p: at if at >= 0 else self.bounds(client, p)[1] for p, at in ends.items()}

    def at(self, partition: int, offset: int = kafka.OFFSET_INVALID) -> Any:
        """Return a place in the topic, as the client takes it."""
        return kafka.TopicPartition(self.address.topic, partition, offset)

    def found(self) -> None:
        """Say that the broker is back, where it was said to be lost."""
        if self._lost:
            self._lost = False
            self._tell(f"the broker at {self.address.servers} is back")

    def _no_topic(self, client: Any, error: kafka.KafkaError | None) -> str:
        topic = self.address.topic
        if error and error.code() != kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
            return f"topic {topic!r} at {self.address.servers} cannot be read: {error.str()}"
        names = [name for name in client.list_topics(timeout=ANSWER_S).topics if not name.startswith("__")]
        return f"the broker at {self.address.servers} has no topic {topic!r}{nearest(topic, names)}: create it first"

    def _error(self, error: kafka.KafkaError) -> None:
        if error.code() in _REFUSED:
            self._refusal = error.str()
        elif error.code() == kafka.KafkaError._TRANSPORT:
            self._heard = f" ({error.str().partition(' (after')[0]})"
        elif error.code() == kafka.KafkaError._ALL_BROKERS_DOWN and self._met and not self._lost:
            self._lost = True
            self._tell(f"the broker at {self.address.servers} is lost: going on when it is back")


def text_of(wrong: BaseException) -> str:
    """Return what went wrong in the client's words."""
    first = wrong.args[0] if wrong.args else wrong
    return first.str() if isinstance(first, kafka.KafkaError) else str(first)
