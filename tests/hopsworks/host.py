"""The cluster's own process: its servers on one loop, its broker beside it, and the line that tells where they are."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import uvloop

from headrace.cli.broker import local_broker
from tests.hopsworks.admin import Calls
from tests.hopsworks.control import ControlPlane
from tests.hopsworks.ingestion import Ingestion
from tests.hopsworks.mariadb import PORT, Database, running
from tests.hopsworks.metadata import Metadata
from tests.hopsworks.offline import QueryService
from tests.hopsworks.rdrs import RonDBRest
from tests.hopsworks.wire import Server

_HERE = "127.0.0.1"


@contextmanager
def hosted(home: Path, *, kafka: bool, sql: bool) -> Iterator[tuple[Metadata, asyncio.AbstractEventLoop]]:
    """Make the cluster's state, and a loop to serve it on; broker and MariaDB run as long as the block where asked."""
    home.mkdir(parents=True, exist_ok=True)
    with ExitStack() as until, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        state = Metadata(home)
        if kafka:
            state.kafka = until.enter_context(local_broker(home / "kafka"))
        if sql:
            host = until.enter_context(running(home / "sql"))
            state.sql, state.mysql = until.enter_context(closing(Database(host, state.project))), f"{host}:{PORT}"
        yield state, runner.get_loop()


async def serve(state: Metadata, ended: asyncio.Event, announce: Any, rest_port: int = 0) -> None:
    """Run every server until `ended`; `announce` is told where they listen, as plain data.

    `rest_port` is that of RonDB's REST server by TLS, 0 any free one. Raises OSError where it is taken.
    """
    ca_file, server_file = state.authority.write(state.home)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server_file)
    control_plane, rest = ControlPlane(state), RonDBRest(state)
    ingestion = Ingestion(state, asyncio.get_running_loop()) if state.kafka else None
    if ingestion is not None:
        state.create_topic, state.behind = ingestion.create_topic, ingestion.behind
    state.queries = QueryService(state.authority, lambda group: state.offline.table(state.group_of(group)))
    control = Server(control_plane.answer, _HERE, tls)
    plain, secure = Server(rest.answer, _HERE), Server(rest.answer, _HERE, tls, rest_port)
    calls = Calls(state, control_plane, rest, ingestion, {"control": (control,), "rdrs": (plain, secure)})
    admin = Server(calls.answer, _HERE)
    servers = (control, plain, secure, admin)
    for server in servers:
        await server.listen()
    announce(
        {
            "host": _HERE,
            "port": control.port,
            "project": state.project,
            "api_key": state.api_key,
            "ca_file": str(ca_file),
            "rdrs_port": plain.port,
            "rdrs_tls_port": secure.port,
            "admin_port": admin.port,
            "kafka": state.kafka,
            "mysql": state.mysql,
        }
    )
    await ended.wait()
    for server in servers:
        server.close()
    if state.queries is not None:
        state.queries.close()
    if ingestion is not None:
        ingestion.close()
