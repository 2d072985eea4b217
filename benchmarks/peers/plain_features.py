"""Features as a transformer computes them row by row: plain functions of numbers, a dict per entity.

This is how an online store's client with Python functions works: stored values are ready-made,
each entity is read by itself, each function is called once per row. What a client of a
remote store adds - the network, checks, copies - is left out: this peer is faster than any of them.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from headrace.features.view import FeatureView
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import Lookup


class PlainStore:
    """Ready-made feature values of each entity, in LMDB: one get and one unpack per entity."""

    def __init__(self, path: Path | str, columns: Mapping[str, tuple[str, ...]]) -> None:
        self._env = lmdb.open(str(path), max_dbs=len(columns), map_size=1 << 28)
        self._columns = columns
        self._forms = {group: struct.Struct(f"<{len(names)}d") for group, names in columns.items()}
        self._dbs = {group: self._env.open_db(group.encode()) for group in columns}

    def get(self, group: str, key: int) -> dict[str, float]:
        """Return the values of one entity; NaN where it is not known."""
        with self._env.begin(db=self._dbs[group]) as txn:
            found = txn.get(struct.pack(">q", key))
        names = self._columns[group]
        if found is None:
            return dict.fromkeys(names, math.nan)
        return dict(zip(names, self._forms[group].unpack(found), strict=True))

    def put(self, group: str, keys: np.ndarray, values: np.ndarray) -> None:
        """Write the values of many entities."""
        rows = zip(keys.tolist(), values.tolist(), strict=True)
        with self._env.begin(write=True, db=self._dbs[group]) as txn:
            for key, row in rows:
                txn.put(struct.pack(">q", key), self._forms[group].pack(*row))

    def close(self) -> None:
        """Close the files."""
        self._env.close()


def columns_of(view: FeatureView) -> dict[str, tuple[str, ...]]:
    """Return the stored columns of a view's groups."""
    return {group.name: group.column_names for group in view.groups}


def vector(names: tuple[str, ...], missing: list[float], store: PlainStore, row: dict[str, Any]) -> list[float]:
    """Return one entity's features in the model's order."""
    values = {**row, **store.get("card_activity", row["cc_num"]), **store.get("terminal_risk", row["terminal_id"])}
    values.update(on_demand(values))
    found = [values[name] for name in names]
    return [instead if math.isnan(value) else value for value, instead in zip(found, missing, strict=True)]


def on_demand(v: dict[str, Any]) -> dict[str, float]:
    """Return what is computed from an entity's request and stored values."""
    here, last = (v["latitude"], v["longitude"]), (v["last_latitude"], v["last_longitude"])
    distance = great_circle_km(*last, *here)
    passed = max((v["datetime"] - v["last_datetime"]) / 1000.0, 0.0)
    moment = datetime.fromtimestamp(v["datetime"] / 1000, UTC)
    day = 2 * math.pi * (v["datetime"] % 86_400_000) / 86_400_000
    week = 2 * math.pi * moment.weekday() / 7
    mean, spread = v["amount_mean_7d"], v["amount_std_7d"]
    return {
        "distance_from_last_km": distance,
        "seconds_since_last": passed,
        "speed_from_last_kmh": distance / (max(passed, 1.0) / 3600),
        "hour_sin": math.sin(day),
        "hour_cos": math.cos(day),
        "weekday_sin": math.sin(week),
        "weekday_cos": math.cos(week),
        "is_weekend": float(moment.weekday() >= 5),
        "is_night": float(moment.hour < 6),
        "amount_over_mean_24h": v["amount"] / v["amount_mean_24h"] if v["amount_mean_24h"] else math.nan,
        "amount_zscore_7d": (v["amount"] - mean) / spread if spread > 1e-9 * abs(mean) else math.nan,
    }


def great_circle_km(lat_a: float, lon_a: float, lat_b: float, lon_b: float) -> float:
    """Return the distance between two points given in degrees."""
    lat_a, lon_a, lat_b, lon_b = map(math.radians, (lat_a, lon_a, lat_b, lon_b))
    chord = math.sin((lat_b - lat_a) / 2) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(min(chord, 1.0)))


@contextmanager
def plain_store(path: Path, view: FeatureView) -> Iterator[PlainStore]:
    """Open a store of ready-made values until the block ends."""
    path.mkdir(parents=True, exist_ok=True)
    store = PlainStore(path, columns_of(view))
    try:
        yield store
    finally:
        store.close()


def copy_values(source: EmbeddedStore, view: FeatureView, keys: Mapping[str, np.ndarray], as_of: int, to: Path) -> None:
    """Write the values that entities have at one instant, ready-made, into a plain store."""
    with plain_store(to, view) as target:
        for group in view.groups:
            wanted = keys[group.key]
            block = asyncio.run(source.read([Lookup(group, wanted)], np.full(wanted.size, as_of)))[0]
            target.put(group.name, wanted, block.values)
