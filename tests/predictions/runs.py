"""Runs as the request path hands them over, of the small application."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace.features.rows import Rows
from headrace.predictions import Answered, Columns, Pseudonyms, Run
from headrace.stores.online import Block
from tests.transformer.small import NOW, VIEW


def columns(keys: Pseudonyms | None = None) -> Columns:
    """Return what makes tables of the small application's runs."""
    return Columns("small", VIEW, {"score": "FP32"}, keys)


def run(*ids: str, rows: int = 1, at_ms: int = NOW, **changed: Any) -> Run:
    """Return a run that answered requests of so many rows each; in its last row the store had no such user."""
    count = rows * len(ids)
    found = np.arange(count) < count - 1
    block = Block(np.zeros((count, 2)), found, np.where(found, 60_000.0, np.nan), np.ones(count, dtype=bool))
    users = np.array([f"user-{at}" for at in range(count)], dtype=object)
    matrix = np.arange(count * len(VIEW.names), dtype=np.float32).reshape(count, -1)
    matrix[~found, 3:] = (0.0, 0.0, -1.0)
    status = np.array([b"ok" if known else b"users missing" for known in found], dtype=object)
    scores = np.linspace(0, 1, count, dtype=np.float32)
    parts = [slice(at * rows, (at + 1) * rows) for at in range(len(ids))]
    given: dict[str, Any] = {
        "at_ms": at_ms,
        "answered": [Answered(name, "", "", "", part, [scores[part]]) for name, part in zip(ids, parts, strict=True)],
        "rows": Rows(count, {"user": users, "at": np.full(count, float(at_ms))}, np.full(count, at_ms)),
        "blocks": {"users": block},
        "matrix": matrix,
        "status": lambda: status,
        "stage_ms": (0.1, 0.2, 0.3, 1.0, 0.05),
    }
    return Run(**(given | changed))
