"""The offline store: rows of feature groups, and the query service that reads them over Arrow Flight.

A row is known by its primary key and event time, as in a table of HUDI's. The service speaks TLS with
certificates on both sides, on port 5005 of a loopback address of its own, because the SDK knows no
other port; it answers what the control plane has signed, and nothing else. Instants are epoch
milliseconds, or datetimes.
"""

from __future__ import annotations

import datetime
import hmac
import json
import random
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.flight as flight

from tests.hopsworks.certificates import Authority

PORT = 5005
DOMAIN = "stand-in"
#: What the service's certificate is for: the SDK insists on this name, whatever the address.
NAME = f"flyingduck.service.{DOMAIN}"
BATCH = 10_000
TYPES = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
    "timestamp": pa.timestamp("us"),
}
_CONDITIONS = {
    "GREATER_THAN_OR_EQUAL": pc.greater_equal,
    "GREATER_THAN": pc.greater,
    "EQUALS": pc.equal,
    "NOT_EQUALS": pc.not_equal,
    "LESS_THAN_OR_EQUAL": pc.less_equal,
    "LESS_THAN": pc.less,
}
_SIGNATURE = "hopsworks-signature"


class OfflineStore:
    """Rows by group, primary key and event time; the newest written wins."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[tuple[Any, ...], Mapping[str, Any]]] = {}

    def upsert(self, group: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows of a feature group, as the control plane describes it."""
        named = [f["name"] for f in group["features"] if f["primary"]] + [group.get("eventTime")]
        held = self._rows.setdefault(group["id"], {})
        for row in rows:
            held[tuple(row.get(name) for name in named)] = row

    def count(self, group: Mapping[str, Any]) -> int:
        """Return how many rows a group has."""
        return len(self._rows.get(group["id"], {}))

    def table(self, group: Mapping[str, Any]) -> pa.Table:
        """Return a group's rows."""
        schema = pa.schema([(f["name"], TYPES[f["type"]]) for f in group["features"] if not f["onDemand"]])
        rows = self._rows.get(group["id"], {}).values()
        return pa.table({field.name: _column(field, rows) for field in schema}, schema=schema)


class QueryService:
    """Hopsworks' query service: reads of one feature group, filtered. `signed` makes what it answers."""

    def __init__(self, authority: Authority, tables: Callable[[int], pa.Table]) -> None:
        self._secret = secrets.token_bytes(32)
        for _ in range(20):
            self.host = f"127.{random.randrange(80, 250)}.{random.randrange(1, 250)}.{random.randrange(2, 250)}"
            if _is_free(self.host):
                break
        self._flight = _Flight(self, tables, authority)

    def signed(self, query: Mapping[str, Any]) -> dict[str, str]:
        """Return a query as the SDK hands it on: a payload and its signature."""
        payload = json.dumps(query)
        return {"hqsPayload": payload, "hqsPayloadSignature": self.signature(payload.encode())}

    def signature(self, payload: bytes) -> str:
        """Return the signature of a payload."""
        return hmac.new(self._secret, payload, "sha256").hexdigest()

    def close(self) -> None:
        """Stop answering."""
        self._flight.shutdown()


class _Headers(flight.ServerMiddleware):
    def __init__(self, signature: str) -> None:
        self.signature = signature


class _HeadersOf(flight.ServerMiddlewareFactory):
    def start_call(self, _info: Any, headers: Mapping[str, list[str]]) -> _Headers:
        return _Headers((headers.get(_SIGNATURE) or [""])[0])


class _Flight(flight.FlightServerBase):
    def __init__(self, service: QueryService, tables: Callable[[int], pa.Table], authority: Authority) -> None:
        super().__init__(
            f"grpc+tls://{service.host}:{PORT}",
            tls_certificates=[authority.signed("query service", NAME)],
            verify_client=True,
            root_certificates=authority.pem,
            middleware={"headers": _HeadersOf()},
        )
        self._service, self._tables = service, tables

    def list_actions(self, _context: Any) -> list[tuple[str, str]]:
        return [("healthcheck", ""), ("get-version", "")]

    def do_action(self, _context: Any, action: flight.Action) -> list[bytes]:
        if action.type not in ("healthcheck", "get-version"):
            raise flight.FlightServerError(f"no such action: {action.type}")
        return [b"stand-in"] if action.type == "get-version" else []

    def get_flight_info(self, _context: Any, descriptor: flight.FlightDescriptor) -> flight.FlightInfo:
        endpoint = flight.FlightEndpoint(descriptor.command, [])
        return flight.FlightInfo(pa.schema([]), descriptor, [endpoint], -1, -1)

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.RecordBatchStream:
        if not hmac.compare_digest(context.get_middleware("headers").signature, self._service.signature(ticket.ticket)):
            raise flight.FlightUnauthenticatedError("the query is not signed by this cluster")
        query = json.loads(ticket.ticket)
        table = self._tables(query["group"])
        if query["filter"]:
            table = table.filter(_kept(table, query["filter"]))
        table = table.select(query["features"])
        return flight.RecordBatchStream(
            pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=BATCH))
        )


def _kept(table: pa.Table, logic: Mapping[str, Any]) -> Any:
    if "condition" in logic:
        return _CONDITIONS[logic["condition"]](*_sides(table, logic))
    parts = [logic.get(name) for name in ("leftFilter", "rightFilter", "leftLogic", "rightLogic")]
    kept = [_kept(table, part) for part in parts if part]
    return kept[0] if len(kept) == 1 else (pc.and_ if logic["type"] == "AND" else pc.or_)(*kept)


def _sides(table: pa.Table, condition: Mapping[str, Any]) -> tuple[Any, Any]:
    column = table.column(condition["feature"]["name"])
    return column, pa.scalar(condition["value"]).cast(column.type)


def _column(field: pa.Field, rows: Iterable[Mapping[str, Any]]) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if pa.types.is_timestamp(field.type):
        values = [_micros(value) for value in values]
        return pa.array(values, pa.int64()).cast(field.type)
    return pa.array(values, field.type)


def _micros(value: Any) -> int | None:
    if isinstance(value, datetime.datetime):
        at = value if value.tzinfo else value.replace(tzinfo=datetime.UTC)
        return (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
    return None if value is None else int(value) * 1000


def _is_free(host: str) -> bool:
    with socket.socket() as tried, suppress(OSError):
        tried.bind((host, PORT))
        return True
    return False
