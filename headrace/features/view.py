"""Feature views: the ordered columns one model reads, and their fingerprint.

The fingerprint is a hash over every column's name, order, dtype and missing value, the
declarations of the groups behind them, and the source of each on-demand function. It
travels from the training frame into the model and is compared before a request is served.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.features.columns import Column, Feature
from headrace.features.identity import digest
from headrace.features.on_demand import OnDemand
from headrace.features.windows import WindowedGroup


@dataclass(frozen=True, slots=True)
class FeatureView:
    """The columns a model reads, each `request.column`, `group.column` or an on-demand feature.

    `request` declares what a request carries: the keys of the groups, further columns, and
    `time`, the column that says when (a timestamp; the server's clock where it is absent, always where that is "").
    """

    name: str
    version: int
    request: tuple[Column, ...]
    groups: tuple[WindowedGroup, ...]
    columns: tuple[str | OnDemand, ...]
    time: str = "datetime"
    features: tuple[Feature, ...] = field(init=False, repr=False, compare=False)
    fingerprint: str = field(init=False, compare=False)
    request_names: tuple[str, ...] = field(init=False, repr=False, compare=False)  # what a request may carry
    required: frozenset[str] = field(init=False, repr=False, compare=False)  # and what it must
    keys: frozenset[str] = field(init=False, repr=False, compare=False)  # what the groups are keyed by
    _request: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_request", {column.name: column for column in self.request})
        object.__setattr__(self, "request_names", tuple(column.name for column in self.request))
        object.__setattr__(self, "required", frozenset(column.name for column in self.request if column.required))
        object.__setattr__(self, "keys", frozenset(group.key for group in self.groups))
        self._check_request()
        features = tuple(self._feature(column) for column in self.columns)
        names = [feature.name for feature in features]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"view {self.name!r} names {', '.join(twice)} twice, needs every column once")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "fingerprint", self._fingerprint())

    @property
    def names(self) -> tuple[str, ...]:
        """The model's input columns, in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def missing(self) -> np.ndarray:
        """What stands for a missing value in each column, float32 [columns]."""
        return np.array([feature.missing for feature in self.features], dtype=np.float32)

    def request_column(self, name: str) -> Column:
        """Return a declared request column; KeyError where there is none of this name."""
        return self._request[name]

    def group(self, name: str) -> WindowedGroup:
        """Return a group of the view; ValueError where there is none of this name."""
        for group in self.groups:
            if group.name == name:
                return group
        known = ", ".join(group.name for group in self.groups)
        raise ValueError(f"view {self.name!r} has no group {name!r}, it has {known}")

    def describe(self) -> list[dict[str, Any]]:
        """Return the columns as plain data, for manifests and for saying what differs."""
        return [
            {
                "name": f.name,
                "dtype": f.dtype,
                "unit": f.unit,
                "missing": None if math.isnan(f.missing) else f.missing,
                "source": f.source,
                "meaning": f.meaning,
            }
            for f in self.features
        ]

    def without(self, dropped: Sequence[str]) -> FeatureView:
        """Return the view less some columns, for an ablation; it has a fingerprint of its own."""
        kept = tuple(c for c, f in zip(self.columns, self.features, strict=True) if f.name not in set(dropped))
        return FeatureView(self.name, self.version, self.request, self.groups, kept, self.time)

    def _feature(self, column: str | OnDemand) -> Feature:
        if isinstance(column, OnDemand):
            for source in column.inputs:
                self._check(source)
            return Feature(
                column.name, f"on_demand:{column.name}", "float32", column.unit, column.missing, column.meaning
            )
        origin, name = self._check(column)
        if origin == "request":
            wanted = self.request_column(name)
            return Feature(name, column, "float32", wanted.unit, wanted.missing, wanted.meaning)
        group = self.group(origin)
        counted = any(part in name for part in ("_count_", "_sum_", "_distinct_"))
        return Feature(name, column, "float32", group.unit, 0.0 if counted else group.missing, group.meaning)

    def _check_request(self) -> None:
        known = ", ".join(self.request_names)
        for group in self.groups:
            if group.key not in self.request_names:
                raise ValueError(
                    f"view {self.name!r} has group {group.name!r} keyed by {group.key!r}, "
                    f"needs a request column of that name; a request carries {known}"
                )
        if self.time in self.request_names and self.request_column(self.time).dtype != "timestamp":
            found = self.request_column(self.time).dtype
            raise ValueError(f"view {self.name!r} has time column {self.time!r} of dtype {found!r}, needs 'timestamp'")
        stamps = [repr(column.name) for column in self.request if column.dtype == "timestamp"]
        if self.time and stamps and self.time not in self.request_names:  # else a caller's time would not be heeded
            raise ValueError(
                f"view {self.name!r} has time column {self.time!r}, which no request carries, "
                f"needs {' or '.join(stamps)}, or '' where the server's clock alone tells the time"
            )

    def _check(self, source: str) -> tuple[str, str]:
        origin, _, name = source.partition(".")
        names = self.request_names if origin == "request" else self.group(origin).column_names
        if name not in names:
            raise ValueError(f"view {self.name!r} reads {source!r}, needs one of {', '.join(names)}")
        if origin == "request" and self.request_column(name).dtype == "string":
            raise ValueError(f"view {self.name!r} reads {source!r}, a string: a model's column needs a number")
        return origin, name

    @property
    def functions(self) -> str:
        """A hash of the on-demand functions alone, to tell which part of a view's fingerprint changed."""
        return digest(self._functions())

    def _functions(self) -> list[Any]:
        return [[c.name, list(c.inputs), c.identity] for c in self.columns if isinstance(c, OnDemand)]

    def _fingerprint(self) -> str:
        columns = [[d["name"], d["dtype"], repr(d["missing"]), d["source"]] for d in self.describe()]
        functions = self._functions()
        used = {source for c in self.columns for source in (c.inputs if isinstance(c, OnDemand) else (c,))}
        request = [[c.name, c.dtype, repr(c.low), repr(c.high)] for c in self.request if f"request.{c.name}" in used]
        return digest([columns, functions, request, [group.describe() for group in self.groups]])
