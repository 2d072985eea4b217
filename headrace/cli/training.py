"""What commands that train share: rows of a frame, a model trained on them and published, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feature_pipelines.files import as_numpy
from headrace.application import Application
from headrace.cli.console import Step, console
from headrace.cli.model_versions import UNSIGNED
from headrace.features import Plan
from headrace.features.instants import epochs_ms
from headrace.features.rows import RowsError
from predictor.triton import Serving
from predictor.verified import verified


@dataclass(frozen=True, slots=True)
class Served:
    """How a trained model is to be served; without an accelerator that of the versions before it stays."""

    promote: bool = False
    accelerator: str | None = None

    def serving(self, directory: Path) -> Serving | None:
        """Return the settings of a model's directory with this accelerator, None where none is named; ModelRefused."""
        if self.accelerator is None:
            return None
        before = verified(directory).manifest.serving if directory.exists() else Serving()
        return replace(before, accelerator=self.accelerator)


AS_BEFORE = Served()


def train_and_publish(
    app: Application,
    matrix: np.ndarray,
    labels: np.ndarray,
    times: np.ndarray,
    entities: np.ndarray,
    out: Path,
    doing: Step,
    seed: int = 0,
    origin: Mapping[str, Any] | None = None,
    torchscript: Path | None = None,
    served: Served = AS_BEFORE,
) -> tuple[Path, float]:
    """Train on rows in order of time and write the model to the repository `out`, to `torchscript` too where given.

    `origin` is said in its manifest, beside what it was trained on. Returns the model's directory and
    how far torch and ONNX lie apart. Raises ModelRefused, before it trains, where the model there is not whole.
    """
    from predictor.export import publish

    signed = (out / app.name).exists() and verified(out / app.name).signed
    trained = app.load("train")(app.view, matrix, labels, times, entities, seed=seed, progress=doing.share)
    directory, apart = publish(
        out,
        trained.module,
        app.view,
        matrix,
        outputs=app.model_outputs,
        name=app.name,
        metrics=trained.held_out,
        trained_on={**trained.trained_on, **(origin or {})},
        promote=served.promote,
        serving=served.serving(out / app.name),
    )
    if torchscript is not None:
        from predictor.torchscript import save_torchscript

        save_torchscript(trained.module, app.view, app.model_outputs, torchscript)
    learnt = f"{int(labels.sum()):,} positive" if labels.dtype == np.int8 else f"{labels.min():g} to {labels.max():g}"
    doing.result = f"{len(labels):,} rows, {learnt}; torch and ONNX within {apart:.0e}"
    if signed:
        doing.result += f"; {UNSIGNED}"
    return directory, apart


def print_trained(app: Application, directory: Path) -> int:
    """Print where the newest version of a model lies and what it is called; return its number."""
    model = verified(directory)
    number = max(model.manifest.versions)
    alias = ", ".join(alias for alias, at in model.aliases.items() if at == number)
    said = f"{directory}, version {number}, {alias}, fingerprint {app.view.fingerprint[:16]}"
    console.print(f"       {said}", soft_wrap=True)
    return number


def _learnable(labels: np.ndarray, name: str) -> np.ndarray:
    """Return labels as int8 where they are classes, else float32: a number is learnt as it is."""
    if not np.isfinite(labels).all():
        raise RowsError(f"the label {name!r} has values without a bound, needs numbers: correct the frame")
    classes = ((labels >= 0) & (labels <= 127) & (labels == np.floor(labels))).all()
    return labels.astype(np.int8 if classes else np.float32)


def training_rows(app: Application, table: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return matrix float32 [rows, columns], labels, epoch milliseconds and entity keys, in order of time.

    Labels are int8 where all are classes, whole numbers from 0 to 127, else float32. Rows without
    a label or a time are left out. Raises RowsError for absent columns, for a label without a bound, and for a frame
    that was made under another view.
    """
    view, key = app.view, app.groups[0].key
    if not app.label:
        raise RowsError(f"application {app.name!r} names no label, needs label='column' and train='module:function'")
    absent = [name for name in (*view.names, app.label, view.time, key) if name not in table.column_names]
    if absent:
        raise RowsError(f"the frame has no {', '.join(absent)}, needs them: make it with `headrace backfill`")
    made_by = ((table.schema.metadata or {}).get(b"headrace_fingerprint") or b"").decode()
    if made_by and made_by != view.fingerprint:
        raise RowsError(
            f"the frame was made under view {made_by[:16]}, this one is {view.fingerprint[:16]}: backfill again"
        )
    columns: dict[str, Any] = {name: as_numpy(table.column(name)) for name in (*view.names, app.label, view.time, key)}
    matrix = np.stack([np.asarray(columns[name], dtype=np.float32) for name in view.names], axis=1)
    Plan.of(view).fill(matrix)
    labels, times = np.asarray(columns[app.label], dtype=np.float64), epochs_ms(columns[view.time])
    kept = np.flatnonzero(~np.isnan(labels) & (times > 0))
    order = kept[np.argsort(times[kept], kind="stable")]
    return matrix[order], _learnable(labels[order], app.label), times[order], columns[key][order]
