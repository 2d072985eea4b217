"""The picture of docs/benchmarks.md: requests per second of a core and the slowest hundredth, beside the stock pair.

Drawn from what was kept; the file carries the digest of the figures in it, so that a test can tell whether it is
theirs. Colours are those of M. Okabe and K. Ito, "Color Universal Design" (2002).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.cells import P99, PER_CPU_SECOND

#: The sides in their order, with what they are called and their colours.
SIDES = {
    "stock": ("kserve's server + Hopsworks SDK", "#999999"),
    "headrace from hopsworks": ("Headrace, same Hopsworks cluster", "#E69F00"),
    "headrace": ("Headrace, embedded store", "#0072B2"),
    "headrace in process": ("Headrace, predictor in process too", "#009E73"),
}
_NAMED = ("stock", "headrace in process")  # whose values are written
ENTITIES, CONNECTIONS = (1, 25, 100, 500), 16
Drawn = dict[str, dict[str, list[float]]]  # measure -> side -> a value for each number of entities


def figures_of(kept: dict[str, Any]) -> Drawn:
    """Return what is drawn: of every measure and side a value for 1, 25, 100 and 500 entities."""
    drawn: Drawn = {PER_CPU_SECOND: {}, P99: {}}
    for rows in ENTITIES:
        case = f"{rows} {'entity' if rows == 1 else 'entities'}, {CONNECTIONS} conn."
        for figure in kept["pair-json"]["figures"]:
            if figure["case"] == case and figure["measure"] in drawn and "of" not in figure:
                for side in (side for side in SIDES if side in figure["sides"]):
                    drawn[figure["measure"]].setdefault(side, []).append(figure["sides"][side]["median"])
    return drawn


def digest(kept: dict[str, Any]) -> str:
    """Return the digest of what is drawn."""
    return hashlib.sha256(orjson.dumps(figures_of(kept))).hexdigest()


def draw(kept: dict[str, Any], to: Path) -> None:
    """Draw the picture into an SVG file, the same bytes for the same figures."""
    found = figures_of(kept)
    with mpl.rc_context({"svg.hashsalt": "headrace", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _lines(left, found[PER_CPU_SECOND], "requests/s per core: more is better")
        _lines(right, found[P99], "p99, ms, at 16 connections: less is better")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
        figure.savefig(to, metadata={"Date": None, "Description": f"figures {digest(kept)}"})


def _lines(axes: Axes, values: dict[str, list[float]], title: str) -> None:
    # Lines and not bars: on a logarithmic axis a bar has no length.
    for side, (said, colour) in ((side, SIDES[side]) for side in SIDES if side in values):
        axes.plot(range(len(ENTITIES)), values[side], marker="o", color=colour, label=said)
    highest = max(values, key=lambda side: values[side][0])
    for side in (side for side in _NAMED if side in values):
        for at, value in enumerate(values[side]):
            beside = (0, 6 if side == highest else -13)
            axes.annotate(_short(value), (at, value), beside, textcoords="offset points", ha="center", fontsize=8)
    axes.set_yscale("log")
    axes.margins(x=0.08, y=0.16)
    axes.set_xticks(range(len(ENTITIES)), [str(rows) for rows in ENTITIES])
    axes.set_xlabel("entities per request")
    axes.set_title(title, fontsize=10)
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _short(value: float) -> str:
    return f"{value / 1000:.3g}k" if value >= 1000 else f"{value:.3g}"
