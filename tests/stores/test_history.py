"""Staged rows come back sorted, on the disk as in memory, and rows swept with them see what lies behind."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stores import buckets, history
from headrace.stores.buckets import Buckets
from headrace.stores.history import HistoryTooLarge, Staged

numbers = st.sampled_from([-(2**63), 2**63 - 1]) | st.integers(-3, 3)
keyed = st.lists(st.tuples(numbers, numbers)) | st.lists(st.tuples(st.text(max_size=2), numbers))


def columns(rows: list) -> dict[str, np.ndarray]:
    """Return keys and times as columns."""
    kind = object if any(isinstance(key, str) for key, _ in rows) else np.int64
    keys = np.empty(len(rows), dtype=kind)
    keys[:] = [key for key, _ in rows]
    return {"key": keys, "at": np.array([at for _, at in rows], dtype=np.int64), "row": np.arange(len(rows))}


@given(keyed, st.sampled_from([0, 10**9]), st.integers(1, 4))
@settings(max_examples=25)
def test_rows_come_back_sorted_and_equal_ones_as_they_came(tmp_path_factory, rows, memory, batch):
    given_rows = columns(rows)
    with pytest.MonkeyPatch.context() as patch, Staged(tmp_path_factory.mktemp("s") / "new") as staged:
        patch.setattr(history, "IN_MEMORY", memory)
        patch.setattr(history, "BATCH", batch)
        for start in range(0, len(rows), 7):
            staged.append({name: values[start : start + 7] for name, values in given_rows.items()})
        for _ in range(2):  # as often as it is asked for
            found = list(staged.sorted(("key", "at"), ("row",)))
            assert all(part["row"].size for part in found)
            order = [number for part in found for number in part["row"].tolist()]
            assert order == sorted(range(len(rows)), key=lambda row: rows[row])
    assert staged.count == len(rows)


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "IN_MEMORY", 2)
    with Staged(tmp_path) as staged:
        staged.append({"at": np.arange(5)})
        assert [path.suffix for path in tmp_path.iterdir()] == [".parquet"]
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_says_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "IN_MEMORY", 2)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    message = r"has 5 rows or more, and 2 are sorted in memory; more need DuckDB: pip install 'headrace\[backfill\]'"
    with Staged(tmp_path) as staged, pytest.raises(HistoryTooLarge, match=message):
        staged.append({"at": np.arange(5)})


@given(st.permutations(range(20)), st.lists(st.integers(1, 19), max_size=3), st.integers(1, 8))
def test_buckets_give_rows_back_in_order(tmp_path_factory, order, cuts, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(buckets, "SIZE", size)
        kept = Buckets(tmp_path_factory.mktemp("b"), "g", 2)
        for part in np.split(np.array(order[:15]), sorted(cuts)):
            kept.put(part, np.stack((part, -part), axis=1).astype(np.float64))
        parts = [
            kept.take(at, np.full((min(size, 20 - at * size), 2), np.nan)) for at in range((20 + size - 1) // size)
        ]
    wanted = np.full((20, 2), np.nan)
    wanted[order[:15]] = np.stack((order[:15], np.negative(order[:15])), axis=1)
    np.testing.assert_array_equal(np.concatenate(parts), wanted)
