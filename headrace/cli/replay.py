"""Replay held-out rows in time order: ask first, then stream, as it would happen live.

Rows are asked for in batches that share no card at two instants, so that each request sees
exactly what the rows before it have left in the store, and nothing of itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from headrace.features import FeatureView
from headrace.features.columns import DTYPES, Column

SIZES = (1, 25, 100)  # the largest batch asked for, in turn
DEADLINE_MS = 5_000  # a busy laptop may pause for longer than a service may; a late answer would fail the replay


class Client(Protocol):
    """Asks for outputs of rows."""

    def ask(self, columns: Mapping[str, tuple[str, np.ndarray]], outputs: Sequence[str]) -> list[np.ndarray]:
        """Return the outputs, in order."""
        ...


@dataclass(slots=True)
class Replayed:
    """What the replay was answered, row by row, and how long each request took."""

    scores: np.ndarray  # [rows]
    features: np.ndarray  # float32 [rows, columns]
    seconds: dict[tuple[str, int], list[float]] = field(default_factory=dict)  # (mode, largest batch) -> per request


def replay(
    view: FeatureView,
    rows: Mapping[str, np.ndarray],
    keys: np.ndarray,
    clients: Sequence[tuple[str, Client]],
    output: str,
    before: Callable[[int, int], None],
    after: Callable[[int], None],
    on_rows: Callable[[int], None],
) -> Replayed:
    """Ask for every row in order of time, streaming each batch after it was asked for.

    `rows[name]` are request columns, [n]; `keys` the entity whose own rows must be streamed in
    between. `before(start, end)` makes known what was learnt by the time of the batch's last row, such as
    labels; `after(end)` streams the rows up to `end`.
    """
    times = rows[view.time]
    done = Replayed(np.empty(times.size, np.float32), np.empty((times.size, len(view.names)), np.float32))
    for turn, (start, end) in enumerate(batches(times, keys, SIZES)):
        mode, client = clients[turn // len(SIZES) % len(clients)]
        before(start, end)
        columns = columns_of(view, {name: values[start:end] for name, values in rows.items()})
        began = time.perf_counter()
        scores, features = client.ask(columns, [output, "features"])
        done.seconds.setdefault((mode, SIZES[turn % len(SIZES)]), []).append(time.perf_counter() - began)
        done.scores[start:end], done.features[start:end] = scores, features
        after(end)
        on_rows(end - start)
    return done


def columns_of(view: FeatureView, rows: Mapping[str, np.ndarray]) -> dict[str, tuple[str, np.ndarray]]:
    """Return request columns as tensors; one that is missing in every row is left out, as callers do."""
    columns = {name: tensor_of(view.request_column(name), values) for name, values in rows.items()}
    return {name: held for name, held in columns.items() if held[0] != "FP64" or not np.isnan(held[1]).all()}


def batches(times: np.ndarray, keys: np.ndarray, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Cut rows sorted by time into batches in which no key appears at two instants.

    Batches hold up to each of `sizes` rows in turn, more only where one instant has more.

    >>> list(batches(np.array([1, 1, 2, 3]), np.array([7, 7, 8, 7]), [10]))
    [(0, 3), (3, 4)]
    """
    start = turn = 0
    while start < times.size:
        limit, end, seen = sizes[turn % len(sizes)], start, {}  # type: ignore[var-annotated]
        while end < times.size:
            instant_end = int(np.searchsorted(times, times[end], side="right"))
            fresh = keys[end:instant_end].tolist()
            if end > start and (instant_end - start > limit or any(key in seen for key in fresh)):
                break
            seen |= dict.fromkeys(fresh)
            end = instant_end
        yield start, end
        start, turn = end, turn + 1


def tensor_of(column: Column, values: np.ndarray) -> tuple[str, np.ndarray]:
    """Return a request column as a datatype of the protocol and its array."""
    if column.dtype in ("int64", "timestamp"):
        return "INT64", values.astype(np.int64, copy=False)
    if column.dtype == "string":
        return "BYTES", values
    return "FP64", values.astype(DTYPES[column.dtype], copy=False)


class HttpClient:
    """tritonclient over HTTP, with tensors in JSON or binary."""

    def __init__(self, address: str, model: str, *, binary: bool) -> None:
        self._client = triton_http.InferenceServerClient(address, connection_timeout=60, network_timeout=60)
        self._model, self._binary = model, binary

    def ask(self, columns: Mapping[str, tuple[str, np.ndarray]], outputs: Sequence[str]) -> list[np.ndarray]:
        """Return the outputs, in order."""
        inputs = []
        for name, (datatype, values) in columns.items():
            inputs.append(triton_http.InferInput(name, list(values.shape), datatype))
            # This client writes NaN into JSON, where there is no such thing: a missing value travels in binary.
            binary = self._binary or (datatype == "FP64" and bool(np.isnan(values).any()))
            inputs[-1].set_data_from_numpy(values, binary_data=binary)
        asked = [triton_http.InferRequestedOutput(name, binary_data=self._binary) for name in outputs]
        headers = {"headrace-deadline-ms": str(DEADLINE_MS)}
        answer = self._client.infer(self._model, inputs, outputs=asked, headers=headers)
        return [answer.as_numpy(name) for name in outputs]


class GrpcClient:
    """tritonclient over gRPC."""

    def __init__(self, address: str, model: str) -> None:
        # Not by way of a proxy that the environment names: the server is on this machine.
        self._client = triton_grpc.InferenceServerClient(address, channel_args=[("grpc.enable_http_proxy", 0)])
        self._model = model

    def ask(self, columns: Mapping[str, tuple[str, np.ndarray]], outputs: Sequence[str]) -> list[np.ndarray]:
        """Return the outputs, in order."""
        inputs: list[Any] = []
        for name, (datatype, values) in columns.items():
            inputs.append(triton_grpc.InferInput(name, list(values.shape), datatype))
            inputs[-1].set_data_from_numpy(values)
        asked = [triton_grpc.InferRequestedOutput(name) for name in outputs]
        answer = self._client.infer(self._model, inputs, outputs=asked, client_timeout=DEADLINE_MS / 1000)
        return [answer.as_numpy(name) for name in outputs]
