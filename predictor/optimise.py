"""A smaller or faster variant of a model, proved on rows before it becomes a version of its own.

The variant is made with rows of the past and judged on later ones that have labels: size of the file, time of
a run of one row and of many on this processor, and average precision, each before and after. One that loses
more average precision than is allowed is refused, and nothing is written. The version it was made of stays.
Where no rows are at hand they are drawn from the model's reference histograms, each column by itself, and are
positive as often as the model says: that tells whether the variant ranks as the model does, not whether either
is right.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score

from headrace.runtime import Runtime
from predictor.quantising import to_fp16, to_int8
from predictor.reference import rows_like
from predictor.repository import Manifest, ModelRefused, Which, read_model, write_model

KINDS = ("int8", "fp16")
BATCHES = (1, 256)
ALLOWED_LOSS = 0.005
CALIBRATED_ON = 20_000  # rows that ranges are measured on
DRAWN = 50_000  # rows, where none are given
JUDGED_ON = 0.2  # the last part of the rows
_TURNS, _MIDDLE = 200, 20  # runs of each side, and the percentile of their times: above it others were in the way


@dataclass(frozen=True, slots=True)
class Side:
    """A model as it was measured: bytes of its file, microseconds of a run by rows, average precision."""

    size: int
    microseconds: Mapping[int, float]
    average_precision: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A model and its variant on the same rows; `apart` is the mean and the largest difference of their scores."""

    kind: str
    before: Side
    after: Side
    rows: int
    positive: int
    apart: tuple[float, float]

    @property
    def loss(self) -> float:
        """The average precision that is lost; negative where some was won."""
        return self.before.average_precision - self.after.average_precision

    @property
    def smaller(self) -> float:
        """How many times smaller the variant's file is."""
        return self.before.size / self.after.size

    def faster(self, rows: int) -> float:
        """Return how many times faster a run of so many rows is."""
        return self.before.microseconds[rows] / self.after.microseconds[rows]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows in order of time: float32 [rows, columns of the view], and labels 0 or 1. The last ones judge."""

    matrix: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    @property
    def split(self) -> int:
        """The first row that is judged on."""
        return int(len(self.labels) * (1 - JUDGED_ON))

    def calibration(self) -> np.ndarray:
        """Return rows that ranges are measured on, evenly from all that are not judged on."""
        return np.ascontiguousarray(self.matrix[: self.split : max(1, self.split // CALIBRATED_ON)])


def drawn_rows(manifest: Manifest, model: bytes, seed: int = 0) -> Rows:
    """Return rows that look like the reference, labelled by chance as the model says; ModelRefused where it cannot."""
    absent = [name for name in manifest.column_names if name not in manifest.reference]
    if absent:
        raise ModelRefused(f"model {manifest.name!r} has no reference histogram of {', '.join(absent)}, needs rows")
    matrix = rows_like(manifest.reference, manifest.column_names, DRAWN, seed)
    scores = next(iter(Runtime.of(model).run(matrix).values())).reshape(-1)
    if scores.min() < 0 or scores.max() > 1:
        raise ModelRefused(
            f"model {manifest.name!r} answers {scores.min():.3g} to {scores.max():.3g}, which are no "
            "probabilities to draw labels by, needs rows with labels"
        )
    return Rows(matrix, (np.random.default_rng(seed).random(DRAWN) < scores).astype(np.int8))


def optimise(
    directory: Path | str,
    kind: str,
    rows: Rows | None = None,
    *,
    which: Which = None,
    allowed_loss: float = ALLOWED_LOSS,
    promote: bool = False,
    key: Path | str | None = None,
) -> Comparison:
    """Write a variant of a version as the model's next one, candidate unless promoted; return how they compare.

    Without rows they are drawn. Raises ModelRefused for a model that is not whole or cannot be made smaller, for
    rows that cannot judge, and for a variant that loses more average precision than allowed: then nothing is written.
    """
    directory = Path(directory)
    manifest, model = read_model(directory, version=which)
    rows = drawn_rows(manifest, model) if rows is None else rows
    judged = rows.labels[rows.split :]
    if rows.matrix.shape[1] != len(manifest.columns) or not 0 < judged.sum() < judged.size:
        raise ModelRefused(
            f"the rows have {rows.matrix.shape[1]} columns and {int(judged.sum())} of the {judged.size} last are "
            f"positive, needs {len(manifest.columns)} columns and both kinds to judge by"
        )
    variant = variant_of(model, kind, rows, manifest.name)
    found = compare(kind, model, variant, rows)
    if not found.loss <= allowed_loss:
        before, after = found.before.average_precision, found.after.average_precision
        raise ModelRefused(
            f"the {kind} variant of model {manifest.name!r} version {manifest.version} loses {found.loss:.6f} of "
            f"average precision ({before:.6f} to {after:.6f}), needs at most {allowed_loss:g}: nothing was written"
        )
    _publish(directory, manifest, variant, found, promote, key)
    return found


def variant_of(model: bytes, kind: str, rows: Rows, name: str = "") -> bytes:
    """Return a variant's file; ModelRefused where the model cannot be written so."""
    try:
        return to_int8(model, rows.calibration()) if kind == "int8" else to_fp16(model)
    except ValueError as wrong:
        raise ModelRefused(f"model {name!r} has no {kind} variant: {wrong}") from wrong


def compare(
    kind: str, model: bytes, variant: bytes, rows: Rows, clock: Callable[[], float] = time.perf_counter
) -> Comparison:
    """Measure a model and its variant on the rows that are judged on, by the first output, run by one thread."""
    matrix, labels = np.ascontiguousarray(rows.matrix[rows.split :]), rows.labels[rows.split :]
    both = [Runtime.of(one) for one in (model, variant)]
    output = both[0].outputs[:1]
    scores = [next(iter(one.run(matrix, output).values())).reshape(-1) for one in both]
    taken = {count: _taken(both, np.resize(matrix, (count, matrix.shape[1])), clock) for count in BATCHES}
    before, after = (
        Side(
            len(file),
            {count: taken[count][at] for count in BATCHES},
            float(average_precision_score(labels, scores[at])),
        )
        for at, file in enumerate((model, variant))
    )
    apart = np.abs(scores[0].astype(np.float64) - scores[1])
    return Comparison(kind, before, after, len(labels), int(labels.sum()), (float(apart.mean()), float(apart.max())))


def _taken(both: list[Runtime], features: np.ndarray, clock: Callable[[], float]) -> list[float]:
    """Return microseconds of a run of each, taken in turns."""
    times: list[list[float]] = [[] for _ in both]
    for _ in range(_TURNS):
        for at, one in enumerate(both):
            one.run(features)  # the other's numbers are in the caches
            began = clock()
            one.run(features)
            times[at].append(clock() - began)
    return [float(np.percentile(each, _MIDDLE)) * 1e6 for each in times]


def _publish(
    directory: Path, manifest: Manifest, variant: bytes, found: Comparison, promote: bool, key: Path | str | None
) -> None:
    made = {
        "kind": found.kind,
        "of": manifest.version,
        "rows": found.rows,
        "positive": found.positive,
        "average_precision_before": found.before.average_precision,
        "bytes_before": found.before.size,
        "bytes": found.after.size,
    }
    write_model(
        directory.parent,
        directory.name,
        variant,
        fingerprint=manifest.fingerprint,
        columns=manifest.columns,
        outputs=[output["name"] for output in manifest.outputs],
        promote=promote,
        metrics={"average_precision": found.after.average_precision, "apart": found.apart[1]},
        reference=manifest.reference,
        trained_on={**manifest.trained_on, "variant": made},
        key=key,
    )
