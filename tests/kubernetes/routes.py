"""The HTTP side of the server: addresses into the store, answers and refusals as the API writes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.kubernetes.fields import Conflicts, text_of
from tests.kubernetes.kinds import Address, Kind, addressed, discovered
from tests.kubernetes.store import Change, Key, Store

TOKEN = "stand-in-token"
_USER = "system:serviceaccount:shop:deployer"
_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class Said(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
        self.status, self.body = status, {**body, "code": status, "details": dict(details or {})}


@dataclass
class Rules:
    """What a test makes the server do: refuse, hang, warn, forget old versions; and what pods answer."""

    forbidden: set[tuple[str, str]] = field(default_factory=set)  # verb and resource
    refused: dict[str, str] = field(default_factory=dict)  # the name of an object, and why
    hung: set[tuple[str, str]] = field(default_factory=set)  # verb and resource: no answer until the server ends
    unknown: set[str] = field(default_factory=set)  # names of fields of a specification that no schema has
    busy: int = 0  # how many requests are told to come again later
    warnings: dict[str, str] = field(default_factory=dict)  # the name of an object, and of what
    metrics: dict[str, str] = field(default_factory=dict)  # a pod's name and port, and what it answers
    forgotten: bool = False  # a watch may not begin in the past
    asked: list[str] = field(default_factory=list)  # every request: verb and resource/name


class Api:
    """The routes of one server."""

    def __init__(self, store: Store, kinds: list[Kind], rules: Rules) -> None:
        self.store, self.kinds, self.rules = store, kinds, rules
        self.ended = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        try:
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise Said(401, "Unauthorized", "Unauthorized")
            if "/proxy/" in request.path:
                return self._proxied(request.path)
            if (listed := discovered(request.path, self.kinds)) is not None:
                return web.json_response(listed)
            found = addressed(request.path, self.kinds)
            if found is None:
                raise Said(404, "NotFound", "the server could not find the requested resource")
            return await self._routed(request, found)
        except Said as said:
            headers = {"Retry-After": "0"} if said.status == 429 else {}
            return web.json_response(said.body, status=said.status, headers=headers)

    def end(self) -> None:
        """Let go of every request that waits."""
        self.ended.set()
        for queue in self.store.watchers:
            queue.put_nowait(None)

    async def _routed(self, request: web.Request, at: Address) -> web.StreamResponse:
        watched = request.query.get("watch") in ("true", "True", "1")
        verb = "watch" if watched else "list" if request.method == "GET" and not at.name else _VERBS[request.method]
        self.rules.asked.append(f"{verb} {at.kind.plural}" + (f"/{at.name}" if at.name else ""))
        await self._ruled(verb, at)
        if watched:
            return await self._watch(request, at)
        if verb == "list":
            return self._list(request, at)
        key = (at.kind.plural, at.namespace or "", at.name or "")
        self._space(at)
        if verb == "get":
            return web.json_response(self._there(at, key))
        if verb == "delete":
            gone = self.store.delete(key)
            return web.json_response(gone if gone is not None else self._there(at, key))
        return self._write(verb, at, key, await request.text(), request)

    async def _ruled(self, verb: str, at: Address) -> None:
        if self.rules.busy:
            self.rules.busy -= 1
            raise Said(429, "TooManyRequests", "the server has received too many requests")
        if (verb, at.kind.plural) in self.rules.hung:
            await self.ended.wait()
        if (verb, at.kind.plural) in self.rules.forbidden:
            where = f'in the namespace "{at.namespace}"' if at.namespace else "at the cluster scope"
            named = f' "{at.name}"' if at.name else ""
            raise Said(
                403,
                "Forbidden",
                f'{at.kind.resource}{named} is forbidden: User "{_USER}" cannot {verb} resource "{at.kind.plural}" '
                f'in API group "{at.kind.group}" {where}',
            )

    def _write(self, verb: str, at: Address, key: Key, text: str, request: web.Request) -> web.Response:
        body = json.loads(text)
        name = key[2] or body["metadata"]["name"]
        if name in self.rules.refused:
            raise Said(
                422, "Invalid", f'{at.kind.kind}.{at.kind.group} "{name}" is invalid: {self.rules.refused[name]}'
            )
        if request.query.get("fieldValidation") == "Strict" and (unknown := self.rules.unknown & _names(body)):
            raise Said(400, "BadRequest", f'strict decoding error: unknown field "spec.{min(unknown)}"')
        dry_run, manager = request.query.get("dryRun") == "All", request.query.get("fieldManager", "unknown")
        headers = {"Warning": f"299 - {json.dumps(self.rules.warnings[name])}"} if name in self.rules.warnings else {}
        if verb == "create":
            key = (key[0], key[1], name)
            if key in self.store.objects:
                raise Said(409, "AlreadyExists", f'{at.kind.resource} "{name}" already exists')
            return web.json_response(self.store.update(at.kind, key, body, manager), status=201)
        if "apply-patch" in request.content_type:
            made, new = self._apply(at.kind, key, body, manager, request.query.get("force") == "true", dry_run)
            return web.json_response(made, status=201 if new else 200, headers=headers)
        held = _patched(deepcopy(self._there(at, key)), body)
        return web.json_response(self.store.update(at.kind, key, held, manager, dry_run=dry_run))

    def _apply(self, kind: Kind, key: Key, body: Any, manager: str, force: bool, dry_run: bool) -> tuple[Any, bool]:
        try:
            return self.store.apply(kind, key, body, manager, force=force, dry_run=dry_run)
        except Conflicts as conflicts:
            causes = [
                {
                    "reason": "FieldManagerConflict",
                    "message": f'conflict with "{other}" using {kind.api_version}',
                    "field": text_of(path),
                }
                for other, path in conflicts.found
            ]
            count = f"{len(causes)} conflict{'s' if len(causes) > 1 else ''}"
            message = f"Apply failed with {count}: {causes[0]['message']}: {causes[0]['field']}"
            raise Said(409, "Conflict", message, {"causes": causes}) from conflicts

    def _space(self, at: Address) -> None:
        if at.namespace and self.store.get("namespaces", at.namespace) is None:
            raise Said(404, "NotFound", f'namespaces "{at.namespace}" not found')

    def _there(self, at: Address, key: Key) -> Any:
        if (found := self.store.objects.get(key)) is None:
            raise Said(404, "NotFound", f'{at.kind.resource} "{key[2]}" not found')
        return found

    def _list(self, request: web.Request, at: Address) -> web.Response:
        matches = _selecting(request)
        found = [each for each in self.store.of(at.kind.plural, at.namespace) if matches(each)]
        limit, begin = int(request.query.get("limit", 0)) or len(found), int(request.query.get("continue", 0))
        metadata = {"resourceVersion": str(self.store.version)}
        if begin + limit < len(found):
            metadata["continue"] = str(begin + limit)
        items = [
            {key: value for key, value in each.items() if key not in ("apiVersion", "kind")}
            for each in found[begin : begin + limit]
        ]
        listed = {
            "kind": f"{at.kind.kind}List",
            "apiVersion": at.kind.api_version,
            "metadata": metadata,
            "items": items,
        }
        return web.json_response(listed)

    async def _watch(self, request: web.Request, at: Address) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        queue: asyncio.Queue[Change | None] = asyncio.Queue()
        try:
            await stream.prepare(request)
            first = self._first(request, at)
            self.store.watchers.add(queue)
            for told in first:
                await stream.write(json.dumps(told).encode() + b"\n")
            if first and first[-1]["type"] == "ERROR":
                return stream
            async with asyncio.timeout(float(request.query.get("timeoutSeconds", 60))):
                while (change := await queue.get()) is not None:
                    if _of(change, at) and _selecting(request)(change.object):
                        told = {"type": change.word, "object": change.object}
                        await stream.write(json.dumps(told).encode() + b"\n")
        except (TimeoutError, ConnectionResetError):
            pass
        finally:
            self.store.watchers.discard(queue)
        return stream

    def _first(self, request: web.Request, at: Address) -> list[dict[str, Any]]:
        """Return what a watch tells before anything happens: what is there, or what happened since its version."""
        since, matches = int(request.query.get("resourceVersion") or 0), _selecting(request)
        if request.query.get("sendInitialEvents") == "true":
            held = [each for each in self.store.of(at.kind.plural, at.namespace) if matches(each)]
            ended = {"k8s.io/initial-events-end": "true"}
            mark = {"metadata": {"resourceVersion": str(self.store.version), "annotations": ended}}
            bookmark = {"type": "BOOKMARK", "object": {"apiVersion": at.kind.api_version, "kind": at.kind.kind, **mark}}
            return [*({"type": "ADDED", "object": each} for each in held), bookmark]
        if self.rules.forgotten:
            self.rules.forgotten = False
            gone = Said(410, "Expired", f"too old resource version: {since} ({self.store.version})")
            return [{"type": "ERROR", "object": gone.body}]
        later = (change for change in self.store.changes if change.version > since and _of(change, at))
        return [{"type": change.word, "object": change.object} for change in later if matches(change.object)]

    def _proxied(self, path: str) -> web.Response:
        pod = path.split("/pods/")[1].split("/")[0]
        self.rules.asked.append(f"get pods/proxy/{pod}")
        if ("get", "pods/proxy") in self.rules.forbidden:
            raise Said(403, "Forbidden", f'pods "{pod}" is forbidden: User "{_USER}" cannot get resource "pods/proxy"')
        if pod not in self.rules.metrics:
            raise Said(503, "ServiceUnavailable", "error trying to reach service: connection refused")
        return web.Response(text=self.rules.metrics[pod])


def _of(change: Change, at: Address) -> bool:
    return change.key[:2] == (at.kind.plural, at.namespace or change.key[1])


def _selecting(request: web.Request) -> Callable[[Mapping[str, Any]], bool]:
    labels, fields = (_pairs(request.query.get(name, "")) for name in ("labelSelector", "fieldSelector"))

    def matches(of: Mapping[str, Any]) -> bool:
        held = of["metadata"].get("labels") or {}
        named = all(key in held and value in ("", held[key]) for key, value in labels)
        return named and all(_field(of, path) == value for path, value in fields)

    return matches


def _pairs(selector: str) -> list[tuple[str, str]]:
    return [(key, value) for key, _, value in (part.partition("=") for part in selector.split(",") if part)]


def _field(of: Any, path: str) -> Any:
    for step in path.split("."):
        of = of.get(step, "")
    return of


def _names(body: Mapping[str, Any]) -> set[str]:
    return set(body.get("spec") or {})


def _patched(held: Any, change: Mapping[str, Any]) -> Any:
    for key, value in change.items():
        if value is None:
            held.pop(key, None)
        elif isinstance(value, dict):
            held[key] = _patched(held.get(key) or {}, value)
        else:
            held[key] = value
    return held
