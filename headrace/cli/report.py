"""What a demo found out, as one table and as JSON."""

from __future__ import annotations

import os
import platform
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
from rich.table import Table

from headrace.application import Application
from headrace.cli.console import console
from headrace.cli.split import Split
from headrace.features.columns import DAY

if TYPE_CHECKING:
    from headrace.cli.replay import Replayed

Columns = dict[str, np.ndarray]
TOLERANCE = 1e-6
MEASURES = {"roc_auc": "ROC AUC", "average_precision": "average precision", "card_precision_100": "card precision@100"}


class ParityFailed(ValueError):
    """Served features differ from the training frame."""


@dataclass(slots=True)
class Report:
    """The figures of one demo."""

    predictor: str = ""
    rows: int = 0
    positive_share: float = 0.0
    events_per_second: float = 0.0
    onnx_parity: float = 0.0
    parity_rows: int = 0
    parity_difference: float = 0.0
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)

    def measure(self, app: Application, rows: Columns, split: Split, scores: Columns) -> None:
        """Measure every model on the held-out rows."""
        held = slice(split.held, None)
        labels, cards = rows[app.label][held], rows[app.groups[0].key][held]
        days = rows[app.view.time][held] // DAY
        self.rows, self.positive_share = labels.size, float(labels.mean())
        self.scores = {name: app.load("measure")(labels, values, days, cards) for name, values in scores.items()}

    def compare(self, replayed: Replayed, frame: np.ndarray) -> None:
        """Compare served with trained features, and keep the latencies. Raises ParityFailed."""
        apart = np.abs(replayed.features.astype(np.float64) - frame)
        relative = apart / np.maximum(np.abs(frame), 1e-3)
        self.parity_rows, self.parity_difference = len(frame), float(relative.max())
        for (mode, size), seconds in sorted(replayed.seconds.items()):
            p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
            name = f"{mode}, {'1 row' if size == 1 else f'<= {size}'}"
            self.latency_ms[name] = {"requests": len(seconds), "p50": float(p50), "p99": float(p99)}
        if not self.parity_difference <= TOLERANCE:  # so that NaN is a difference too
            differing = int((~(relative <= TOLERANCE)).any(axis=1).sum())
            raise ParityFailed(
                f"{differing} of {len(frame)} rows were served features that differ from the training frame by up to "
                f"{self.parity_difference:.1e}, needs at most {TOLERANCE:.0e}"
            )

    def parity_said(self) -> str:
        """Say how far served and trained features lie apart."""
        return f"served = trained features within {self.parity_difference:.0e} on {self.parity_rows:,} rows"

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, with the machine they were measured on."""
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}
        return {
            "machine": machine,
            "predictor": self.predictor,
            "held_out": {"rows": self.rows, "positive_share": self.positive_share},
            "scores": self.scores,
            "latency_ms": self.latency_ms,
            "parity": {"rows": self.parity_rows, "largest_relative_difference": self.parity_difference},
            "onnx_parity": self.onnx_parity,
            "events_per_second": self.events_per_second,
        }


def print_report(report: Report) -> None:
    """Print the one table."""
    console.print()
    table = Table(title=f"{report.rows:,} held-out rows, {report.positive_share:.2%} positive", title_justify="left")
    table.add_column("", no_wrap=True)
    for title in MEASURES.values():
        table.add_column(title, justify="right")
    for name, measured in report.scores.items():
        table.add_row(name, *(f"{measured[key]:.4f}" for key in MEASURES))
    table.add_section()
    for mode, took in report.latency_ms.items():
        table.add_row(mode, f"{took['requests']:,} requests", f"p50 {took['p50']:.2f} ms", f"p99 {took['p99']:.2f} ms")
    table.add_section()
    table.add_row("served = trained", f"{report.parity_rows:,} rows", "within", f"{report.parity_difference:.0e}")
    table.add_row("streamed", "", "", f"{report.events_per_second:,.0f} events/s")
    console.print(table)


def curl(app: Application, address: str, rows: pa.Table) -> str:
    """Return a line that asks the running transformer about the last row."""
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    instance = {name: last[name] for name in app.view.request_names if last.get(name) is not None}
    body = orjson.dumps({"instances": [instance]}).decode()
    return (
        f"curl -s http://{address}/v1/models/{app.name}:predict -H 'headrace-deadline-ms: 500' -d {shlex.quote(body)}"
    )
