"""Avro through a topic: schemas from a file and from a registry, writers that change, and what is no event."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import fastavro
import pytest

from feature_pipelines.files import SourceError
from feature_pipelines.formats import AvroReader, JsonReader
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.kafka.cluster import piped, refused, source, within
from tests.feature_pipelines.small import MINUTE, STREAM, contents

TIME = {"type": "long", "logicalType": "timestamp-millis"}
FIRST = {
    "type": "record", "name": "Payment",
    "fields": [
        {"name": "card", "type": "long"}, {"name": "at", "type": TIME}, {"name": "amount", "type": ["null", "double"]},
    ],
}  # fmt: skip
#: A writer that later adds a column we want, one that we do not know, and orders them otherwise.
SECOND = {
    "type": "record", "name": "Payment",
    "fields": [
        {"name": "shop", "type": {"type": "array", "items": "string"}}, {"name": "note", "type": "string"},
        {"name": "amount", "type": "float"}, {"name": "at", "type": "long"}, {"name": "card", "type": "int"},
    ],
}  # fmt: skip
#: And one that takes away what we need.
THIRD = {
    "type": "record",
    "name": "Payment",
    "fields": [{"name": "card", "type": "long"}, {"name": "at", "type": "long"}],
}
RECURSIVE = {"type": "record", "name": "L", "fields": [{"name": "n", "type": ["null", "L"]}]}
SCHEMAS: dict[int, Any] = {1: FIRST, 2: SECOND, 3: THIRD, 5: "string", 6: RECURSIVE, 7: {"$schema": "json"}}


def avro(schema: Any, row: Any) -> bytes:
    """Return a record as a writer of this schema writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), row)
    return out.getvalue()


def framed(number: int, row: Any) -> bytes:
    """Return a record after the number of its schema."""
    return struct.pack(">bI", 0, number) + avro(SCHEMAS[number], row)


@contextmanager
def registry() -> Iterator[tuple[str, list[str]]]:
    """Serve the schemas as a registry does; yield its URL and the paths that it was asked for."""
    asked: list[str] = []

    class Schemas(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            number = int(self.path.removeprefix("/schemas/ids/"))
            self.send_response(200 if number in SCHEMAS else 500 if number == 50 else 404)
            self.end_headers()
            if number in SCHEMAS:
                self.wfile.write(json.dumps({"schema": json.dumps(SCHEMAS[number])}).encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Schemas)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()
    server.server_close()


ROWS = [{"card": n % 3, "at": n * 1_000, "amount": n / 4} for n in range(30)]


def stored(cluster: Any, folder: Any, values: list[bytes | None], reader: Any) -> tuple[MemoryStore, Any]:
    """Stream values through a topic into a store."""
    address, store = cluster.topic(), MemoryStore()
    cluster.put_values(address, values)
    run = piped(source(address, reader), store, folder / f"letters-{address.topic}")
    run.run(7, stop=within())
    run.source.close()
    return store, run


def test_avro_of_a_schema_file_is_what_json_is(cluster, tmp_path):
    schema = tmp_path / "payment.avsc"
    schema.write_text(json.dumps(FIRST))
    as_json, _ = stored(cluster, tmp_path, [json.dumps(row).encode() for row in ROWS], JsonReader(STREAM.names))
    as_avro, run = stored(cluster, tmp_path, [avro(FIRST, row) for row in ROWS], AvroReader(STREAM.names, schema))
    assert as_avro._records == as_json._records
    assert run.report.dead == 0
    assert contents(as_avro, range(3), 10 * MINUTE)[:, 4].sum() == 30
    bad: list[bytes | None] = [None, b"\x02", avro(FIRST, ROWS[1]) + b"!", avro(FIRST, {**ROWS[2], "amount": None})]
    _, run = stored(cluster, tmp_path, bad, AvroReader(STREAM.names, schema))
    assert [reason for reason, _ in refused(run.letters)] == [
        "amount is missing, an event of payments needs it",
        "the event is empty",
        "the event is longer than its Avro schema",
        "the event is not of its Avro schema",
    ]


def test_a_writer_changes_its_schema_amid_the_stream(cluster, tmp_path):
    later = [{**row, "shop": ["a"], "note": "x"} for row in ROWS[10:]]
    values: list[bytes | None] = [framed(1, row) for row in ROWS[:10]] + [framed(2, row) for row in later]
    whole, _ = stored(cluster, tmp_path, [json.dumps(row).encode() for row in ROWS], JsonReader(STREAM.names))
    with registry() as (url, asked):
        changed, run = stored(cluster, tmp_path, values, AvroReader(STREAM.names, registry=url))
        assert changed._records == whole._records
        assert asked == ["/schemas/ids/1", "/schemas/ids/2"]
        _, run = stored(cluster, tmp_path, [framed(3, row) for row in ROWS], AvroReader(STREAM.names, registry=url))
    assert run.report.reasons == {"amount is missing": 30}


def test_what_a_registry_does_not_know_is_a_dead_letter_and_the_stream_goes_on(cluster, tmp_path):
    nested = struct.pack(">bI", 0, 6) + b"\x02" * 200_000 + b"\0"  # would overflow the stack of a reader
    values: list[bytes | None] = [
        None, b"{}", struct.pack(">bI", 0, 4) + b"x", framed(5, "text"), nested,
        struct.pack(">bI", 0, 7), framed(1, ROWS[1]),
    ]  # fmt: skip
    with registry() as (url, _):
        _, run = stored(cluster, tmp_path, values, AvroReader(STREAM.names, registry=url))
    reasons = [letter.reason for letter in run.letters.read()]
    assert reasons[:4] == [
        "the event is empty",
        "the event does not begin with the number of its schema",
        "the registry has no schema 4",
        "the event's Avro schema is no record",
    ]
    assert reasons[4].startswith("schema 6 refers to itself, and a message of it could be nested without end")
    assert reasons[5].startswith("schema 7 is no Avro schema: ")
    assert run.report.events == 7


def test_a_registry_that_does_not_answer_stops_the_run_before_the_batch_counts(cluster, tmp_path):
    with registry() as (url, _):
        with pytest.raises(SourceError, match="the schema registry did not give schema 50: HTTP Error 500"):
            stored(cluster, tmp_path, [struct.pack(">bI", 0, 50) + b"x"], AvroReader(STREAM.names, registry=url))
        address, store = cluster.topic(), MemoryStore()
        cluster.put_values(address, [framed(1, ROWS[0])] * 3)
    run = piped(source(address, AvroReader(STREAM.names, registry=url)), store, tmp_path / "l")
    with pytest.raises(SourceError, match=r"the schema registry did not give schema 1: .*refused"):
        run.run(stop=within())
    run.source.close()
    assert store.counts("payments") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "bad.avsc is no Avro schema: Expecting"),
        ('{"type": "record"}', 'bad.avsc is no Avro schema: "name" is a required field'),
        (json.dumps(RECURSIVE), "bad.avsc refers to itself"),
    ],
)
def test_a_schema_that_cannot_be_read_is_refused(tmp_path, text, message):
    (tmp_path / "bad.avsc").write_text(text)
    with pytest.raises(SourceError, match=message):
        AvroReader(STREAM.names, tmp_path / "bad.avsc")
