"""From request columns and stored columns to the matrix a model reads.

This is the hot path, and the same code makes training frames. Names are resolved once,
when the plan is built; a request only moves numbers. Nothing here does I/O, logs, or
branches on a feature's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.features.on_demand import OnDemand
from headrace.features.view import FeatureView

Places = slice | np.ndarray


@dataclass(slots=True)
class _Computed:
    at: int
    feature: OnDemand
    inputs: tuple[tuple[str, str | int], ...]  # ("request", column) or (group, index)
    loop: Callable[..., Any] | None = None  # once it was needed


@dataclass(frozen=True, slots=True)
class Plan:
    """Where every model column comes from, in the order the model was trained on."""

    width: int
    missing: np.ndarray  # float32 [columns]
    request: tuple[tuple[int, str], ...]
    stored: tuple[tuple[str, Places, Places], ...]  # group, columns of the matrix, columns of the block
    computed: tuple[_Computed, ...]

    @classmethod
    def of(cls, view: FeatureView) -> Plan:
        """Resolve every name of a view once."""
        index = {group.name: {n: i for i, n in enumerate(group.column_names)} for group in view.groups}
        request, stored, computed = [], {group.name: ([], []) for group in view.groups}, []  # type: ignore[var-annotated]
        for at, column in enumerate(view.columns):
            if isinstance(column, OnDemand):
                inputs = tuple(_locate(source, index) for source in column.inputs)
                computed.append(_Computed(at, column, inputs))
                continue
            origin, where = _locate(column, index)
            if origin == "request":
                request.append((at, str(where)))
            else:
                stored[origin][0].append(at)
                stored[origin][1].append(where)
        blocks = tuple((g, _places(to), _places(source)) for g, (to, source) in stored.items() if to)
        return cls(len(view.columns), view.missing, tuple(request), blocks, tuple(computed))

    def compute(self, rows: int, request: Mapping[str, np.ndarray], blocks: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return float32 [rows, columns] in which NaN is missing.

        `request[name]` is [rows]; `blocks[group]` is the group's merged windows, [rows, its columns].
        """
        out = np.empty((rows, self.width), dtype=np.float32)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for at, name in self.request:
                out[:, at] = request[name]
            for group, to, source in self.stored:
                out[:, to] = blocks[group][:, source]
            for step in self.computed:
                inputs = [
                    request[where] if origin == "request" else blocks[origin][:, where]  # type: ignore[index]
                    for origin, where in step.inputs
                ]
                out[:, step.at] = (step.loop or _loop(step))(*inputs)
        return out

    def prepare(self) -> None:
        """Load the loops of on-demand features now, and not within the first request: it may take seconds once."""
        for step in self.computed:
            _loop(step)

    def fill(self, matrix: np.ndarray) -> np.ndarray:
        """Put every column's declared missing value where a value is missing or too large for float32, in place.

        ValueError for anything but float32 [rows, columns]: the loop does not look.
        """
        if matrix.dtype != np.float32 or matrix.ndim != 2 or matrix.shape[1] != self.width:
            found = f"{matrix.dtype} {list(matrix.shape)}"
            raise ValueError(f"the matrix is {found}, needs float32 [rows, {self.width}]: the view's columns")
        from headrace.features import kernels  # see _loop

        kernels.fill(self.missing, matrix)
        return matrix

    def assemble(self, rows: int, request: Mapping[str, np.ndarray], blocks: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the model's input, float32 [rows, columns], missing values filled."""
        return self.fill(self.compute(rows, request, blocks))


def _loop(step: _Computed) -> Callable[..., Any]:
    from headrace.features.loops import loop_of  # half a second that most commands need not wait

    step.loop = loop_of(step.feature.compute)
    return step.loop


def _places(of: list[int]) -> Places:
    # A slice of an array is a view, a list of places a copy.
    return slice(of[0], of[-1] + 1) if of == list(range(of[0], of[-1] + 1)) else np.array(of)


def _locate(source: str, index: Mapping[str, Mapping[str, int]]) -> tuple[str, str | int]:
    origin, _, name = source.partition(".")
    return origin, name if origin == "request" else index[origin][name]
