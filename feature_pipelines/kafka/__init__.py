"""Kafka, by any broker that speaks its protocol: events in, refused events out."""

from feature_pipelines.kafka.client import KafkaAddress, is_kafka, kafka_settings
from feature_pipelines.kafka.letters import KafkaDeadLetters
from feature_pipelines.kafka.sender import create_topic, produce
from feature_pipelines.kafka.source import KafkaSource

__all__ = [
    "KafkaAddress",
    "KafkaDeadLetters",
    "KafkaSource",
    "create_topic",
    "is_kafka",
    "kafka_settings",
    "produce",
]
