"""Inferences over HTTP that are read, asked and answered without a task: the way most requests go.

A task, its futures and the coroutines between them cost as much as all else that is done for a small request. Where
the model is Askable and the body is as it was sent, the same steps are called one after the other here;
what is said is what the application says.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast
from urllib.parse import quote

from headrace.open_inference.codec.bodies import encode_response
from headrace.open_inference.errors import DeadlinePassed, OpenInferenceError
from headrace.open_inference.gate import Gate, late
from headrace.open_inference.rest.answers import Answer, refusal
from headrace.open_inference.rest.coding import PACK_FROM
from headrace.open_inference.rest.inferences import Headers, allowed_s, answer_of, id_of, packed_for, read_request
from headrace.open_inference.servable import Askable, Servable, Withdrawable
from headrace.open_inference.shield import outcome, shielded
from headrace.open_inference.statistics import Counts, now_ns, rows_in
from headrace.open_inference.tensors import InferRequest, InferResponse

if TYPE_CHECKING:
    from headrace.open_inference.rest.http_exchange import Exchange
    from headrace.open_inference.rest.http_protocol import Connection

_LEFT = 499  # whoever asked has gone
_VERSION = re.compile(rb"(.*)/versions/([\w.-]+)/infer")


class _Model(Servable, Askable, Protocol):
    pass


class _Asked(NamedTuple):
    """What a path asks: a model as it serves now, and the name and the version that the path has for it."""

    servable: _Model
    name: str
    version: str


class Direct:
    """The models of a gate that are answered so, by the bytes of their usual paths."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        names = [name for name in gate.servables if quote(name, safe=":") == name]
        self._names = {f"/v2/models/{name}".encode(): name for name in names}
        self._paths = {path + b"/infer": name for path, name in self._names.items()}

    def of(self, exchange: Exchange, connection: Connection) -> Inference | None:
        """Return a request's inference, to be started; None for any other request, which the application answers."""
        scope = exchange.scope
        if scope["method"] != "POST":
            return None
        headers = dict(scope["headers"])
        if b"content-encoding" in headers or (asked := self._asked(scope["raw_path"])) is None:
            return None
        return Inference(self.gate, asked, headers, exchange, connection)

    def _asked(self, path: bytes) -> _Asked | None:
        name, version = self._paths.get(path), ""
        if name is None:
            found = _VERSION.fullmatch(path)
            name = self._names.get(found[1]) if found is not None else None
            if found is None or name is None:
                return None
            version = found[2].decode()
        servable = outcome(self.gate.model, name, version)
        return _Asked(cast(_Model, servable), name, version) if hasattr(servable, "ask") else None


class Inference:
    """One of them, under way from `start` until it is answered, late (`expire`) or given up (`cancel`)."""

    __slots__ = (
        "_asked",
        "_began",
        "_connection",
        "_counts",
        "_decoded",
        "_exchange",
        "_gate",
        "_headers",
        "_name",
        "_packing",
        "_request",
        "_servable",
        "_version",
        "instant",
    )

    def __init__(self, gate: Gate, asked: _Asked, headers: Headers, exchange: Exchange, connection: Connection) -> None:
        self._gate, self._headers = gate, headers
        self._servable, self._name, self._version = asked
        self._exchange, self._connection = exchange, connection
        self._began = self._decoded = 0
        self._asked: Withdrawable | None = None
        self._packing: asyncio.Task[None] | None = None
        self._counts: Counts | None = None  # until it is counted there
        self._request: InferRequest | None = None
        self.instant = 0.0

    def start(self) -> None:
        """Read the request and ask the model; a refusal is written at once."""
        self._began = now_ns()
        if (refused := outcome(self._ask)) is not None:
            self._refuse(refused)
            return
        self._gate.in_flight += 1
        self._gate.alarm.begin(self, asyncio.get_running_loop())

    def expire(self) -> None:
        """Answer that it took too long."""
        self._withdraw()
        self._refuse(late(self._servable))

    def cancel(self) -> None:
        """Give it up: whoever asked has gone."""
        if self._asked is not None:
            self._gate.alarm.end(self)
            self._withdraw()
        if self._packing is not None:
            self._packing.cancel()
        self._count_refused()
        self._tell(_LEFT)

    def _ask(self) -> None:
        gate, servable, headers = self._gate, self._servable, self._headers
        deadline = gate.deadline(allowed_s(headers))
        self._counts = gate.statistics.of(servable, self._version)
        request = read_request(self._name, self._version, servable, headers, self._exchange.body, gate.forwards)
        self._request, self._decoded = request, now_ns()
        self.instant = gate.admitted(servable, request, deadline)
        self._asked = servable.ask(request, self.instant, self._answered)

    def _withdraw(self) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        self._gate.in_flight -= 1
        asked.cancel()

    def _answered(self, found: InferResponse | BaseException) -> None:
        gate, request = self._gate, self._request
        self._asked = None
        gate.in_flight -= 1
        gate.alarm.end(self)
        if isinstance(found, asyncio.CancelledError):  # the process ends
            self.cancel()
            self._exchange.left(self._connection.everyone)
            self._connection.answered(self._exchange)
            return
        assert request is not None
        assert self._counts is not None
        inferred = now_ns()
        answer = outcome(_answer, found, request)
        if isinstance(answer, OpenInferenceError):
            self._refuse(answer)
            return
        self._counts.answered(rows_in(request), self._began, self._decoded, inferred)
        self._counts = None
        if len(answer[2]) >= PACK_FROM and b"accept-encoding" in self._headers:
            self._packing = asyncio.get_running_loop().create_task(self._pack(answer))
        else:
            self._write(answer)

    async def _pack(self, answer: Answer) -> None:
        try:
            answer = await shielded(packed_for(answer, self._headers))
        except OpenInferenceError as fault:
            self._refuse(fault)
        else:
            self._write(answer)

    def _write(self, answer: Answer) -> None:
        self._tell(200)
        self._exchange.answer(self._connection, answer)

    def _refuse(self, refused: OpenInferenceError) -> None:
        if isinstance(refused, DeadlinePassed):
            refused = self._gate.timed(refused, allowed_s(self._headers), self._request)
        refused.request_id = (self._request.id if self._request is not None else "") or id_of(self._headers)
        self._count_refused()
        self._gate.tell_refused(self._name, refused, (now_ns() - self._began) / 1e9)
        self._tell(refused.http_status)
        self._exchange.answer(self._connection, refusal(refused))

    def _count_refused(self) -> None:
        if self._counts is not None:
            self._counts.refused(self._began)

    def _tell(self, status: int) -> None:
        if self._gate.observe is not None:
            self._gate.observe(self._name, status, (now_ns() - self._began) / 1e9)


def _answer(found: InferResponse | BaseException, request: InferRequest) -> Answer:
    if isinstance(found, BaseException):
        raise found
    return answer_of(*encode_response(found, request))
