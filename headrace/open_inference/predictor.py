"""Predictor: what a transformer asks for predictions, be it a server away from here or a model in its own process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Protocol, Self

from headrace.open_inference.tensors import InferResponse, Tensor

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Predictor(Protocol):
    """One model that can be asked.

    Deadlines are instants of the running loop's clock, None is a time-out of its own. Raises the errors of this
    package: NotReady, Overloaded, DeadlinePassed, and PredictorFailed for whatever else went wrong there.
    """

    model: str
    most_rows: int  # of one run, as the model's configuration said; 0 where it did not
    unready: str  # why it was not ready when that was last asked, as far as it is known

    @property
    def failing(self) -> str | None:
        """Why no inference succeeds, None where the last ones did not fail one and all."""
        ...

    async def __aenter__(self) -> Self:
        """Begin what goes on in the background."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, and let go of what is held open."""
        ...

    async def infer(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[str] = (),
        deadline: float | None = None,
        request_id: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> InferResponse:
        """Return the named outputs, all of them where none is named. Headers go with the request where it goes."""
        ...

    def ask_version(self, version: str) -> None:
        """Ask this version of the model from now on; an empty one is the predictor's own choice."""
        ...

    async def ready(self, version: str = "") -> bool:
        """Tell whether a version, or that of the predictor's choice, can be asked."""
        ...

    async def metadata(self) -> dict[str, Any]:
        """Return the metadata of the version that is asked, in the protocol's shape."""
        ...

    async def config(self) -> dict[str, Any]:
        """Return the model's configuration, in the shape of Triton's."""
        ...

    async def close(self) -> None:
        """Let go of what is held open."""
        ...
