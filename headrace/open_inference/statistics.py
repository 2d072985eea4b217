"""How often each model was asked and how long it took: Triton's statistics, of a process since it began or of several.

Durations are nanoseconds, summed; a reader who asks twice divides what was added. Inferences count alike
over HTTP, v1 among them, and gRPC. What is refused before its body was read is nobody's failure.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson

from headrace.open_inference.servable import Servable
from headrace.open_inference.tensors import InferRequest

now_ns = time.perf_counter_ns
_SUMS = ("requests", "rows", "failed", "failed_ns", "decode_ns", "infer_ns", "encode_ns")


class Counts:
    """What one version of one model has done; every member is a sum, but `last_ms`, an instant of the wall clock."""

    __slots__ = ("decode_ns", "encode_ns", "failed", "failed_ns", "infer_ns", "last_ms", "requests", "rows", "tell")

    def __init__(self, tell: Callable[[float, float], None] | None = None) -> None:
        self.tell = tell
        self.requests = self.rows = self.failed = self.failed_ns = 0
        self.decode_ns = self.infer_ns = self.encode_ns = self.last_ms = 0

    def answered(self, rows: int, began: int, decoded: int, inferred: int) -> None:
        """Count an answer; the instants are `now_ns()` at its beginning and after its first two stages."""
        self.requests += 1
        self.rows += rows
        self.decode_ns += decoded - began
        self.infer_ns += inferred - decoded
        ended = now_ns()
        self.encode_ns += ended - inferred
        if self.tell is not None:
            self.tell((decoded - began) / 1e9, (ended - inferred) / 1e9)
        self.last_ms = time.time_ns() // 1_000_000

    def refused(self, began: int) -> None:
        """Count a request that got no answer."""
        self.failed += 1
        self.failed_ns += now_ns() - began

    def add(self, sums: Mapping[str, int]) -> None:
        """Add what another process counted of the same version."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + sums[name])
        self.last_ms = max(self.last_ms, sums["last_ms"])


class Counting:
    """One inference that is counted: what of it is done is said in turn, at the latest that it `ended`."""

    __slots__ = ("_began", "_counts", "_decoded", "_inferred", "_open", "_rows")

    def __init__(self, counts: Counts) -> None:
        self._counts, self._began, self._open = counts, now_ns(), True
        self._decoded = self._inferred = self._rows = 0

    def decoded(self, rows: int) -> None:
        """The request is read, and has so many rows."""
        self._rows, self._decoded = rows, now_ns()

    def inferred(self) -> None:
        """The model has answered."""
        self._inferred = now_ns()

    def answered(self) -> None:
        """The answer is written."""
        self._open = False
        self._counts.answered(self._rows, self._began, self._decoded, self._inferred)

    def ended(self) -> None:
        """There is no answer any more, if there was none."""
        if self._open:
            self._counts.refused(self._began)


def rows_in(request: InferRequest) -> int:
    """Return how many rows a request has, by its first tensor."""
    for tensor in request.inputs.values():
        return tensor.array.shape[0] if tensor.array.ndim else 1
    return 0


class Statistics:
    """The counts of every version that was asked; `tell` hears how many seconds each reading and writing took.

    `gather`, where several processes serve one port, returns what `written` gave in each of them.
    """

    def __init__(self) -> None:
        self.tell: Callable[[float, float], None] | None = None
        self.gather: Callable[[], Awaitable[Sequence[bytes]]] | None = None
        self._counts: dict[tuple[str, str], Counts] = {}

    def of(self, servable: Servable, version: str) -> Counts:
        """Return the counts of the version that is asked; where none is named, of the one it chose."""
        key = servable.name, version or (servable.versions[-1] if servable.versions else "")
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = Counts(self.tell)
        return counts

    def written(self) -> bytes:
        """Return the counts of this process for `sum_of` in another."""
        names = *_SUMS, "last_ms"
        return orjson.dumps([(*key, {n: getattr(counts, n) for n in names}) for key, counts in self._counts.items()])

    @classmethod
    def sum_of(cls, written: Sequence[bytes]) -> Statistics:
        """Return the counts of several processes as one's."""
        whole = cls()
        for text in written:
            for name, version, sums in orjson.loads(text):
                whole._counts.setdefault((name, version), Counts()).add(sums)
        return whole

    @classmethod
    def joined(cls, written: Sequence[bytes]) -> bytes:
        """Return what several processes wrote as one would have written it."""
        return cls.sum_of(written).written()

    async def of_all(self) -> Statistics:
        """Return the counts of all processes that serve this port, its own where it does so alone.

        Raises NotReady where one of them does not tell.
        """
        return self if self.gather is None else self.sum_of(await self.gather())

    def told(self, servables: Mapping[str, Servable], version: str = "") -> list[dict[str, Any]]:
        """Return Triton's `model_stats`: one for each version, or for one version; zeros where nobody asked.

        `compute_input` is reading the request, `compute_infer` the model and whatever it waits for, `compute_output`
        writing the answer. Nothing is told of queues and batches, and every request is one execution.
        """
        asked = [
            (name, number)
            for name, servable in servables.items()
            for number in ((version,) if version else servable.versions or ("",))
        ]
        return [_told(name, number, self._counts.get((name, number)) or Counts()) for name, number in asked]


def _told(name: str, version: str, counts: Counts) -> dict[str, Any]:
    none = {"count": 0, "ns": 0}
    stages = {
        "compute_input": counts.decode_ns,
        "compute_infer": counts.infer_ns,
        "compute_output": counts.encode_ns,
    }
    return {
        "name": name,
        "version": version,
        "last_inference": counts.last_ms,
        "inference_count": counts.rows,
        "execution_count": counts.requests,
        "inference_stats": {
            "success": {"count": counts.requests, "ns": sum(stages.values())},
            "fail": {"count": counts.failed, "ns": counts.failed_ns},
            "queue": none,
            **{stage: {"count": counts.requests, "ns": ns} for stage, ns in stages.items()},
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
    }
