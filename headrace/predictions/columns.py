"""Runs of the request path as columns: one row of the log for each row that was asked for.

    request_id   the request's v2 id, else its x-request-id, else one of the log's own
    call_id      its x-request-id, where it had one or was given one
    trace_id     of its trace, where it was in one
    row          which row of the request, from 0
    at, as_of    when it was answered, and the instant its features are of
    model, model_version, fingerprint
    keys         struct: each key column, as Pseudonyms says; absent where the view has no groups
    features     struct: the model's input, missing values as the model saw them
    age_ms       struct: of each group, since the key's newest event; null where there is none, absent as keys are
    row_status   as the output of this name
    outputs      struct: what was answered: numbers, whole ones where the output's datatype is, truth values or text
    stage_ms     struct: how long the stages of its run took

The schema's metadata holds the view's columns, so that a file can be explained without the application.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from headrace.features.rows import Rows
from headrace.features.view import FeatureView
from headrace.predictions.pseudonyms import Pseudonyms
from headrace.stores.online import Block

#: The stages of a run that its timings are of, in order.
STAGES = ("decode", "store", "assemble", "predict", "respond")
VIEW = b"headrace.view"
#: How much of a request's id is kept.
LONGEST_ID = 200
_INSTANT = pa.timestamp("ms", "UTC")
#: What the outputs of a datatype are written as, and made of; all others as float64.
_KINDS: dict[str, tuple[pa.DataType, np.dtype]] = {
    "BYTES": (pa.string(), np.dtype(object)),
    "BOOL": (pa.bool_(), np.dtype(bool)),
    "UINT64": (pa.uint64(), np.dtype(np.uint64)),
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"), (pa.int64(), np.dtype(np.int64))),
}
_NUMBERS = pa.float64(), np.dtype(np.float64)


class Answered(NamedTuple):
    """One request of a run: who it is, which of the run's rows are its own, and its answer's outputs, in order."""

    id: str
    call_id: str
    trace_id: str
    version: str
    rows: slice
    outputs: Sequence[np.ndarray]


class Run(NamedTuple):
    """What one run of the request path had in memory, handed over and not copied.

    `status` is asked in the log's thread: a status for each row as bytes.
    """

    at_ms: int
    answered: Sequence[Answered]
    rows: Rows
    blocks: Mapping[str, Block]
    matrix: np.ndarray
    status: Callable[[], np.ndarray]
    stage_ms: Sequence[float]

    @property
    def written(self) -> int:
        """How many of its rows are written down."""
        return sum(part.rows.stop - part.rows.start for part in self.answered)


class Columns:
    """Makes tables of runs, all of one schema; `outputs` has the datatype of each."""

    def __init__(
        self,
        model: str,
        view: FeatureView,
        outputs: Mapping[str, str],
        keys: Pseudonyms | None = None,
    ) -> None:
        self._model, self._fingerprint = model, view.fingerprint
        self._outputs = {name: _KINDS.get(datatype, _NUMBERS) for name, datatype in outputs.items()}
        self._pseudonyms = keys or Pseudonyms()
        self._keys = tuple(dict.fromkeys(group.key for group in view.groups))
        self._groups = tuple(group.name for group in view.groups)
        self._features = view.names
        self.schema = self._schema(view)

    def table(self, runs: Sequence[Run]) -> pa.Table:
        """Return the rows of these runs, in their order."""
        parts = _Parts.of(runs)
        take = parts.joined
        requests, of_run = parts.requests, parts.of_run
        columns = [
            parts.repeated([part.id or part.call_id or secrets.token_hex(8) for part in requests]),
            parts.repeated([part.call_id or None for part in requests]),
            parts.repeated([part.trace_id or None for part in requests]),
            pa.array(parts.row),
            pa.array(np.array([run.at_ms for run in runs])[of_run], pa.int64()).cast(_INSTANT),
            pa.array(take([run.rows.as_of for run in runs])).cast(_INSTANT),
            _constant(self._model, len(of_run)),
            parts.repeated([part.version or None for part in requests]),
            _constant(self._fingerprint, len(of_run)),
            *self._struct(
                "keys",
                [
                    self._pseudonyms.of(
                        take([run.rows.columns[key] for run in runs]), take([_unkeyed(run.rows, key) for run in runs])
                    )
                    for key in self._keys
                ],
            ),
            *self._struct("features", list(map(pa.array, np.ascontiguousarray(take([run.matrix for run in runs]).T)))),
            *self._struct("age_ms", [_nullable(take([run.blocks[g].age_ms for run in runs])) for g in self._groups]),
            pa.array(take([run.status() for run in runs]), pa.binary()).cast(pa.string()),
            *self._struct("outputs", self._answers(parts.requests)),
            *self._struct("stage_ms", [_nullable(stage[of_run]) for stage in _stages(runs)]),
        ]
        return pa.Table.from_arrays(columns, schema=self.schema)

    def _schema(self, view: FeatureView) -> pa.Schema:
        said = json.dumps({"name": view.name, "version": view.version, "columns": view.describe()})
        answered = [(name, kind) for name, (kind, _) in self._outputs.items()]
        fields = [
            *((name, pa.string()) for name in ("request_id", "call_id", "trace_id")),
            ("row", pa.int32()),
            *((name, _INSTANT) for name in ("at", "as_of")),
            *((name, pa.string()) for name in ("model", "model_version", "fingerprint")),
            ("keys", pa.struct([(name, pa.string()) for name in self._keys])),
            ("features", pa.struct([(name, pa.float32()) for name in self._features])),
            ("age_ms", pa.struct([(name, pa.float64()) for name in self._groups])),
            ("row_status", pa.string()),
            ("outputs", pa.struct(answered)),
            ("stage_ms", pa.struct([(name, pa.float32()) for name in STAGES])),
        ]
        # Parquet has no struct of nothing, which keys and ages are of a view without groups.
        return pa.schema([one for one in fields if one[1] != pa.struct([])], {VIEW: said.encode()})

    def _struct(self, name: str, arrays: Sequence[pa.Array]) -> list[pa.StructArray]:
        return [pa.StructArray.from_arrays(arrays, fields=list(self.schema.field(name).type))] if arrays else []

    def _answers(self, requests: Sequence[Answered]) -> list[pa.Array]:
        return [
            _array(kind, np.concatenate([np.asarray(one.outputs[at]).ravel() for one in requests]).astype(held))
            for at, (kind, held) in enumerate(self._outputs.values())
        ]


def _array(kind: pa.DataType, values: np.ndarray) -> pa.Array:
    if values.dtype != object:
        return pa.array(values, kind)
    return pa.array([one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in values], kind)


def _unkeyed(rows: Rows, key: str) -> np.ndarray:
    marks = rows.unkeyed.get(key)
    return np.zeros(rows.count, dtype=bool) if marks is None else marks


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which rows of several runs are written down: all but those that were answered by themselves after all."""

    requests: list[Answered]
    of_run: np.ndarray  # for each row, the run it is of
    of_request: np.ndarray
    row: np.ndarray  # int32: which of its request it is
    picked: np.ndarray | None  # which of the joined rows, where not all in their order

    @classmethod
    def of(cls, runs: Sequence[Run]) -> _Parts:
        requests = [part for run in runs for part in run.answered]
        sizes = np.array([part.rows.stop - part.rows.start for part in requests])
        written = [sum(part.rows.stop - part.rows.start for part in run.answered) for run in runs]
        counts = [run.rows.count for run in runs]
        of_request = np.repeat(np.arange(len(sizes)), sizes)
        row = np.arange(len(of_request)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        picked = None
        if written != counts:
            starts = np.repeat(np.cumsum(counts) - counts, [len(run.answered) for run in runs])
            firsts = starts + np.array([part.rows.start for part in requests])
            picked = np.repeat(firsts, sizes) + row
        return cls(requests, np.repeat(np.arange(len(runs)), written), of_request, row.astype(np.int32), picked)

    def joined(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """Return the written rows of an array of each run."""
        every = np.concatenate(arrays)
        return every if self.picked is None else every[self.picked]

    def repeated(self, values: Sequence[str | None]) -> pa.Array:
        """Return a value of each request for each of its rows."""
        found = pa.array(values, pa.string())
        return found if len(values) == len(self.of_request) else found.take(pa.array(self.of_request))


def _stages(runs: Sequence[Run]) -> np.ndarray:
    if all(len(run.stage_ms) == len(STAGES) for run in runs):
        return np.array([run.stage_ms for run in runs], dtype=np.float32).T
    took = np.full((len(STAGES), len(runs)), np.nan, dtype=np.float32)
    for at, run in enumerate(runs):
        took[: len(run.stage_ms), at] = run.stage_ms
    return took


def _nullable(values: np.ndarray) -> pa.Array:
    return pa.array(values, from_pandas=True)  # NaN is null


def _constant(value: str, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), times)
