"""A timeline reads at any instant what folding everything before it would leave, sketches too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import Window, WindowedGroup, fold, merge
from headrace.stores import timeline
from headrace.stores.timeline import Timeline, coded

WINDOWS = (Window("a", 120), Window("b", 100, tile_ms=30), Window("d", 60, delay_ms=45))
SKETCHED = WindowedGroup(
    "sketched", 1, "payments", "key", "at", "amount", ("count", "distinct", "p50", "mean", "last"), WINDOWS, ("amount",)
)
KEYS = 3

rows = st.tuples(st.integers(0, KEYS - 1), st.integers(-300, 300), st.none() | st.integers(-50, 50))
histories = st.lists(rows, max_size=30)
askings = st.lists(st.tuples(st.integers(0, KEYS), st.integers(-300, 400)), min_size=1, max_size=12)


def columns(given_rows: list) -> dict[str, np.ndarray]:
    """Return rows as columns."""
    parts = [np.array([row[at] for row in given_rows], dtype=kind) for at, kind in enumerate((int, int, float))]
    return dict(zip(("key", "at", "amount"), parts, strict=True))


@given(histories, askings, st.integers(1, 9))
def test_sketches_are_those_of_a_fold(given_rows, asked, limit):
    events = columns(given_rows)
    keys, as_of = (np.array([row[at] for row in asked]) for at in range(2))
    got = np.empty((keys.size, len(SKETCHED.column_names)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "_REBUILT_EVENTS", limit)
        for part, values in Timeline.of(SKETCHED, events).read(keys, as_of):
            got[part] = values
    for row, (key, at) in enumerate(asked):
        before = (events["key"] == key) & (events["at"] < at)
        record = SKETCHED.empty(1)
        past = {name: values[before] for name, values in events.items()}
        order = np.argsort(past["at"], kind="stable")
        fold(SKETCHED, record, np.zeros(order.size, dtype=np.int64), {n: v[order] for n, v in past.items()})
        np.testing.assert_allclose(got[row], merge(SKETCHED, record, np.array([at]))[0], rtol=1e-12)


@given(st.lists(st.integers(-5, 5)) | st.lists(st.text(max_size=2)))
def test_keys_are_coded_by_their_order(given_keys):
    kind = object if any(isinstance(key, str) for key in given_keys) else np.int64
    distinct, code = coded(np.array(given_keys, dtype=kind))
    assert distinct.tolist() == sorted(set(given_keys))
    assert [distinct[at] for at in code] == given_keys
