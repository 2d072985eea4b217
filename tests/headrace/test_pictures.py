"""Pictures draw what a reading holds: a bar per tile where it lies in time, the covered span, when it was read."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.container import BarContainer

from headrace.features import DAY, Reading, Window, explain
from headrace.pictures import BLUE, history, windows
from tests.features.streaming import fold_all, group
from tests.oracles.naive_windows import Event

GROUP = group(Window("2m", 120_000), Window("1m late", 60_000, delay_ms=60_000))
PNG = b"\x89PNG"


@pytest.fixture
def reading() -> Reading:
    """Sixty events in three minutes."""
    records, _ = fold_all(GROUP, [Event(0, at * 3_000, float(at)) for at in range(60)])
    return explain(GROUP, records, 178_000)


def test_every_tile_is_a_bar_of_its_height_where_it_lies(reading):
    picture = windows(reading, "sum", "EUR")
    for ax, window in zip(picture.figure.axes, reading.windows, strict=True):
        bars = [bar for drawn in ax.containers if isinstance(drawn, BarContainer) for bar in drawn]
        assert len(bars) == len(window.tiles)
        for bar, tile in zip(bars, window.tiles, strict=True):
            assert bar.get_height() == tile.values["sum"]
            assert round(bar.get_x() * DAY) == tile.start_ms
            assert round((bar.get_x() + bar.get_width()) * DAY) == tile.end_ms
            assert (bar.get_hatch() is None) == tile.covered
        assert ax.get_ylabel() == "sum of amount\nper tile (EUR)"
        assert ax.get_title(loc="left").startswith(f"{window.label}:  count {window.values['count']:g},")
        low, high = (round(edge * DAY) for edge in ax.get_xlim())
        assert low < window.from_ms < window.to_ms < high
        assert low < reading.as_of_ms < high


def test_the_legend_names_what_is_drawn_and_no_text_lies_on_another(reading):
    figure = windows(reading).figure
    figure.draw_without_rendering()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["tile in the window", "tile kept, not in the window", "what the window covers", "read at"]
    boxes = [
        text.get_window_extent() for ax in figure.axes for text in (*ax.get_xticklabels(), ax.title, ax.xaxis.label)
    ]
    boxes = [box for box in boxes if box.width > 0]
    assert not any(a.overlaps(b) for at, a in enumerate(boxes) for b in boxes[:at])


def test_an_old_tile_does_not_squeeze_the_window():
    records, _ = fold_all(GROUP, [Event(0, 0, 999.0), Event(0, DAY + 15_000, 1.0)])
    ax = windows(explain(GROUP, records, DAY + 20_000)).figure.axes[0]
    low, high = ax.get_xlim()
    assert (high - low) * DAY < 5 * 120_000
    assert len(ax.containers) == 1


def test_a_key_never_seen_has_a_picture_too():
    assert windows(explain(GROUP, GROUP.empty(1), 178_000))._repr_png_().startswith(PNG)


def test_a_statistic_that_tiles_do_not_have_is_refused(reading):
    with pytest.raises(ValueError, match="tiles of activity have no 'median', needs one of count, sum, mean"):
        windows(reading, "median")


def test_features_over_time_are_lines_with_gaps(tmp_path):
    at = np.arange(4, dtype=np.int64) * DAY
    picture = history(at, {"a": np.array([1.0, np.nan, 2.0, 3.0]), "b": np.arange(4.0)}, "card 7", "EUR")
    ax = picture.figure.axes[0]
    first, second = ax.get_lines()
    np.testing.assert_array_equal(first.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_array_equal(first.get_ydata(), [1.0, np.nan, 2.0, 3.0])
    assert (first.get_color(), first.get_label(), second.get_label()) == (BLUE, "a", "b")
    assert first.get_linewidth() != second.get_linewidth()
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("EUR", "time (UTC)")
    picture.save(tmp_path / "h.png")
    assert (tmp_path / "h.png").read_bytes().startswith(PNG)
