"""The benchmarks by their permanent ids, and what one measures.

An id is never given to another benchmark and never changes its meaning: results of different
commits are compared by it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.ground import Ground
from benchmarks.rounds import Samples

OURS = "headrace"


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured on every side in the same rounds.

    `aim` is what is striven for: of the ratio to the peer, or of our own value. `side` is which of ours.
    """

    case: str
    measure: str
    unit: str
    samples: dict[str, Samples]
    better: Literal["higher", "lower"] = "lower"
    peer: str = ""
    aim: float | None = None
    aim_of: Literal["ratio", "value"] = "ratio"
    side: str = OURS

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer: above 1 is better, whatever is measured; None without a peer."""
        if self.peer not in self.samples or self.side not in self.samples:
            return None
        ours, theirs = self.samples[self.side].median, self.samples[self.peer].median
        if not ours or not theirs:
            return None
        return ours / theirs if self.better == "higher" else theirs / ours

    @property
    def met(self) -> bool | None:
        """Whether the aim was reached; None without an aim."""
        found = self.ratio if self.aim_of == "ratio" else self.samples[self.side].median
        if self.aim is None or found is None:
            return None
        return found >= self.aim if self.aim_of == "ratio" or self.better == "higher" else found <= self.aim


@dataclass(slots=True)
class Result:
    """What a benchmark found, and what must be said about it."""

    notes: str = ""
    figures: list[Figure] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A measurement with a permanent id; one that is `alone` is run only where it is named."""

    id: str
    title: str
    run: Callable[[Ground], Result]
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """What a benchmark's source says of it."""

    id: str
    title: str
    alone: bool = False


_REGISTRY: dict[str, Benchmark] = {}


def benchmark(
    id: str,  # noqa: A002
    title: str,
    *,
    alone: bool = False,
) -> Callable[[Callable[[Ground], Result]], Callable[[Ground], Result]]:
    """Register a function under a permanent id; ValueError where the id is taken."""

    def register(run: Callable[[Ground], Result]) -> Callable[[Ground], Result]:
        if id in _REGISTRY:
            raise ValueError(f"benchmark id {id!r} is taken, needs one of its own")
        _REGISTRY[id] = Benchmark(id, title, run, alone)
        return run

    return register


def benchmarks() -> dict[str, Benchmark]:
    """Return every benchmark by id, in the order in which they run."""
    from benchmarks import (  # noqa: F401  importing registers them
        backfill,
        engines,
        feature_servers,
        fetch,
        floor,
        frame,
        freshness,
        hopsworks_faults,
        hopsworks_read,
        hopsworks_write,
        kafka_freshness,
        kafka_stream,
        model_servers,
        overload,
        pair,
        predictor_batching,
        scale,
        scale_serve,
        serve,
        soak,
        stream,
    )

    return dict(sorted(_REGISTRY.items(), key=lambda entry: entry[1].run.__module__))


def declared() -> dict[str, Declared]:
    """Return the same in the same order as the sources say it: nothing that a benchmark needs is loaded.

    Arguments of `benchmark` must be written out; ValueError where one is computed.
    """
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py"), key=lambda path: path.stem):
        for each in ast.parse(path.read_bytes()).body:
            for call in each.decorator_list if isinstance(each, ast.FunctionDef) else ():
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "benchmark":
                    one = Declared(
                        *map(ast.literal_eval, call.args),
                        **{word.arg: ast.literal_eval(word.value) for word in call.keywords if word.arg},
                    )
                    found[one.id] = one
    return found
