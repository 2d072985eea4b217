"""Servable: what the servers of this package ask of a model, whatever computes its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from headrace.open_inference.tensors import InferRequest, InferResponse

#: Hears the answer, or what stands for it.
Answered = Callable[[InferResponse | BaseException], None]


class Servable(Protocol):
    """A model that can be asked.

    `readiness` is asked before every request and `metadata` for raw ones, so both must be as cheap
    as an attribute. `infer` answers every requested output it knows; one it does not know is
    refused for it. Deadlines are instants of `asyncio.get_running_loop().time()`; work still
    under way when they pass is cancelled.

    A servable may also have `async predict_v1(body, deadline) -> dict`, which answers
    `{"instances": [...]}` with `{"predictions": [...]}`; without it the v1 route says 404. One that holds
    several versions, or is replaced while it serves, has `at(version) -> Servable`, the one that is asked in
    its place; an empty version means its own choice. Who was given one may ask it to the end.
    It may be Askable too.
    """

    name: str
    versions: tuple[str, ...]

    def readiness(self) -> str | None:
        """Return None when ready, else the reason; it is sent to whoever asks."""

    def metadata(self) -> dict[str, Any]:
        """Return `name`, `versions`, `platform`, `inputs` and `outputs` (each `name`, `datatype`, `shape`)."""

    def config(self) -> dict[str, Any]:
        """Return the model configuration in the shape of Triton's."""

    async def infer(self, request: InferRequest, deadline: float) -> InferResponse:
        """Answer a request, or raise an OpenInferenceError."""


class Withdrawable(Protocol):
    """What was asked and is not answered yet."""

    def cancel(self) -> object:
        """Give it up; whoever asked hears nothing any more."""


@runtime_checkable
class Askable(Protocol):
    """A servable that can be asked without a task to wait in, which is half of what a small request costs."""

    def ask(self, request: InferRequest, deadline: float, answered: Answered) -> Withdrawable:
        """Do what `infer` does, and call `answered` once with the answer or what stands for it, but not before return.

        What can be told at once is raised. `answered` must not raise. Who asked ends what is late.
        """


def settle(answer: asyncio.Future[Any], found: object) -> None:
    """Give a future what `answered` heard, unless nobody waits for it any more."""
    if answer.done():  # whoever waited was cancelled, and has not been told yet
        return
    if isinstance(found, asyncio.CancelledError):
        answer.cancel()
    elif isinstance(found, BaseException):
        answer.set_exception(found)
    else:
        answer.set_result(found)
