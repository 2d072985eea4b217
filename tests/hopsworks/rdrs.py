"""RonDB's REST server: ping, one feature vector, many feature vectors.

A view's columns are resolved once, a row's part of an answer is encoded once until the row changes, and an answer is
those parts joined: so that a reader is measured, not this. Statuses and shapes are those of the server's public
source: a refusal is text, and an entry of a batch that is wrong spoils its own row alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import orjson

from tests.hopsworks.metadata import Metadata
from tests.hopsworks.online import Key, Table
from tests.hopsworks.wire import Request, Response

_PREFIX = "/0.1.0/"
_INTEGERS = ("bigint", "int", "smallint", "tinyint")


class AskedWronglyError(ValueError):
    """A request RonDB REST refuses; the text is its answer's message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Part:
    """One group's columns in a vector, and by which names an entry may give its key."""

    group: int
    table: Table
    columns: tuple[str, ...]
    named: tuple[tuple[str, ...], ...]
    kinds: tuple[type, ...]
    nulls: bytes
    tells_key: bool

    def key_of(self, entry: dict[str, Any]) -> Key | None:
        """Return the row's key in an entry, None where the entry lacks it."""
        key = []
        for names, kind in zip(self.named, self.kinds, strict=True):
            value = _given(entry, names)
            if value is None:
                return None
            if type(value) is not kind:
                raise AskedWronglyError(400, f"Wrong primary-key value: {names[0]} needs {kind.__name__}")
            key.append(value)
        return tuple(key)

    def absent(self, entry: dict[str, Any]) -> bytes:
        """Return what is told of a row that is not there: nulls, but for the key."""
        if not self.tells_key:
            return self.nulls
        told = {name: _given(entry, names) for name, names in zip(self.table.key, self.named, strict=True)}
        return orjson.dumps([told.get(name) for name in self.columns])[1:-1]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a view is answered."""

    number: int
    parts: tuple[Part, ...]
    names: frozenset[str]
    metadata: tuple[tuple[str, str], ...]

    def row(self, entry: dict[str, Any], *, detailed: bool) -> tuple[bytes, bytes, bytes]:
        """Return an entry's JSON list of values, its status, and the status of each read where asked."""
        if not entry or not entry.keys() <= self.names:
            raise AskedWronglyError(400, f"Incorrect primary key: {', '.join(sorted(entry.keys() - self.names))}")
        pieces, complete = [], True
        for part in self.parts:
            key = part.key_of(entry)
            piece = None if key is None else part.table.encoded(self.number, key, part.columns)
            if piece is None:
                complete, piece = False, part.absent(entry)
            pieces.append(piece)
        status = b'"COMPLETE"' if complete else b'"MISSING"'
        return b"[" + b",".join(pieces) + b"]", status, self._reads(entry) if detailed else b""

    def row_or_error(self, entry: dict[str, Any], *, detailed: bool) -> tuple[bytes, bytes, bytes]:
        """Return what `row` does; in a batch an entry that is refused is told as an error, and the others are read."""
        try:
            return self.row(entry, detailed=detailed)
        except AskedWronglyError:
            known = bool(entry) and entry.keys() <= self.names
            row = b",".join(part.nulls for part in self.parts) if known else b""
            return b"[" + row + b"]", b'"ERROR"', b"null"

    def _reads(self, entry: dict[str, Any]) -> bytes:
        keys = [(part, part.key_of(entry)) for part in self.parts]
        return orjson.dumps(
            [
                {
                    "featureGroupId": part.group,
                    "httpStatus": 400 if key is None else 200 if key in part.table.rows else 404,
                }
                for part, key in keys
            ]
        )


class RonDBRest:
    """The server's answers; it reads what the control plane keeps."""

    def __init__(self, state: Metadata) -> None:
        self._state = state
        self._plans: dict[tuple[str, int], tuple[int, Plan]] = {}
        self.requests: deque[tuple[str, str]] = deque(maxlen=100_000)

    def answer(self, request: Request) -> Response:
        """Answer one request; a wrong key is 401, a wrong request 400, another path 404."""
        self.requests.append((request.method, request.path))
        if request.headers.get(b"x-api-key", b"").decode("latin-1") != self._state.api_key:
            return _refused(401, "Unauthorized")
        if (request.method, request.path) == ("GET", _PREFIX + "ping"):
            return Response()
        try:
            if (request.method, request.path) == ("POST", _PREFIX + "feature_store"):
                return self._single(request)
            if (request.method, request.path) == ("POST", _PREFIX + "batch_feature_store"):
                return self._batch(request)
        except AskedWronglyError as wrong:
            return _refused(wrong.status, str(wrong))
        return _refused(404, "404 page not found")

    def _single(self, request: Request) -> Response:
        told, plan, detailed = self._asked(request)
        entry = told.get("entries")
        if not isinstance(entry, dict):
            raise AskedWronglyError(400, "entries needs an object")
        row, status, reads = plan.row(entry, detailed=detailed)
        return _told(row, status, reads if detailed else b"null", _metadata(told, plan))

    def _batch(self, request: Request) -> Response:
        told, plan, detailed = self._asked(request)
        entries = told.get("entries")
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            raise AskedWronglyError(400, "entries needs a list of objects")
        passed = told.get("passedFeatures") or []
        if passed and len(passed) != len(entries):
            raise AskedWronglyError(400, "passedFeatures needs as many objects as entries")
        rows = [plan.row_or_error(entry, detailed=detailed) for entry in entries]
        features, statuses, reads = (b"[" + b",".join(part) + b"]" for part in zip(*rows, strict=True))
        return _told(features, statuses, reads if detailed else b"[]", _metadata(told, plan))

    def _asked(self, request: Request) -> tuple[dict[str, Any], Plan, bool]:
        try:
            told = orjson.loads(request.body)
        except orjson.JSONDecodeError as wrong:
            raise AskedWronglyError(400, "the body is no JSON") from wrong
        if not isinstance(told, dict) or told.get("featureStoreName") != self._state.store_name:
            raise AskedWronglyError(400, "Feature store does not exist.")
        at = (told.get("featureViewName"), told.get("featureViewVersion"))
        view = self._state.views.get(at)  # type: ignore[arg-type]
        if view is None:
            raise AskedWronglyError(400, "Feature view does not exist.")
        held = self._plans.get((view["name"], view["version"]))
        if held is None or held[0] != view["id"]:
            held = self._plans[view["name"], view["version"]] = (view["id"], plan_of(self._state, view))
        options = told.get("options") or {}
        return told, held[1], bool(options.get("includeDetailedStatus"))


def plan_of(state: Metadata, view: dict[str, Any]) -> Plan:
    """Resolve a view's columns and keys."""
    served = [feature for feature in view["features"] if not feature["label"]]
    numbers = list(dict.fromkeys(feature["featuregroup"]["id"] for feature in served))
    parts: list[Part] = []
    names: set[str] = set()
    for group in numbers:
        keys = [key for key in view["servingKeys"] if key["featureGroup"]["id"] == group]
        named = tuple(
            (key["prefix"] + key["featureName"], key["featureName"]) if key["required"] else (key["joinOn"],)
            for key in keys
        )
        names.update(name for one in named for name in one)
        table = state.online.tables.get(group)
        if table is None:
            raise AskedWronglyError(400, "A feature group of the view is not online")
        columns = tuple(f["featureGroupFeatureName"] for f in served if f["featuregroup"]["id"] == group)
        kinds = tuple(int if table.columns[key["featureName"]] in _INTEGERS else str for key in keys)
        nulls = b",".join([b"null"] * len(columns))
        parts.append(Part(group, table, columns, named, kinds, nulls, not set(columns).isdisjoint(table.key)))
    told = tuple((feature["name"], feature["type"]) for feature in served)
    return Plan(view["id"], tuple(parts), frozenset(names), told)


def _given(entry: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in entry:
            return entry[name]
    return None


def _metadata(told: dict[str, Any], plan: Plan) -> bytes:
    asked = told.get("metadataOptions")
    if not asked:
        return b"[]"
    return orjson.dumps(
        [
            {
                "featureName": name if asked.get("featureName") else None,
                "featureType": kind if asked.get("featureType") else None,
            }
            for name, kind in plan.metadata
        ]
    )


def _told(features: bytes, status: bytes, reads: bytes, metadata: bytes) -> Response:
    body = (b'{"features":', features, b',"metadata":', metadata, b',"status":', status, b',"detailedStatus":', reads)
    return Response(body=b"".join((*body, b"}")))


def _refused(status: int, message: str) -> Response:
    return Response(status, message.encode(), b"text/plain")
