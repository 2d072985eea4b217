"""The gate every request passes, over HTTP or gRPC: which model, is it ready, is there room, until when."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from headrace.open_inference.alarms import Alarm
from headrace.open_inference.bodies_held import BodiesHeld
from headrace.open_inference.errors import (
    DeadlinePassed,
    InternalError,
    InvalidRequest,
    NotReady,
    OpenInferenceError,
    Overloaded,
    UnknownModel,
)
from headrace.open_inference.forwarding import Forwards
from headrace.open_inference.servable import Servable
from headrace.open_inference.statistics import Statistics
from headrace.open_inference.tensors import InferRequest, InferResponse

Answer = TypeVar("Answer")
_NAME = re.compile(r"[\w.:-]+")


@dataclass(slots=True)
class Gate:
    """The models of one process, how long a request may take, and how many may be under way.

    `observe(model, status, seconds)` is told of every inference, refused ones included; an unknown
    model has the name "". `draining` is set when the process is about to stop: it is then not ready, but still answers.
    `forwards` names the headers that go on to whom a model asks. `others` tells why those who serve the same port are
    not ready, where there are any. `held` is what there is of bodies.
    `refused(model, why, seconds)` is told of every refusal, for a log.
    """

    servables: Mapping[str, Servable]
    default_deadline_s: float = 5.0
    max_in_flight: int = 512
    draining: bool = False
    in_flight: int = 0
    observe: Callable[[str, int, float | None], None] | None = None
    statistics: Statistics = field(default_factory=Statistics)
    others: Callable[[], str | None] | None = None
    forwards: Forwards = ()
    refused: Callable[[str, OpenInferenceError, float], None] | None = None
    alarm: Alarm = field(default_factory=Alarm)
    held: BodiesHeld = field(default_factory=BodiesHeld)

    def model(self, name: str, version: str = "") -> Servable:
        """Return a model, or raise UnknownModel; an empty version means the model's own choice."""
        servable = self.servables.get(name)
        if servable is None:
            # What no model could be called is not said back: it was meant for another place.
            said = f"model {name[:200]!r}" if _NAME.fullmatch(name) else "the model that is named"
            raise UnknownModel(f"{said} is unknown, needs one of {', '.join(self.servables) or 'none'}")
        if version and version not in servable.versions:
            known = ", ".join(servable.versions)
            needed = f"needs one of {known}" if known else "and no versions at all: needs to be asked without one"
            raise UnknownModel(f"model {name!r} has no version {version[:50]!r}, {needed}")
        chosen = getattr(servable, "at", None)
        return servable if chosen is None else chosen(version)

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Return name, version, state and reason of every version of every model, or of those that are ready."""
        found = []
        for name, servable in self.servables.items():
            reason = servable.readiness()
            if reason is None or not ready:
                state = {"state": "READY" if reason is None else "UNAVAILABLE", "reason": reason or ""}
                found += [{"name": name, "version": version, **state} for version in servable.versions or ("",)]
        return found

    def why_not_ready(self) -> str | None:
        """Return None when every model is ready and the process is to stay, else the first reason."""
        if self.draining:
            return "the server is about to stop"
        return self.own_reason() or (self.others() if self.others is not None else None)

    def own_reason(self) -> str | None:
        """Return None when every model of this process is ready, else the first reason."""
        for name, servable in self.servables.items():
            reason = servable.readiness()
            if reason is not None:
                return f"model {name!r} is not ready: {reason}"
        return None

    def deadline(self, allowed_s: float | None = None) -> float:
        """Return the instant of the loop's clock until which a request that starts now may take."""
        return asyncio.get_running_loop().time() + (self.default_deadline_s if allowed_s is None else allowed_s)

    async def infer(
        self, servable: Servable, request: InferRequest, deadline: float, allowed_s: float | None = None
    ) -> InferResponse:
        """Ask a model, if it is ready and there is room, until the deadline, or sooner where its `timeout` says so.

        `allowed_s` is what the deadline was made from.
        """
        deadline = self.admitted(servable, request, deadline)
        try:
            return await self._within(deadline, servable, servable.infer(request, deadline))
        except DeadlinePassed as passed:
            raise self.timed(passed, allowed_s, request) from None
        except OpenInferenceError as refused:
            refused.request_id = request.id
            raise

    def admitted(self, servable: Servable, request: InferRequest, deadline: float) -> float:
        """Return a request's deadline, sooner where its `timeout` says so; NotReady, Overloaded or InvalidRequest."""
        self._admit(servable)
        if "timeout" in request.parameters:
            deadline = min(deadline, self.deadline(_timeout_s(request.parameters["timeout"])))
        return deadline

    def timed(
        self, passed: DeadlinePassed, allowed_s: float | None, request: InferRequest | None = None
    ) -> DeadlinePassed:
        """Return the refusal of a request whose deadline passed, with how long it had and the request's id."""
        had = self.default_deadline_s if allowed_s is None else allowed_s
        if request is not None and "timeout" in request.parameters:
            had = min(had, _timeout_s(request.parameters["timeout"]))
        said = passed.after(had)
        said.request_id = "" if request is None else request.id
        return said

    async def predict_v1(
        self, servable: Servable, body: dict[str, Any], deadline: float, allowed_s: float | None = None
    ) -> dict[str, Any]:
        """Ask a model in the words of v1, under the same conditions; UnknownModel if it does not speak them."""
        predict = getattr(servable, "predict_v1", None)
        if predict is None:
            raise UnknownModel(f"model {servable.name!r} does not answer v1 requests, needs v2: /v2/models/.../infer")
        self._admit(servable)
        try:
            return await self._within(deadline, servable, predict(body, deadline))
        except DeadlinePassed as passed:
            raise self.timed(passed, allowed_s) from None
        except OpenInferenceError as refused:
            refused.request_id = ""  # one error may be told to several who asked together
            raise

    async def observed(self, model: str, work: Awaitable[Answer], late: Callable[[], bool] = lambda: False) -> Answer:
        """Await one inference and tell `observe` how it ended and how long it took.

        `late` tells whether one that is cancelled had its time, as a transport may that has deadlines of its own.
        """
        if self.observe is None:
            return await work
        started, status = time.perf_counter(), 500  # an event loop's own clock may count whole milliseconds
        try:
            answer = await work
            status = 200
            return answer
        except OpenInferenceError as refused:
            status = refused.http_status
            self.tell_refused(model, refused, time.perf_counter() - started)
            raise
        except asyncio.CancelledError:
            status = DeadlinePassed.http_status if late() else 499  # whoever asked has gone
            raise
        finally:
            self.observe(model if model in self.servables else "", status, time.perf_counter() - started)

    def tell_unread(self, status: int = Overloaded.http_status) -> None:
        """Tell `observe` of a request that was refused unread: of the one model, where there is only one."""
        if self.observe is not None:
            self.observe(next(iter(self.servables)) if len(self.servables) == 1 else "", status, None)

    def tell_refused(self, model: str, refused: OpenInferenceError, seconds: float) -> None:
        """Tell who keeps the log of a refusal; a fault was logged where it was found."""
        if self.refused is not None and not isinstance(refused, InternalError):
            self.refused(model if model in self.servables else "", refused, seconds)

    def _admit(self, servable: Servable) -> None:
        reason = servable.readiness()
        if reason is not None:
            raise NotReady(f"model {servable.name!r} is not ready: {reason}")
        if self.in_flight >= self.max_in_flight:
            raise Overloaded(
                f"{self.in_flight} requests are under way, needs fewer than {self.max_in_flight}: try later"
            )

    async def _within(self, deadline: float, servable: Servable, work: Awaitable[Answer]) -> Answer:
        self.in_flight += 1
        try:
            with self.alarm.until(deadline) as limit:
                return await work
        except TimeoutError:
            if not limit.expired:
                raise
            raise late(servable) from None
        finally:
            self.in_flight -= 1


def late(servable: Servable) -> DeadlinePassed:
    """Return what is said where a model took longer than it had."""
    return DeadlinePassed(f"model {servable.name!r} had no answer when the request's deadline passed")


def _timeout_s(said: Any) -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 < said < 1e15:
        raise InvalidRequest("the parameter timeout is no positive number, needs microseconds such as 50000")
    return said / 1e6
