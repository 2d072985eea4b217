"""What a test may ask of a running cluster and do to it, as calls in JSON over a socket of their own.

Bytes travel as `{"$bytes": base64}`.
"""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from tests.hopsworks.control import ControlPlane
from tests.hopsworks.faults import SERVERS, Fault
from tests.hopsworks.ingestion import Ingestion
from tests.hopsworks.metadata import Metadata, new_key
from tests.hopsworks.rdrs import RonDBRest
from tests.hopsworks.routes import RefusedError
from tests.hopsworks.wire import Request, Response, Server


def packed(told: Any) -> bytes:
    """Return JSON in which bytes are marked."""
    return orjson.dumps(told, default=_marked, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def unpacked(body: bytes) -> Any:
    """Return what `packed` was given."""
    return _unmarked(orjson.loads(body))


class Calls:
    """The calls, by name; each takes and returns plain data."""

    def __init__(
        self,
        state: Metadata,
        control: ControlPlane,
        rest: RonDBRest,
        ingestion: Ingestion | None,
        servers: dict[str, tuple[Server, ...]],
    ) -> None:
        self._state, self._control, self._rest = state, control, rest
        self._ingestion, self._servers = ingestion, servers
        self.calls: dict[str, Callable[..., Any]] = {
            name: getattr(self, name) for name in dir(self) if not name.startswith("_") and name != "answer"
        }

    async def answer(self, request: Request) -> Response:
        """Answer one call; what was refused or asked wrongly is 400 with its text."""
        told = unpacked(request.body)
        try:
            result = self.calls[told["name"]](**told["args"])
            if inspect.isawaitable(result):
                result = await result
        except RefusedError as refused:
            return Response(400, packed(f"{refused} {refused.body['usrMsg']}"))
        except (KeyError, TypeError, ValueError, TimeoutError) as wrong:
            return Response(400, packed(f"{type(wrong).__name__}: {wrong}"))
        return Response(body=packed(result))

    def put(self, feature_group: str, version: int, rows: list[dict[str, Any]]) -> int:
        """Upsert rows by hand and return how many the group has."""
        table = self._state.online.tables[self._state.group(feature_group, version)["id"]]
        for row in rows:
            table.upsert(row)
        self._state.settle()
        return len(table.rows)

    def put_offline(self, feature_group: str, version: int, rows: list[dict[str, Any]]) -> int:
        """Write rows into the offline store by hand and return how many the group has there."""
        group = self._state.group(feature_group, version)
        self._state.offline.upsert(group, rows)
        return self._state.offline.count(group)

    def stop_queries(self, told: bool = True) -> None:
        """End the query service; where it is not told, the cluster still says that it has one."""
        if self._state.queries:
            self._state.queries.close()
        if told:
            self._state.queries = None

    def delete(self, feature_group: str, version: int, keys: list[list[Any]]) -> None:
        """Take rows away by hand."""
        table = self._state.online.tables[self._state.group(feature_group, version)["id"]]
        for key in keys:
            table.delete(tuple(key))
        self._state.settle()

    def rows(self, feature_group: str, version: int) -> list[dict[str, Any]]:
        """Return every online row."""
        return list(self._state.online.tables[self._state.group(feature_group, version)["id"]].rows.values())

    def feature_group(self, name: str, version: int) -> dict[str, Any]:
        """Return what is known of a feature group."""
        return self._state.group(name, version)

    def feature_view(self, name: str, version: int) -> dict[str, Any]:
        """Return what is known of a feature view."""
        return self._state.view(name, version)

    def requests(self, server: str) -> list[tuple[str, str]]:
        """Return the methods and paths that a server was asked, oldest first."""
        return list(self._control.requests if server == "control" else self._rest.requests)

    def forget_requests(self) -> None:
        """Empty both logs of requests."""
        self._control.requests.clear()
        self._rest.requests.clear()

    def unknown(self) -> list[tuple[str, str]]:
        """Return the requests that no route knew."""
        return self._control.unknown

    async def set_fault(self, server: str, fault: dict[str, Any]) -> None:
        """Change a server's fault, keeping what is not named."""
        for one in self._servers[server]:
            await one.misbehave(replace(one.fault, **fault))

    async def clear_faults(self, server: str = "") -> None:
        """Let a server behave again, or all."""
        for name in (server,) if server else SERVERS:
            for one in self._servers[name]:
                await one.misbehave(Fault())

    def rotate_key(self, key: str = "") -> str:
        """Put another API key in place of that known, and return it; the old one is refused from now on."""
        self._state.api_key = key or new_key()
        return self._state.api_key

    def ingested(self, feature_group: str, version: int) -> int:
        """Return how many messages of the group's topic were applied."""
        return self._state.online.tables[self._state.group(feature_group, version)["id"]].ingested

    def refused(self) -> list[str]:
        """Return why messages were refused, oldest first."""
        return [] if self._ingestion is None else self._ingestion.refused

    def delay_ingestion(self, seconds: float) -> None:
        """Apply each message only so long after it was read."""
        self._ingesting().delay_s = seconds

    async def wait_ingested(self, feature_group: str, version: int, count: int, within_s: float) -> int:
        """Return the group's count once it is at least `count`; TimeoutError otherwise."""
        return await self._ingesting().reached(self._state.group(feature_group, version)["id"], count, within_s)

    def _ingesting(self) -> Ingestion:
        if self._ingestion is None:
            raise ValueError("this cluster runs without Kafka")
        return self._ingestion


def _marked(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    raise TypeError(f"{type(value).__name__} is not plain data")


def _unmarked(told: Any) -> Any:
    if isinstance(told, dict):
        if told.keys() == {"$bytes"}:
            return base64.b64decode(told["$bytes"])
        return {name: _unmarked(value) for name, value in told.items()}
    if isinstance(told, list):
        return [_unmarked(value) for value in told]
    return told
