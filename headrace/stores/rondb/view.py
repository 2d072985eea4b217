"""What a reader has to know of a feature view of tiles: plain data, found out once when it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headrace.features.windows import WindowedGroup
from headrace.stores.rondb.errors import ViewAbsent

#: How many characters a text key may have: its column is declared so.
LONGEST_KEY = 200


@dataclass(frozen=True, slots=True)
class TilesColumn:
    """Where a group's tiles stand in a vector, from 0, and the name that its key has in an entry.

    `textual` keys are text, others int64.
    """

    group: WindowedGroup
    position: int
    serving_key: str
    textual: bool = False


@dataclass(frozen=True, slots=True)
class TilesView:
    """A feature view that serves the tiles of groups; `width` is how many values a vector has.

    `feature_store` is named as the server knows it, without the suffix `_featurestore`.
    """

    feature_store: str
    name: str
    version: int
    width: int
    columns: tuple[TilesColumn, ...]
    application: str

    def column(self, group: WindowedGroup) -> TilesColumn:
        """Return where a group is read from; raises ViewAbsent where the view does not serve it."""
        for column in self.columns:
            if column.group is group or column.group.name == group.name:
                return column
        raise ViewAbsent(self.lacks(group))

    def lacks(self, group: WindowedGroup) -> str:
        """Say that a group is not served."""
        served = ", ".join(column.group.name for column in self.columns)
        return f"{self} serves {served or 'no group'}, needs {group.name!r}: {self.remedy}"

    def unserved(self, groups: Sequence[WindowedGroup]) -> str | None:
        """Say which group is not served under its own declaration, None where all are."""
        for group in groups:
            if not any(column.group == group for column in self.columns):
                return self.lacks(group)
        return None

    @property
    def remedy(self) -> str:
        """What brings the view to where it should be."""
        return f"run headrace hopsworks apply {self.application}"

    def __str__(self) -> str:
        return f"view {self.name} version {self.version}"
