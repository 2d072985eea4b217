"""A cluster of Hopsworks for tests, on the wire: what the unmodified SDK and our own clients talk to over real sockets.

    with StandIn.started(folder) as cluster: ...   # started(folder, kafka=False, sql=True): less, or more, to run

runs it in a process of its own. Everything listens on the loopback.

Addresses: `cluster.host`, `port` (control plane, TLS signed by `ca_file`), `project`, `api_key`, `rdrs_port` (RonDB
REST over plain HTTP), `rdrs_tls_port` (the same over TLS), `kafka` (host:port), `mysql` (host:port, with
`sql=True`; needs MariaDB), `environment()` (the HOPSWORKS_... variables).

Rows: `put(group, version, rows)`, `rows(group, version)` by key, `delete(group, version, keys)`. Bytes are bytes,
timestamps epoch milliseconds, nulls None; a NaN or a wrong type is refused.

Offline: what is ingested with storage offline or both, and `put_offline(group, version, rows)`, is read by the query
service (Arrow Flight, port 5005 of a loopback address of its own); materialization jobs end once a topic is applied.

Ingestion: `ingested(group, version)`, `wait_ingested(group, version, count)`, `delay_ingestion(seconds)`, `refused`
(why messages were not applied). The subject's Avro schema has every feature, nullable, the on-demand ones too.

Faults: `faults.set("rdrs" | "control", delay_ms=, drop=, truncate=, status=, shape=, listening=, path=, every=)`,
`faults.clear()`; `rotate_key()` makes the old API key refused. The fields are those of `tests.hopsworks.faults.Fault`.

Logs: `requests` (control plane), `requests_of("rdrs")`, `forget_requests()`, `unknown` (no route knew them).
Metadata as the control plane tells it: `feature_group(name, version)`, `feature_view(name, version)`.

Serving keys are as on a real cluster: a joined group's key carries the join's prefix (`card_activity_cc_num`), and the
SDK accepts that name alone; RonDB REST takes the name with or without it. A root of which only labels are selected
has no serving key. A missing row is told with its key, where selected, and nulls.
"""

from tests.hopsworks.cluster import StandIn, StandInError

__all__ = ["StandIn", "StandInError"]
