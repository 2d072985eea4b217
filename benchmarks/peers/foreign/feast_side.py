"""Feast's feature server: `python feast_side.py FOLDER VALUES STORE PORT`, STORE is sqlite or a Redis' host:port.

VALUES is an npz file with, for each feature view, its key, its features' names and their values. They are written
to the online store before the server starts, one worker, no access log, never started anew.
"""
# mypy: disable-error-code="import-not-found"

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64

SETTINGS = """project: headrace
provider: local
registry: {folder}/registry.db
online_store: {online}
entity_key_serialization_version: 3
telemetry: false
"""


def views(folder, held):
    """Yield each feature view, its entity, and its rows."""
    now = datetime.now(UTC)
    for name in (entry.removesuffix(".key") for entry in held.files if entry.endswith(".key")):
        key, names, values = str(held[f"{name}.key"]), held[f"{name}.names"].tolist(), held[f"{name}.values"]
        rows = pd.DataFrame(values, columns=names).assign(**{key: held[f"{name}.keys"], "event_timestamp": now})
        rows.to_parquet(folder / f"{name}.parquet")
        entity = Entity(name=key, join_keys=[key], value_type=ValueType.INT64)
        source = FileSource(path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp")
        schema = [Field(name=feature, dtype=Float64) for feature in names]
        yield FeatureView(name=name, entities=[entity], schema=schema, source=source), entity, rows


if __name__ == "__main__":
    folder, values, store, port = sys.argv[1:]
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    online = f"{{type: sqlite, path: {folder}/online.db}}"
    if store != "sqlite":
        online = f'{{type: redis, connection_string: "{store}"}}'
    (home / "feature_store.yaml").write_text(SETTINGS.format(folder=folder, online=online))
    made = FeatureStore(repo_path=folder)
    found = list(views(home, np.load(values)))
    service = FeatureService(name="fraud", features=[view for view, _, _ in found])
    made.apply([*(entity for _, entity, _ in found), *(view for view, _, _ in found), service])
    for view, _, rows in found:
        made.write_to_online_store(view.name, rows)
    served = ["serve", "--host", "127.0.0.1", "--port", port, "--no-access-log", "--max-requests", "0"]
    os.execv(sys.executable, [sys.executable, "-m", "feast.cli.cli", "-c", folder, *served])
