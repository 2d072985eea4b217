"""The model run in the transformer's own process: no hop, for models that a CPU answers in a millisecond.

It is asked as `PredictorClient` asks a server, and is what the embedded predictor serves: checked before it is
loaded, exchanged while it serves, its runs counted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from headrace.cores import cores
from headrace.open_inference.errors import NotReady
from headrace.open_inference.predictor import NO_HEADERS
from headrace.open_inference.tensors import InferRequest, InferResponse, RequestedOutput, Tensor
from headrace.telemetry import ModelMetrics
from predictor.batching import Limits
from predictor.reload import Watch, watched, watching
from predictor.repository import ModelRefused
from predictor.server import Runs


class InProcess:
    """One model of a repository on this machine. Raises what PredictorClient raises; production's version answers."""

    def __init__(self, watch: Watch, pool: ThreadPoolExecutor, fingerprint: str) -> None:
        self.model, self.most_rows, self.unready = watch.model.name, 0, ""  # a run of ours may have any number of rows
        self._watch, self._served, self._pool, self._fingerprint = watch, watch.model, pool, fingerprint
        self._looking: asyncio.Task[None] | None = None

    @classmethod
    def open(
        cls,
        repository: Path | str,
        model: str,
        fingerprint: str,
        metrics: ModelMetrics,
        *,
        public_key: Path | None = None,
    ) -> InProcess:
        """Load a model that is asked for features of a view with this fingerprint; ValueError where it is refused.

        Rows of several requests are joined by the transformer already. With one core to use, a thread of
        its own would only take turns with the event loop.
        """
        usable = cores()
        pool = ThreadPoolExecutor(usable, thread_name_prefix="run")
        inline_s = math.inf if usable == 1 else None
        runs = Runs(pool, usable, limits=Limits(batch_rows=1), inline_s=inline_s)
        try:
            return cls(watched(repository, model, runs, metrics, public_key), pool, fingerprint)
        except ModelRefused as refused:
            pool.shutdown()
            raise ValueError(str(refused)) from refused

    async def __aenter__(self) -> InProcess:
        """Look for another version of the model from now on."""
        self._looking = watching([self._watch])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the model."""
        await self.close()

    def ask_version(self, version: str) -> None:
        """Nothing to do: production answers, from the very moment in which another version becomes it."""

    async def infer(
        self,
        inputs: Sequence[Tensor],
        outputs: Sequence[str] = (),
        deadline: float | None = None,
        request_id: str = "",
        headers: Mapping[str, str] = NO_HEADERS,
    ) -> InferResponse:
        """Run the model; NotReady where what was put into its place was trained on other columns."""
        production = self._served.at("")
        if production.fingerprint != self._fingerprint:
            raise NotReady(
                f"version {production.version} of {self.model!r} was trained on other columns: train it again"
            )
        asked = tuple(map(RequestedOutput, outputs))
        request = InferRequest(self.model, "", request_id, {tensor.name: tensor for tensor in inputs}, asked)
        return await production.infer(request, math.inf if deadline is None else deadline)

    async def metadata(self) -> dict[str, Any]:
        """Return production's metadata."""
        return self._served.metadata()

    async def config(self) -> dict[str, Any]:
        """Return production's configuration."""
        return self._served.config()

    @property
    def failing(self) -> str | None:
        """Return None: what is in this process fails as the process does."""
        return None

    async def ready(self, version: str = "") -> bool:
        """A version that could be loaded is ready."""
        return not version or version in self._served.versions

    async def close(self) -> None:
        """Stop looking for other versions, and let the threads go."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        self._pool.shutdown(wait=False)
