"""Kafka, by any broker that speaks its protocol: events in, refused events out."""

from feature_pipelines.kafka.client import KafkaAddress, create_topic, is_kafka, kafka_settings, produce
from feature_pipelines.kafka.letters import KafkaDeadLetters
from feature_pipelines.kafka.source import KafkaOptions, KafkaSource

__all__ = [
    "KafkaAddress",
    "KafkaDeadLetters",
    "KafkaOptions",
    "KafkaSource",
    "create_topic",
    "is_kafka",
    "kafka_settings",
    "produce",
]
