"""Small requests made one, and one request's part of what was found for all of them.

Only requests of the same columns in the same datatypes are made one, so that a column is one array. A row's answer
depends on that row alone; which rows it was computed beside, nobody can tell. Nor are requests made one whose headers
go on with unlike values, those for tracing apart: nobody's rows are asked for in another's name.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from headrace.features.rows import Rows
from headrace.open_inference.tensors import InferRequest, Tensor
from headrace.stores.online import Block
from transformer.asking import ALWAYS

#: Rows of a request that is worth joining: what is saved is the cost of a call, not that of a row.
MOST_ROWS = 256
#: Rows of a run where the model does not say how many it takes.
MOST_JOINED = 1024


@dataclass(frozen=True, slots=True)
class Joined:
    """Requests as one; `parts` says which rows are whose."""

    request: InferRequest
    parts: list[slice]


def kind_of(request: InferRequest) -> Hashable | None:
    """Return what requests that can be made one share; None for one that must be answered by itself."""
    tensors = request.inputs.values()
    shapes = {tensor.array.shape for tensor in tensors}
    rows = {shape[0] if shape and shape[1:] in ((), (1,)) else 0 for shape in shapes}
    if len(rows) != 1 or not 0 < rows.pop() <= MOST_ROWS:
        return None
    named = tuple(header for header in request.headers.items() if header[0] not in ALWAYS) if request.headers else ()
    return *request.inputs, *[tensor.datatype for tensor in tensors], named


def kind_within(request: InferRequest, deadline: float) -> Hashable | None:
    """Return what requests that are made one share: a kind, and a time left of the same power of two.

    A run may take as long as the most patient of it, and half of that before a fallback or another endpoint.
    """
    kind = kind_of(request)
    return kind and (kind, math.frexp(deadline - asyncio.get_running_loop().time())[1])


def runs_of(asked: Sequence[tuple[Hashable, InferRequest]], most: int) -> list[list[int]]:
    """Return which of what is asked, requests and their kinds, are made one, by their places.

    Those of one run are of one kind, in order, and of at most `most` rows together; one that has more goes by itself.
    """
    runs: list[list[int]] = []
    newest: dict[Hashable, tuple[list[int], int]] = {}  # each kind's last run, and its rows
    for at, (kind, request) in enumerate(asked):
        rows = len(next(iter(request.inputs.values())).array)
        run, held = newest.get(kind, ([], most))
        if held + rows > most:
            run, held = [], 0
            runs.append(run)
        run.append(at)
        newest[kind] = run, held + rows
    return runs


def join(requests: Sequence[InferRequest]) -> Joined:
    """Make one request of several of the same kind, in their order; what goes on with it is the first one's."""
    first = requests[0]
    inputs, parts, at = {}, [], 0
    for name, tensor in first.inputs.items():
        arrays = [request.inputs[name].array for request in requests]
        inputs[name] = Tensor(name, tensor.datatype, np.concatenate(arrays, axis=None))
    for array in arrays:
        parts.append(slice(at, at := at + len(array)))
    return Joined(InferRequest(first.model, first.version, first.id, inputs, headers=first.headers), parts)


def rows_in(rows: Rows, part: slice) -> Rows:
    """Return a part of rows; a column is marked invalid only where one of the part's values is."""
    return Rows(
        part.stop - part.start,
        {name: column[part] for name, column in rows.columns.items()},
        rows.as_of[part],
        *(
            {name: marks[part] for name, marks in of.items() if marks[part].any()}
            for of in (rows.invalid, rows.unkeyed)
        ),
    )


def block_in(block: Block, part: slice) -> Block:
    """Return a part of a block."""
    stale = None if block.stale is None else block.stale[part]
    default = None if block.default is None else block.default[part]
    return Block(block.values[part], block.found[part], block.age_ms[part], block.exact[part], stale, default)
