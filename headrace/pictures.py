"""Pictures for notebooks: a key's tiles under its windows, and features over time.

Instants are epoch milliseconds, UTC. The colours are those of M. Okabe and K. Ito, "Color
Universal Design" (2002), which differ for everybody, and what they tell apart is also told by
hatching or by a line's width.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from headrace.features.columns import DAY
from headrace.features.instants import iso
from headrace.features.readings import Reading, WindowReading

BLUE, ORANGE, GREEN, PURPLE, VERMILION = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00"
GREY, INK = "#BBBBBB", "#222222"
#: Of features over time; widths and not dashes, for a gap says that a value is missing.
_LINES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE), (2.6, 1.6, 1.0, 0.6), strict=True))
_COVERED: dict[str, Any] = {"color": BLUE, "ec": "white", "lw": 0.8, "label": "tile in the window"}
_OUTSIDE = {**_COVERED, "color": GREY, "hatch": "///", "label": "tile kept, not in the window"}
_SPAN: dict[str, Any] = {"color": BLUE, "alpha": 0.12, "lw": 0, "label": "what the window covers"}
_READ_AT: dict[str, Any] = {"color": VERMILION, "ls": "--", "lw": 1.5, "label": "read at"}
_WIDTH = 9.0  # inches
_DPI = 110


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure that a notebook shows by itself, under any backend."""

    figure: Figure

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        self.figure.savefig(out, format="png", dpi=_DPI)
        return out.getvalue()

    def save(self, path: Path | str) -> None:
        """Write the picture; the path's ending says as what (.png, .svg, .pdf)."""
        self.figure.savefig(path, dpi=_DPI)


def windows(reading: Reading, stat: str = "count", unit: str = "") -> Picture:
    """Draw each window of a reading: its tiles as bars of one statistic, and the span it covers.

    Raises ValueError where the tiles do not have the statistic.
    """
    known = ("count", *reading.windows[0].values)
    if stat not in known:
        raise ValueError(f"tiles of {reading.group} have no {stat!r}, needs one of {', '.join(dict.fromkeys(known))}")
    figure = Figure(figsize=(_WIDTH, 0.9 + 1.9 * len(reading.windows)), layout="constrained")
    axes = figure.subplots(len(reading.windows), squeeze=False)[:, 0]
    for ax, window in zip(axes, reading.windows, strict=True):
        _draw_window(ax, window, reading, stat)
        ax.set_ylabel(f"{_said(stat, reading)}\nper tile{f' ({unit})' if unit else ''}", fontsize=9)
    axes[-1].set_xlabel("event time (UTC)")
    figure.suptitle(f"{reading.group} read at {iso(reading.as_of_ms)}", fontsize=11, color=INK)
    legend = [Patch(**_COVERED), Patch(**_OUTSIDE), Patch(**_SPAN), Line2D([], [], **_READ_AT)]
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend), frameon=False, fontsize=9)
    return Picture(figure)


def history(at_ms: np.ndarray, features: Mapping[str, np.ndarray], title: str, unit: str = "") -> Picture:
    """Draw features, each float [n], at instants, int64 [n] ascending; a missing value is a gap."""
    figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
    ax = figure.subplots()
    for (name, values), (colour, width) in zip(features.items(), cycle(_LINES)):
        ax.step(_days(at_ms), values, where="post", color=colour, lw=width, label=name)
    ax.set_title(title, fontsize=11, color=INK)
    ax.set_ylabel(unit or "value")
    ax.set_xlabel("time (UTC)")
    _time_axis(ax)
    figure.legend(loc="outside lower center", ncols=len(features), frameon=False, fontsize=9)
    return Picture(figure)


def _draw_window(ax: Axes, window: WindowReading, reading: Reading, stat: str) -> None:
    first, last = _edges(window, reading.as_of_ms)
    ax.axvspan(_days(window.from_ms), _days(window.to_ms), **_SPAN)
    for tile in window.tiles:
        if first < tile.end_ms and tile.start_ms < last:
            drawn = _COVERED if tile.covered else _OUTSIDE
            ax.bar(_days(tile.start_ms), tile.values[stat], _days(window.tile_ms), align="edge", **drawn)
    ax.axvline(_days(reading.as_of_ms), **_READ_AT)
    said = ",  ".join(f"{name} {_number(value)}" for name, value in window.values.items())
    ax.set_title(f"{window.label}:  {said}", loc="left", fontsize=9.5, color=INK)
    ax.set_xlim(_days(first), _days(last))
    _time_axis(ax)


def _edges(window: WindowReading, as_of_ms: int) -> tuple[int, int]:
    # What is long gone, or far ahead of a reading in the past, would make the window a thin line.
    margin = max(window.tile_ms, (window.to_ms - window.from_ms) // 20)
    first = min([window.from_ms, *(tile.start_ms for tile in window.tiles)])
    last = max([window.to_ms, *(tile.end_ms for tile in window.tiles)])
    first = max(first, window.from_ms - window.length_ms)
    last = max(min(last, window.to_ms + window.length_ms), as_of_ms)
    return first - margin, last + margin


def _days(ms: int | np.ndarray) -> Any:
    return ms / DAY  # matplotlib's own unit of dates


def _time_axis(ax: Axes) -> None:
    ax.xaxis_date("UTC")
    locator = AutoDateLocator(maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#E5E5E5")
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)


def _said(stat: str, reading: Reading) -> str:
    return "events" if stat == "count" else f"{stat} of {reading.value}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:,.4g}"
