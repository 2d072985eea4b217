"""From columns to the messages of a topic: one JSON object an event, keyed so that an entity stays in one partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson


def messages_of(columns: Mapping[str, np.ndarray], key: str) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of every event, in order; NaN becomes null.

    Raises KeyError where `key` names no column, ValueError where columns are not equally long.

    >>> next(messages_of({"card": np.array([7]), "amount": np.array([np.nan])}, "card"))
    (b'7', b'{"card":7,"amount":null}')
    """
    keys: list[Any] = columns[key].tolist()
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    for entity, row in zip(keys, rows, strict=True):
        yield str(entity).encode(), orjson.dumps(dict(zip(columns, row, strict=True)))
