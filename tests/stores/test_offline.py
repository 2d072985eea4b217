"""Event history is kept in order of arrival, and a file appears whole or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from headrace.features import Column, FeatureView, Window, WindowedGroup
from headrace.stores.offline import OfflineStore, training_frame


def test_a_history_is_read_as_it_was_appended(tmp_path):
    store = OfflineStore(tmp_path)
    for part in range(12):
        written = store.append("payments", {"at": np.array([part, -part]), "amount": np.array([part + 0.5, np.nan])})
        assert written.exists()
    events = store.events("payments")
    assert events["at"].tolist() == [value for part in range(12) for value in (part, -part)]
    assert np.isnan(events["amount"][1::2]).all()
    assert not list(tmp_path.rglob("*.partial"))


def test_streams_are_kept_apart_and_one_never_appended_is_not_there(tmp_path):
    store = OfflineStore(tmp_path)
    store.append("payments", {"at": np.array([1])})
    with pytest.raises(LookupError, match="the offline store has no events of stream 'labels': append some first"):
        store.events("labels")


def test_a_half_written_file_is_no_history(tmp_path):
    store = OfflineStore(tmp_path)
    store.append("payments", {"at": np.array([1])})
    (tmp_path / "payments" / "part-00001.partial").write_bytes(b"half")
    assert store.events("payments")["at"].tolist() == [1]
    store.append("payments", {"at": np.array([2])})
    assert store.events("payments")["at"].tolist() == [1, 2]


def test_a_history_of_text_keys_gives_a_training_frame(tmp_path):
    group = WindowedGroup("users", 1, "visits", "user", "at", "cost", ("count", "sum"), (Window("1m", 60_000),))
    request = (Column("user", "string"), Column("at", "timestamp"))
    view = FeatureView("v", 1, request, (group,), ("users.cost_count_1m", "users.cost_sum_1m"), time="at")
    store = OfflineStore(tmp_path)
    users = np.array(["b", "a", "ö", "a"], dtype=object)
    store.append("visits", {"user": users, "at": np.array([1, 2, 3, 4]), "cost": np.array([1.0, 2.0, 4.0, 8.0])})
    spine = {"user": np.array(["a", "", "zz", "ö", None], dtype=object), "at": np.array([5, 5, 5, 5, 5])}
    frame = training_frame(view, spine, {"visits": store.events("visits")})
    assert frame.features.tolist() == [[2, 10], [0, 0], [0, 0], [1, 4], [0, 0]]
    assert frame.rows.invalid["user"].tolist() == [False, True, False, False, True]
