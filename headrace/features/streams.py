"""Streams: what one event of a topic carries, and how a repeated one is known."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.features.columns import HOUR, MINUTE, Column


@dataclass(frozen=True, slots=True)
class Stream:
    """A topic of events: its columns, which of them says when, and how far into the future is believed.

    `time` and every required column must be present in an event; an event without them,
    or later than the clock by more than `tolerance_ms`, is a dead letter. Of events with
    the same value of column `id` only the first to arrive counts: a value is remembered
    until the stream's newest event is more than `horizon_ms` later. Events without an id,
    and those of a stream that declares none, all count.

    >>> Stream("clicks", (Column("user", "int64"), Column("at", "timestamp")), time="at").column("user").dtype
    'int64'
    """

    name: str
    columns: tuple[Column, ...]
    time: str = "datetime"
    tolerance_ms: int = MINUTE
    id: str = ""
    horizon_ms: int = HOUR

    def __post_init__(self) -> None:
        if self.time not in self.names or self.column(self.time).dtype != "timestamp":
            raise ValueError(f"stream {self.name!r} has time column {self.time!r}, needs a declared timestamp column")
        if self.id and self.id not in self.names:
            raise ValueError(f"stream {self.name!r} has id column {self.id!r}, needs one of {', '.join(self.names)}")
        if self.id and not _identifies(self.column(self.id)):
            raise ValueError(
                f"stream {self.name!r} has id column {self.id!r} of {self.column(self.id).dtype}, "
                "needs text, or whole numbers that are required"
            )
        if self.horizon_ms < 0:
            raise ValueError(f"stream {self.name!r} has horizon {self.horizon_ms} ms, needs one that is not negative")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns in declared order."""
        return tuple(column.name for column in self.columns)

    def column(self, name: str) -> Column:
        """Return a declared column; KeyError where there is none of this name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)


def _identifies(column: Column) -> bool:
    """Tell whether a column can be an id: of whole numbers a null cannot be told from 0."""
    return column.dtype == "string" or (column.dtype == "int64" and column.required)
