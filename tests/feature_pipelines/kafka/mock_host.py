"""A process that holds librdkafka's own mock cluster, which throws out dead members of a group as a real one does.

    python mock_host.py SESSION_MS TOPIC PARTITIONS [TOPIC PARTITIONS ...]

prints the cluster's bootstrap servers and serves until its standard input ends. SESSION_MS is the
session timeout of groups whose members do not set it themselves. The cluster is in
the memory of a client; its functions are not in the Python client, so the library that this one is
built on is called directly.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import confluent_kafka

_PRODUCER = 0


def library() -> ctypes.CDLL:
    """Return the librdkafka that the Python client was built with."""
    (path,) = Path(confluent_kafka.__file__).parents[1].glob("confluent_kafka.libs/librdkafka*.so*")
    found = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(found, name).restype = ctypes.c_void_p
    found.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return found


def main() -> None:
    """Serve the topics that the command line names."""
    kafka = library()
    told, failed = ctypes.c_void_p(kafka.rd_kafka_conf_new()), ctypes.create_string_buffer(512)
    client = kafka.rd_kafka_new(_PRODUCER, told, failed, ctypes.c_size_t(len(failed)))
    assert client, failed.value
    cluster = ctypes.c_void_p(kafka.rd_kafka_mock_cluster_new(ctypes.c_void_p(client), 1))
    kafka.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 200)
    kafka.rd_kafka_mock_set_group_consumer_session_timeout_ms(cluster, int(sys.argv[1]))
    kafka.rd_kafka_mock_set_group_consumer_heartbeat_interval_ms(cluster, 300)
    for topic, partitions in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
        assert kafka.rd_kafka_mock_topic_create(cluster, topic.encode(), int(partitions), 1) == 0
    print(kafka.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
