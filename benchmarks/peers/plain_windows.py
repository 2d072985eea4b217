"""Windows folded event by event: a dict of tiles per card and window, in memory, nothing kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headrace.features.windows import Window

Tile = list[float]  # tile index, count, mean, squared deviations, min, max


class PlainWindows:
    """The same tiles as Headrace keeps, as a plain loop over events would."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self.windows = [(at, window.tile_ms, window.slots) for at, window in enumerate(windows)]
        self.tiles: dict[tuple[int, int, int], Tile] = {}
        self.last: dict[int, Mapping[str, float]] = {}

    def add(self, event: Mapping[str, float]) -> None:
        """Count one event in every window."""
        card, time, amount = int(event["cc_num"]), int(event["datetime"]), event["amount"]
        for at, tile_ms, slots in self.windows:
            index = time // tile_ms
            place = (card, at, index % slots)
            tile = self.tiles.get(place)
            if tile is None or tile[0] < index:
                self.tiles[place] = [index, 1.0, amount, 0.0, amount, amount]
            elif tile[0] == index:
                tile[1] += 1
                apart = amount - tile[2]
                tile[2] += apart / tile[1]
                tile[3] += apart * (amount - tile[2])
                tile[4] = min(tile[4], amount)
                tile[5] = max(tile[5], amount)
        self.last[card] = event
