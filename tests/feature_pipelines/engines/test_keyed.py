"""Buckets fold as one pass over the events of each key would, however events are cut, spread and carried."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.engines.chunks import Chunk, bucket_of, spread
from feature_pipelines.engines.keyed import Bucket
from feature_pipelines.engines.packets import folded_of_bytes, folded_to_bytes
from headrace.features.columns import Column
from headrace.features.streams import Stream
from headrace.features.windows import Window, WindowedGroup, fold

HORIZON_MS = 40
STREAM = Stream(
    "clicks",
    (Column("user", "string"), Column("at", "timestamp"), Column("value"), Column("id", "string", required=False)),
    time="at",
    id="id",
    horizon_ms=HORIZON_MS,
)
GROUP = WindowedGroup(
    "users", 1, "clicks", "user", "at", "value", ("count", "sum", "std", "min", "last"),
    (Window("short", 24), Window("long", 60)), last=("value",),
)  # fmt: skip
EVENT = st.tuples(
    st.sampled_from(["a", "b", "ünï", "d"]), st.integers(1_000, 1_300), st.integers(0, 9),
    st.one_of(st.none(), st.sampled_from(["x", "y", "z"])),
)  # fmt: skip


def chunk_of(events: list[tuple], first: int) -> Chunk:
    """Return events as one chunk of every key."""
    users, times, values, ids = zip(*events, strict=True)
    columns = {
        "user": np.array(users, dtype=object),
        "at": np.array(times, dtype=np.int64),
        "value": np.array(values, dtype=np.float64),
        "id": np.array(ids, dtype=object),
    }
    offsets = np.arange(first, first + len(events))
    return Chunk("", 0, "clicks/0", offsets, columns, tuple(b"%d" % at for at in offsets))


def counted(events: list[tuple]) -> list[int]:
    """Return which events count, one by one: an id's first, until its key's newest event is beyond the horizon."""
    kept, newest, times = [], {}, {}
    for at, (user, time, _, id_) in enumerate(events):
        newest[user] = max(newest.get(user, time), time)
        seen = times.get((user, id_))
        if id_ is not None and seen is not None and newest[user] - seen <= HORIZON_MS:
            continue
        times[user, id_] = time
        kept.append(at)
    return kept


@given(st.lists(EVENT, min_size=1, max_size=60), st.data(), st.integers(1, 5))
def test_however_events_are_cut_and_spread_records_and_late_events_are_those_of_one_pass(events, data, buckets):
    cuts = data.draw(st.sets(st.integers(1, len(events)), max_size=5))
    state: dict[str, bytes] = {}
    found: dict[str, np.void] = {}
    late, duplicates = set(), 0
    for start, end in pairwise([0, *sorted(cuts - {len(events)}), len(events)]):
        for chunk in spread(STREAM, GROUP, chunk_of(events[start:end], start), buckets):
            bucket = Bucket(STREAM, GROUP, state.get(chunk.key, b""))
            folded = folded_of_bytes(folded_to_bytes(bucket.add([Chunk.of_bytes(chunk.to_bytes())])), [GROUP])
            state[chunk.key] = bucket.to_bytes()
            found |= dict(zip(folded.keys.tolist(), folded.records, strict=True))
            late |= {(letter.offset, letter.event) for letter in folded.late}
            duplicates += folded.duplicates

    kept = counted(events)
    users, row = np.unique([events[at][0] for at in kept], return_inverse=True)
    columns = chunk_of([events[at] for at in kept], 0).columns
    wanted = GROUP.empty(users.size)
    too_late = fold(GROUP, wanted, row, columns)
    assert duplicates == len(events) - len(kept)
    assert late == {(kept[at], b"%d" % kept[at]) for at in np.flatnonzero(too_late)}
    for user, record in zip(users.tolist(), wanted, strict=True):
        for name in record.dtype.names:
            np.testing.assert_allclose(found[user][name], record[name], rtol=1e-9, atol=1e-9)


def test_several_chunks_are_folded_in_the_order_given():
    chunks = [chunk_of([("a", at, value, None)], at) for at, value in ((1_000, 1), (1_001, 2), (1_002, 3))]
    together, apart = Bucket(STREAM, GROUP), Bucket(STREAM, GROUP)
    one = together.add(chunks)
    for chunk in chunks:
        other = apart.add([chunk])
    assert one.records.tobytes() == other.records.tobytes()
    assert one.records["last_columns"].tolist() == [[3.0]]


def test_a_key_is_always_in_the_same_bucket_and_buckets_are_filled_alike():
    keys = np.arange(4_000_000_000_000_000, 4_000_000_000_020_000)
    places = bucket_of(keys, 16)
    assert (bucket_of(keys[::-1], 16)[::-1] == places).all()
    assert np.bincount(places, minlength=16).min() > 20_000 / 16 * 0.8
    assert bucket_of(np.array(["a", "b", "a"], dtype=object), 7).tolist()[::2] == [bucket_of(np.array(["a"]), 7)[0]] * 2


def test_a_state_of_another_declaration_is_refused():
    bucket = Bucket(STREAM, GROUP)
    bucket.add([chunk_of([("a", 1_000, 1, None)], 0)])
    other = WindowedGroup(
        "users", 2, "clicks", "user", "at", "value", GROUP.stats, (Window("short", 36), Window("long", 60)), ("value",)
    )
    with pytest.raises(ValueError, match="the state of group 'users' is of another declaration, needs layout"):
        Bucket(STREAM, other, bucket.to_bytes())
