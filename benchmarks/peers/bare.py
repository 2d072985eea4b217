"""The least a server can do for an answer: read a request, get the records, ask the predictor, echo.

Nothing is decoded, merged, computed or encoded: the keys, the model's matrix and the request to the predictor are ready
before it starts. What it takes over the sum of its parts, each measured by itself over and over, is what
code and data cost that were not just used.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from benchmarks.peers.echo import echo, serve
from headrace.runtime import Runtime
from headrace.stores.online import encode_keys

_MOST_READ = 1 << 16


def main() -> None:
    """Serve what the JSON file that is named says: the store, keys by group, a matrix and who is asked for it."""
    told = json.loads(Path(sys.argv[-1]).read_text())
    gets, predict = gets_of(records_at(told["store"]), told["keys"]), _predict(told)

    async def bare(scope: dict[str, Any], receive: Any, send: Any) -> None:
        gets()
        predict()
        await echo(scope, receive, send)

    serve(bare)


def records_at(store: str) -> lmdb.Environment:
    """Open an embedded store's files for nothing but gets."""
    return lmdb.open(store, readonly=True, max_dbs=16, lock=False)


def gets_of(env: lmdb.Environment, keys: dict[str, list[int]]) -> Callable[[], object]:
    """Return what gets the records of keys, by group, without decoding them."""
    wanted = [
        (env.open_db(f"group:{group}".encode(), create=False), encode_keys(np.array(of))) for group, of in keys.items()
    ]

    def gets() -> list[bytes | None]:
        with env.begin() as txn:
            return [txn.get(key, db=db) for db, of in wanted for key in of]

    return gets


def _predict(told: dict[str, Any]) -> Callable[[], object]:
    if "model" in told:
        matrix = np.load(told["matrix"], allow_pickle=False)
        model = Runtime.open(told["model"])
        return lambda: model.run(matrix)
    host, _, port = told["predictor"].rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = Path(told["request"]).read_bytes()

    def ask() -> bytes:
        connection.sendall(request)
        head, end, body = b"", b"", b""
        while not end:
            head, end, body = (head + _received(connection)).partition(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < size:
            body += _received(connection)
        return body

    return ask


def _received(connection: socket.socket) -> bytes:
    if not (part := connection.recv(_MOST_READ)):
        raise ConnectionError("the predictor hung up before its answer was whole")
    return part


if __name__ == "__main__":
    main()
