"""A request on its way, and what its answer can say of that."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from headrace.features.rows import Rows
from headrace.open_inference.tensors import InferRequest, Tensor
from headrace.stores.online import Block
from transformer.joined import block_in, rows_in
from transformer.rows import status_of

FEATURES = "features"
#: What an answer says besides the application's outputs, where it is asked for by name.
EXTRAS = {"features": "FP32", "feature_age_ms": "FP64", "row_status": "BYTES", "stage_ms": "FP64"}


@dataclass(slots=True)
class Kept:
    """A request of which something is kept: who watches it, where somebody does, and whether nobody waits any more."""

    call: Any
    left: bool = False


class Asked(NamedTuple):
    """A request on its way to a run."""

    kind: Hashable
    request: InferRequest
    deadline: float
    kept: Kept | None = None

    @property
    def call(self) -> Any:
        """Whoever watches it; None where nobody does."""
        return None if self.kept is None else self.kept.call

    @property
    def left(self) -> bool:
        """Whether it is known that nobody waits for its answer any more."""
        return self.kept is not None and self.kept.left


@dataclass(slots=True)
class Prepared:
    """A request on its way: the model's input and what is needed to answer."""

    request: InferRequest
    rows: Rows
    blocks: dict[str, Block]
    matrix: np.ndarray  # float32 [n, columns]
    deadline: float  # an instant of the running loop's clock
    stage_ms: list[float] = field(default_factory=list)
    requests: int = 1  # that it was made of
    predicted: float = 0.0  # an instant of time.perf_counter
    version: str = ""  # of the model that answered, where it says so

    def part(self, request: InferRequest, deadline: float, rows: slice, *, plain: bool) -> Prepared:
        """Return one request's own rows of this; where they are `plain`, and it asks for no more, nothing is cut."""
        if plain and not request.outputs:
            return Prepared(request, self.rows, {}, self.matrix, deadline)  # nothing more is said of it
        blocks = {name: block_in(block, rows) for name, block in self.blocks.items()}
        return Prepared(request, rows_in(self.rows, rows), blocks, self.matrix[rows], deadline, self.stage_ms)

    def extra(self, name: str) -> Tensor:
        """Return one of EXTRAS."""
        if name == FEATURES:
            return Tensor(name, "FP32", self.matrix)
        if name == "feature_age_ms":  # -1 where the store has no event of the key: the wire has no missing number
            ages = np.array([block.age_ms for block in self.blocks.values()]).reshape(len(self.blocks), self.rows.count)
            return Tensor(name, "FP64", np.where(np.isnan(ages), -1.0, ages).T)
        if name == "row_status":
            return Tensor(name, "BYTES", status_of(self.rows, self.blocks))
        return Tensor(name, "FP64", np.array(self.stage_ms))
