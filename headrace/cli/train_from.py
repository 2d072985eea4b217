"""`headrace train --from hopsworks`: events of a feature store into a frame, a model, and its registry.

The frame is the one that `headrace backfill` would make of the same events: its features are computed
from events, as serving computed them, and no readable column of the store is used. A training dataset
of a feature view, which is made of such columns by a query in the cluster, could not hold it; so it is
kept as Parquet beside the model's files in the registry, and its SHA-256 is in the model's manifest.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_pipelines.duplicates import counted_once
from feature_pipelines.spines import with_features
from headrace.application import Application
from headrace.cli.console import step
from headrace.cli.in_cluster import connected
from headrace.cli.model import refused, register
from headrace.cli.training import Served, print_trained, train_and_publish, training_rows
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.registry import FRAME
from headrace.hopsworks.session import Session
from headrace.hopsworks.training import Columns, history_of, pull_events, rows_to_learn
from headrace.stores.offline import OfflineStore, training_frame


def train_from_hopsworks(
    app: Application,
    out: Path,
    seed: int,
    since_ms: int | None,
    until_ms: int | None,
    registered: bool,
    cluster: Mapping[str, Any],
    served: Served,
) -> None:
    """Train on the events that Hopsworks has, write the model to the repository `out`, and register it."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        refused(),
        connected(**cluster) as session,
        tempfile.TemporaryDirectory(dir=out, prefix=".training-") as folder,
    ):
        history = _read_events(session, app, OfflineStore(Path(folder) / "events"), since_ms, until_ms)
        frame = _make_frame(app, history, Path(folder) / FRAME)
        origin = {
            "events": {group.name: group.version for group in Declared.of(app).events},
            "project": f"{session.settings.where}/{session.settings.project}",
            "frame_sha256": _digest(frame),
        }
        with step(f"train {app.name}") as doing:
            rows = training_rows(app, pq.read_table(frame))
            directory, _ = train_and_publish(app, *rows, out, doing, seed, origin, served=served)
        number = print_trained(app, directory)
        if registered:
            with step("register the model") as doing:
                register(session, directory, doing, frame, number)


def _read_events(
    session: Session, app: Application, store: OfflineStore, since_ms: int | None, until_ms: int | None
) -> dict[str, Columns]:
    declared = Declared.of(app)
    with step("read the events") as doing:
        pull_events(session, declared, store, since_ms=since_ms, until_ms=until_ms, progress=doing.advance)
        history = history_of(declared, store)
        once: dict[str, Columns] = {name: counted_once(app.stream(name), columns) for name, columns in history.items()}
        doing.result = ", ".join(f"{columns[app.stream(name).time].size:,} {name}" for name, columns in once.items())
    return once


def _make_frame(app: Application, history: dict[str, Columns], path: Path) -> Path:
    with step("build the training frame") as doing:
        rows = rows_to_learn(app, history)
        doing.total(rows[app.streams[0].time].size)
        spine = {name: rows[name] for name in app.view.request_names if name in rows}
        frame = training_frame(app.view, spine, history, progress=doing.advance)
        table = pa.table({name: pa.array(values) for name, values in rows.items()})
        pq.write_table(with_features(app.view, table, frame.features), path)
        doing.result = f"{table.num_rows:,} rows of {frame.features.shape[1]} features"
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
