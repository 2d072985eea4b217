"""A layout is known by its fingerprint, and every parameter of a group is in it."""

import dataclasses

import numpy as np
import pytest

from headrace.features import Layout, Window, WindowedGroup

GROUP = WindowedGroup("g", 1, "s", "k", "t", "v", ("count", "mean"), (Window("a", 120),), ("x",))

CHANGES = [
    {"name": "h"},
    {"version": 2},
    {"stream": "r"},
    {"key": "l"},
    {"time": "u"},
    {"value": "w"},
    {"stats": ("count", "sum")},
    {"stats": ("mean", "count")},
    {"windows": (Window("a", 240),)},
    {"windows": (Window("b", 120),)},
    {"windows": (Window("a", 120, tile_ms=5),)},
    {"windows": (Window("a", 120, delay_ms=10),)},
    {"windows": (Window("a", 120), Window("b", 240))},
    {"last": ("y",)},
    {"last": ()},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_any_changed_parameter_of_a_group_changes_its_layout(change):
    assert dataclasses.replace(GROUP, **change).layout.fingerprint != GROUP.layout.fingerprint


def test_what_is_only_said_about_a_group_does_not_change_its_layout():
    said = dataclasses.replace(GROUP, meaning="Something else.", unit="EUR", missing=-1.0)
    assert said.layout.fingerprint == GROUP.layout.fingerprint


def test_a_record_written_is_the_record_read():
    records = GROUP.empty(3)
    records["count"][1] = 7
    again = GROUP.layout.read(records.tobytes())
    assert again.tobytes() == records.tobytes()
    assert len(records.tobytes()) == 3 * GROUP.layout.size


def test_records_of_another_layout_and_blank_ones_are_not_known():
    records = np.concatenate([GROUP.empty(1), np.zeros(1, GROUP.layout.dtype), GROUP.empty(1)])
    records["layout"][2] ^= np.uint64(1)
    assert GROUP.layout.known(records).tolist() == [True, False, False]


def test_a_column_of_another_dtype_is_another_layout():
    wide, narrow = (Layout.of({"name": "g"}, [("x", dtype)]) for dtype in ("<f8", "<f4"))
    assert wide.fingerprint != narrow.fingerprint
