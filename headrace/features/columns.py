"""Columns: the named values that requests carry, stores keep and models read.

A column has a dtype and a unit, a declared missing value and a meaning. Missing
is NaN while features are computed; the declared value replaces it once, when the
model's matrix is assembled.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: How a declared dtype is held in memory. Timestamps are epoch milliseconds, UTC.
DTYPES: dict[str, np.dtype] = {
    "float64": np.dtype("f8"),
    "int64": np.dtype("i8"),
    "bool": np.dtype("f8"),  # 0, 1 or NaN: a bool may be missing too
    "timestamp": np.dtype("i8"),
    "string": np.dtype("O"),
}

#: The timestamp that stands for "no time".
NO_TIME = np.iinfo(np.int64).min

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Column:
    """One named value: its dtype, unit, accepted range and what stands for missing.

    >>> Column("latitude", unit="degree", low=-90, high=90).dtype
    'float64'
    >>> Column("amount", dtype="decimal")
    Traceback (most recent call last):
    ValueError: column 'amount' has dtype 'decimal', needs one of bool, float64, int64, string, timestamp
    """

    name: str
    dtype: str = "float64"
    unit: str = ""
    missing: float = math.nan
    meaning: str = ""
    low: float = -math.inf
    high: float = math.inf
    required: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            known = ", ".join(sorted(DTYPES))
            raise ValueError(f"column {self.name!r} has dtype {self.dtype!r}, needs one of {known}")
        for what in ("missing", "low", "high"):
            if not isinstance(found := getattr(self, what), Real):
                raise ValueError(f"column {self.name!r} has {what} {found!r}, needs a number")

    def outside(self, values: Floats) -> NDArray[np.bool_]:
        """Tell which of `values` are infinite or beyond the accepted range; NaN is not outside."""
        return (values < self.low) | (values > self.high) | np.isinf(values)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of a model's input, as a view describes it: where it comes from and what it means."""

    name: str
    source: str
    dtype: str
    unit: str
    missing: float
    meaning: str


def some(marks: np.ndarray) -> bool:
    """Tell whether any of these marks, bool [n], is true; of a few it takes a tenth of the time of `any`."""
    return bool(np.count_nonzero(marks))
