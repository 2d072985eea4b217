"""A training frame is what serving would have answered: by the definition, and by replaying the stream."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features import Column, FeatureView, OnDemand, Plan, Window, WindowedGroup, fold
from headrace.features.rows import RowsError
from headrace.stores import timeline
from headrace.stores.memory import MemoryStore
from headrace.stores.offline import training_frame
from headrace.stores.online import Lookup
from tests.oracles import naive_windows
from tests.oracles.naive_windows import Event, Span

STATS = ("count", "sum", "mean", "std", "min", "max", "last")
PLAIN = (Window("a", 120), Window("b", 100, tile_ms=30), Window("c", 7))
DELAYED = (Window("a", 60, delay_ms=45), Window("b", 120, delay_ms=120, tile_ms=40))
CARDS = WindowedGroup("cards", 1, "payments", "card", "at", "amount", STATS, PLAIN, ("amount", "place"))
SHOPS = WindowedGroup("shops", 1, "payments", "shop", "at", "amount", ("count", "max"), (Window("a", 50),))
RISK = WindowedGroup("risk", 1, "labels", "shop", "at", "fraud", ("count", "mean"), DELAYED)
GROUPS = (CARDS, SHOPS, RISK)
ENTITIES = 3


def _apart(amount: Any, mean: Any) -> Any:
    return amount - mean


VIEW = FeatureView(
    "v",
    1,
    (Column("card", "int64"), Column("shop", "int64"), Column("at", "timestamp"), Column("amount", required=False)),
    GROUPS,
    (
        *(f"{group.name}.{name}" for group in (CARDS,) for name in group.column_names[:-2]),
        OnDemand("last_amount", np.positive, ("cards.last_amount",)),
        OnDemand("last_place", np.positive, ("cards.last_place",)),
        OnDemand("shop_count", np.positive, ("shops.amount_count_a",)),
        OnDemand("shop_max", np.positive, ("shops.amount_max_a",)),
        *(OnDemand(f"risk_{name}", np.positive, (f"risk.{name}",)) for name in RISK.column_names),
        "request.amount",
        OnDemand("apart", _apart, ("request.amount", "cards.amount_mean_a")),
    ),
    time="at",
)


class Given(NamedTuple):
    """A payment or a label; what a stream does not have is ignored."""

    card: int
    shop: int
    at: int
    amount: float | None
    fraud: float | None = None
    place: float | None = None


class Row(NamedTuple):
    """A row of a spine."""

    card: int
    shop: int
    at: int
    amount: float | None


# Disorder, equal times, tile and window edges, and gaps far longer than any window.
instants = st.integers(-300, 300) | st.integers(-10, 10).map(lambda edge: edge * 30) | st.sampled_from([-9_000, 9_000])
amounts = st.none() | st.integers(-50, 50).map(float)
entities = st.integers(0, ENTITIES - 1)
flags = st.none() | st.sampled_from([0.0, 1.0])
histories = st.lists(st.builds(Given, entities, entities, instants, amounts, flags, amounts), max_size=40)
askings = st.lists(
    st.builds(Row, st.integers(-1, ENTITIES), st.integers(-1, ENTITIES), instants | st.integers(300, 9_300), amounts),
    min_size=1,
    max_size=20,
)


def array(values: Sequence[Any], kind: type = np.float64) -> np.ndarray:
    """Return values as a column; None is NaN."""
    return np.array(values, dtype=kind)


def columns(given_events: Sequence[Given]) -> dict[str, np.ndarray]:
    """Return events as columns, in order of arrival."""
    named = {name: [getattr(event, name) for event in given_events] for name in Given._fields}
    return {
        name: array(values, np.int64 if name in ("card", "shop", "at") else np.float64)
        for name, values in named.items()
    }


def spine_of(asked: Sequence[Row]) -> dict[str, np.ndarray]:
    """Return rows as the columns of a spine."""
    named = {name: [getattr(row, name) for row in asked] for name in Row._fields}
    return {name: array(values, np.float64 if name == "amount" else np.int64) for name, values in named.items()}


def framed(payments: Sequence[Given], labels: Sequence[Given], asked: Sequence[Row]) -> np.ndarray:
    """Return the training frame's values."""
    history = {"payments": columns(payments), "labels": columns(labels)}
    return training_frame(VIEW, spine_of(asked), history).features


def defined(payments: Sequence[Given], labels: Sequence[Given], row: Row) -> list[float]:
    """Return one row by the definition."""
    cards = [Event(event.card, event.at, event.amount, event.place) for event in payments]
    shops = [Event(event.shop, event.at, event.amount) for event in payments]
    risk = [Event(event.shop, event.at, event.fraud) for event in labels]
    newest = naive_windows.newest(cards, row.card, row.at)
    last = [
        np.nan if newest is None or value is None else value
        for value in (newest and newest.value, newest and newest.place)
    ]
    values = naive_windows.read(cards, row.card, spans(CARDS), STATS, row.at)
    amount = np.nan if row.amount is None else row.amount
    return [
        *values,
        *last,
        *naive_windows.read(shops, row.shop, spans(SHOPS), SHOPS.stats, row.at),
        *naive_windows.read(risk, row.shop, spans(RISK), RISK.stats, row.at),
        amount,
        amount - values[STATS.index("mean")],
    ]


def spans(group: WindowedGroup) -> list[Span]:
    """Return a group's windows as the oracle takes them."""
    return [Span(window.length_ms, window.tile_ms, window.delay_ms) for window in group.windows]


@given(histories, histories, askings)
def test_every_row_is_what_the_definition_says(payments, labels, asked):
    got = framed(payments, labels, asked)
    wanted = np.array([defined(payments, labels, row) for row in asked])
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4)


@given(histories, histories, askings, st.integers(1, 5))
def test_where_a_frame_is_cut_into_chunks_changes_nothing(payments, labels, asked, chunk):
    whole = framed(payments, labels, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "_ROWS", chunk)
        told: list[int] = []
        cut = training_frame(
            VIEW, spine_of(asked), {"payments": columns(payments), "labels": columns(labels)}, progress=told.append
        )
    np.testing.assert_array_equal(cut.features, whole)
    assert sum(told) == len(asked)
    assert max(told) <= chunk


@given(histories, histories, askings, st.sampled_from([("RANGED", frozenset()), ("LARGEST", 0.0), ("_MOST_PLACES", 0)]))
def test_every_way_to_read_history_gives_the_same_rows(payments, labels, asked, way):
    whole = framed(payments, labels, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, *way)
        patch.setattr(timeline, "_EVENTS", 5)
        patch.setattr(timeline, "_REBUILT_EVENTS", 3)
        np.testing.assert_array_equal(framed(payments, labels, asked), whole)


@given(histories, histories, askings, st.randoms(use_true_random=False))
def test_the_order_of_a_spine_changes_no_row(payments, labels, asked, chance):
    order = list(range(len(asked)))
    chance.shuffle(order)
    shuffled = framed(payments, labels, [asked[at] for at in order])
    np.testing.assert_array_equal(shuffled, framed(payments, labels, asked)[order])


@given(histories, histories, askings)
def test_changing_the_future_changes_nothing(payments, labels, asked):
    now = asked[0].at

    def changed(events: Sequence[Given]) -> list[Given]:
        return [event if event.at < now else event._replace(amount=9e9, fraud=1.0, place=9e9) for event in events]

    before = framed(payments, labels, asked[:1])
    np.testing.assert_array_equal(framed(changed(payments), changed(labels), asked[:1]), before)


@given(histories, histories, askings)
def test_a_row_is_the_same_where_the_future_has_not_happened(payments, labels, asked):
    now = asked[0].at
    paid, told = ([event for event in events if event.at < now] for events in (payments, labels))
    np.testing.assert_array_equal(framed(paid, told, asked[:1]), framed(payments, labels, asked[:1]))


def replayed(payments: Sequence[Given], labels: Sequence[Given], asked: Sequence[Row]) -> np.ndarray:
    """Replay in order of time: at each instant the rows are read first, and then its events are streamed."""
    store, plan = MemoryStore(), Plan.of(VIEW)
    store.declare(GROUPS)
    out = np.full((len(asked), len(VIEW.names)), np.inf, dtype=np.float32)
    for now in sorted({event.at for event in (*payments, *labels)} | {row.at for row in asked}):
        rows = [at for at, row in enumerate(asked) if row.at == now]
        if rows:
            out[rows] = served(store, plan, [asked[at] for at in rows], now)
        for stream, events in (("payments", payments), ("labels", labels)):
            arrived = [event for event in events if event.at == now]
            if arrived:
                stream_into(store, stream, columns(arrived))
    return out


def served(store: MemoryStore, plan: Plan, rows: Sequence[Row], now: int) -> np.ndarray:
    """Read and compute rows as a request does."""
    request: dict[str, np.ndarray] = spine_of(rows)
    lookups = [Lookup(group, request[group.key]) for group in GROUPS]
    blocks = asyncio.run(store.read(lookups, np.full(len(rows), now)))
    assert all(block.exact.all() for block in blocks)
    values = {group.name: block.values for group, block in zip(GROUPS, blocks, strict=True)}
    return plan.compute(len(rows), request, values)


def stream_into(store: MemoryStore, stream: str, events: Mapping[str, np.ndarray]) -> None:
    """Fold one instant's events of a stream into its groups."""
    with store.transaction(stream, {}) as change:
        for group in GROUPS:
            if group.stream == stream:
                keys, row = np.unique(events[group.key], return_inverse=True)
                records = change.records(group, keys)
                assert not fold(group, records, row, events).any()
                change.write(group, keys, records)


@given(histories, histories, askings)
def test_reading_before_streaming_at_every_instant_gives_the_very_frame(payments, labels, asked):
    np.testing.assert_array_equal(replayed(payments, labels, asked), framed(payments, labels, asked))


@given(histories, askings, st.sampled_from([0.01, 1 / 3, 1e-9, 1e9]))
def test_amounts_that_cannot_be_added_exactly_differ_by_no_more_than_rounding(payments, asked, unit):
    payments = [event._replace(amount=None if event.amount is None else event.amount * unit) for event in payments]
    got, wanted = replayed(payments, [], asked), framed(payments, [], asked)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=50 * unit * 1e-7)


def test_no_stream_no_key_and_no_rows():
    asked = [Row(1, 1, 50, 2.0)]
    without = training_frame(VIEW, spine_of(asked), {}).features
    np.testing.assert_array_equal(without, framed([], [], asked))
    assert framed([Given(1, 1, 0, 1.0)], [], []).shape == (0, len(VIEW.names))
    spine = {name: values for name, values in spine_of(asked).items() if name != "shop"}
    payments = [Given(1, 1, 40, 3.0)]
    with pytest.raises(RowsError, match="column 'shop' is missing"):
        training_frame(VIEW, spine, {"payments": columns(payments)})
    partial = training_frame(VIEW, spine, {"payments": columns(payments)}, partial=True)
    whole = training_frame(VIEW, spine_of([Row(1, 99, 50, 2.0)]), {"payments": columns(payments)})
    np.testing.assert_array_equal(partial.features, whole.features)


def test_keys_of_every_size_and_kind_are_told_apart():
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    keys = [least, -1, 0, 1, 2**53, 2**53 + 1, most]
    payments = [Given(key, 0, 0, float(at)) for at, key in enumerate(keys)]
    got = framed(payments, [], [Row(key, 0, 1, None) for key in keys])
    assert got[:, VIEW.names.index("last_amount")].tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_whole_keys_beside_a_null_are_read_exactly():
    keys = [2**53 + 1, 2**53 + 2, None, 7]
    history = {"payments": {**columns([Given(2**53 + 2, 0, 0, 5.0), Given(7, 0, 0, 6.0)])}}
    spine: dict[str, Any] = {
        "card": np.array(keys, dtype=object), "shop": array([0] * 4, np.int64), "at": array([1] * 4, np.int64),
    }  # fmt: skip
    frame = training_frame(VIEW, spine, history)
    np.testing.assert_array_equal(frame.features[:, VIEW.names.index("last_amount")], [np.nan, 5, np.nan, 6])
    assert frame.rows.invalid["card"].tolist() == [False, False, True, False]


def test_a_model_reads_the_declared_value_where_one_is_missing():
    view = FeatureView("v", 1, VIEW.request, (CARDS,), ("request.amount", "cards.amount_mean_a"), time="at")
    frame = training_frame(view, spine_of([Row(1, 1, 5, 2.0)]), {})
    assert np.isnan(frame.features).tolist() == [[False, True]]
    assert np.isnan(frame.matrix()[0, 1])
    told = WindowedGroup("cards", 1, "payments", "card", "at", "amount", ("count", "mean"), PLAIN, missing=-1.0)
    view = FeatureView("v", 1, VIEW.request, (told,), ("cards.amount_count_a", "cards.amount_mean_a"), time="at")
    frame = training_frame(view, spine_of([Row(1, 1, 5, 2.0)]), {})
    assert frame.matrix().tolist() == [[0, -1]]
