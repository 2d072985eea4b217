"""Backfill of files: the fraud view by the naive oracles, whatever the files are, and nothing left unsaid."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from applications.fraud.app import APP
from applications.fraud.features import CARD_ACTIVITY, FRAUD_VIEW, TERMINAL_RISK
from feature_pipelines import histories, spines
from feature_pipelines.backfill import backfill
from feature_pipelines.dead_letters import DeadLetterFile
from feature_pipelines.files import SourceError
from headrace.features.rows import RowsError
from headrace.features.windows import WindowedGroup
from headrace.stores import buckets, history, sweep
from tests.oracles import naive_functions, naive_windows
from tests.oracles.naive_windows import Event, Span

START, HOUR, DAY = 1_767_225_600_000, 3_600_000, 86_400_000
NOW = START + 400 * DAY
Rows = list[dict[str, Any]]
KINDS = {
    "cc_num": pa.int64(), "terminal_id": pa.int64(), "datetime": pa.timestamp("ms"), "amount": pa.float64(),
    "latitude": pa.float64(), "longitude": pa.float64(), "card_present": pa.bool_(), "fraud_label": pa.int8(),
    "note": pa.string(),
}  # fmt: skip


def payments(chance: random.Random, count: int = 60, days: float = 45) -> Rows:
    """Return payments of few cards and terminals in any order, some at one instant, some with nulls."""
    rows: Rows = []
    for n in range(count):
        at = rows[-1]["datetime"] if n % 9 == 8 else START + int(chance.random() * days * DAY)
        rows.append(
            {
                "cc_num": chance.randrange(3),
                "terminal_id": chance.randrange(2),
                "datetime": at,
                "amount": round(chance.expovariate(0.02), 2),
                "latitude": chance.choice([None, round(chance.uniform(-90, 90), 3)]),
                "longitude": round(chance.uniform(-180, 180), 3),
                "card_present": chance.choice([True, False, None]),
                "fraud_label": int(chance.random() < 0.3),
                "note": chance.choice(["a,b", 'say "so"', "ö"]),
            }
        )
    return rows


def write(path: Path, rows: Sequence[Mapping[str, Any]], drop: Sequence[str] = ()) -> Path:
    """Write rows as Parquet or CSV, as the path ends, less some columns."""
    names = [name for name in KINDS if name not in drop]
    table = pa.table({name: pa.array([row[name] for row in rows], KINDS[name]) for name in names})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=25)
    else:
        pa_csv.write_csv(table, path)
    return path


def read(path: Path) -> pa.Table:
    """Read what a backfill wrote."""
    return pq.read_table(path) if path.suffix == ".parquet" else pa_csv.read_csv(path)


def features(table: pa.Table) -> np.ndarray:
    """Return the view's columns, NaN where null."""
    columns = [np.array(table.column(name).to_pylist(), dtype=np.float64) for name in FRAUD_VIEW.names]
    return np.stack(columns, axis=1)


def run(events: Path, spine: Path, out: Path, **options: Any) -> tuple[pa.Table, list[str]]:
    """Backfill, and return the rows written and what was noted."""
    done = backfill(APP, events, spine, out, now_ms=NOW, **options)
    table = read(out)
    assert table.num_rows == done.rows
    return table, done.notes


def spans(group: WindowedGroup) -> list[Span]:
    """Return a group's windows as the oracle takes them."""
    return [Span(window.length_ms, window.tile_ms, window.delay_ms) for window in group.windows]


def number(value: Any) -> float:
    """Return a value as a number, NaN where it is null."""
    return math.nan if value is None else float(value)


def by_definition(events: Rows, row: Mapping[str, Any]) -> list[float]:
    """Return the fraud view of one row, by loops over raw events."""
    at, amount = row["datetime"], row["amount"]
    paid = [Event(e["cc_num"], e["datetime"], e["amount"], index) for index, e in enumerate(events)]
    told = [Event(e["terminal_id"], e["datetime"], e["fraud_label"]) for e in events]
    card = naive_windows.read(paid, row["cc_num"], spans(CARD_ACTIVITY), CARD_ACTIVITY.stats, at)
    risk = naive_windows.read(told, row["terminal_id"], spans(TERMINAL_RISK), TERMINAL_RISK.stats, at)
    named = dict(zip(CARD_ACTIVITY.column_names, card, strict=False))
    newest = naive_windows.newest(paid, row["cc_num"], at)
    last: Mapping[str, Any] = {} if newest is None or newest.place is None else events[int(newest.place)]
    place = (number(last.get("latitude")), number(last.get("longitude")))
    here = (number(row["latitude"]), number(row["longitude"]))
    then = number(last.get("datetime"))
    functions = naive_functions
    return [
        amount, number(row["card_present"]), *card, *risk,
        functions.haversine_km(*place, *here), functions.seconds_since(then, at),
        functions.speed_kmh(*place, then, *here, at),
        functions.hour_sin(at), functions.hour_cos(at), functions.weekday_sin(at), functions.weekday_cos(at),
        functions.is_weekend(at), functions.is_night(at), functions.ratio(amount, named["amount_mean_24h"]),
        functions.z_score(amount, named["amount_mean_7d"], named["amount_std_7d"]),
    ]  # fmt: skip


@given(st.integers(0, 2**32), st.sampled_from([".parquet", ".csv"]), st.sampled_from([".parquet", ".csv"]))
@settings(max_examples=12)
def test_a_backfill_is_what_the_definition_says_of_every_row(tmp_path_factory, seed, kind, out_kind):
    folder, chance = tmp_path_factory.mktemp("b"), random.Random(seed)
    events = payments(chance)
    asked = [*payments(chance, 15, 90), *chance.sample(events, 10)]
    table, notes = run(
        write(folder / f"events{kind}", events), write(folder / f"spine{kind}", asked), folder / f"out{out_kind}"
    )
    wanted = np.array([by_definition(events, row) for row in asked])
    np.testing.assert_allclose(features(table), wanted, rtol=2e-5, atol=2e-3)
    assert notes == ["the spine has no category: what is computed from it is missing"]


@pytest.fixture
def events() -> Rows:
    """Some payments."""
    return payments(random.Random(7))


def test_files_of_every_kind_give_the_same_rows_and_carry_every_column_through(tmp_path, events):
    spine = events[:20]
    first, _ = run(write(tmp_path / "e.parquet", events), write(tmp_path / "s.parquet", spine), tmp_path / "o.parquet")
    meta = first.schema.metadata[b"headrace_fingerprint"].decode()
    assert meta == FRAUD_VIEW.fingerprint
    second, _ = run(write(tmp_path / "e.csv", events), write(tmp_path / "s.csv", spine), tmp_path / "o.csv")
    np.testing.assert_allclose(features(first), features(second), rtol=1e-6)
    for table in (first, second):
        given_names = list(KINDS)
        assert table.column_names[: len(given_names)] == given_names
        assert set(table.column_names) == {*given_names, *FRAUD_VIEW.names}
        assert len(set(table.column_names)) == len(table.column_names)
        for name in ("note", "cc_num", "amount", "fraud_label"):
            assert table.column(name).to_pylist() == [row[name] for row in spine]


def test_without_labels_terminal_risk_is_null_and_that_is_said(tmp_path, events):
    source = write(tmp_path / "e.parquet", events, drop=["fraud_label"])
    table, notes = run(source, write(tmp_path / "s.parquet", events[:9]), tmp_path / "o.parquet")
    assert notes[0] == "e.parquet has no fraud_label: every value of terminal_risk is missing"
    risk = [FRAUD_VIEW.names.index(name) for name in TERMINAL_RISK.column_names if "mean" in name]
    assert np.isnan(features(table)[:, risk]).all()
    whole, _ = run(write(tmp_path / "f.parquet", events), tmp_path / "s.parquet", tmp_path / "p.parquet")
    others = [at for at, name in enumerate(FRAUD_VIEW.names) if "fraud_label" not in name]
    np.testing.assert_array_equal(features(table)[:, others], features(whole)[:, others])


def test_absent_optional_columns_are_missing_and_said(tmp_path, events):
    dropped = ["latitude", "longitude", "card_present", "note"]
    source = write(tmp_path / "e.csv", events, drop=dropped)
    table, notes = run(source, write(tmp_path / "s.csv", events[:9], drop=[*dropped, "amount"]), tmp_path / "o.csv")
    assert "e.csv has no latitude, longitude: null in every event of payments" in notes
    assert (
        "the spine has no amount, latitude, longitude, card_present, category: what is computed from it is missing"
        in notes
    )
    got = dict(zip(FRAUD_VIEW.names, features(table).T, strict=True))
    for name in ("amount", "card_present", "distance_from_last_km", "amount_over_mean_24h"):
        assert np.isnan(got[name]).all()
    assert not np.isnan(got["hour_sin"]).any()
    assert not np.isnan(got["amount_count_7d"]).any()


def test_fill_writes_the_declared_values_instead_of_nulls(tmp_path, events):
    source, spine = (
        write(tmp_path / "e.parquet", events),
        write(tmp_path / "s.parquet", events[:9], drop=["card_present"]),
    )
    bare, _ = run(source, spine, tmp_path / "o.parquet")
    filled, _ = run(source, spine, tmp_path / "p.csv", fill=True)
    missing = np.isnan(features(bare))
    assert missing.any()
    declared = np.broadcast_to(FRAUD_VIEW.missing, missing.shape)
    np.testing.assert_allclose(features(filled), np.where(missing, declared, features(bare)), rtol=1e-6)


def test_events_that_cannot_be_counted_are_counted_out_with_the_first_reason(tmp_path, events):
    lines = write(tmp_path / "e.csv", events).read_bytes().splitlines()
    lines[3:3] = [b"1,1", b"x,1,2026-01-01,5,,,,0,n"]
    (tmp_path / "e.csv").write_bytes(b"\n".join(lines))
    table, notes = run(tmp_path / "e.csv", write(tmp_path / "s.csv", events[:9]), tmp_path / "o.csv")
    assert "2 events of payments were not counted, the first because 2 values, needs 9 as in the header" in notes
    clean, _ = run(write(tmp_path / "f.csv", events), tmp_path / "s.csv", tmp_path / "p.csv")
    np.testing.assert_allclose(features(table), features(clean))


@pytest.mark.parametrize("kind", [".csv", ".parquet"])
def test_a_history_without_events_leaves_every_window_empty(tmp_path, events, kind):
    source = write(tmp_path / f"e{kind}", [])
    table, _ = run(source, write(tmp_path / f"s{kind}", events[:4]), tmp_path / f"o{kind}")
    got = dict(zip(FRAUD_VIEW.names, features(table).T, strict=True))
    assert not got["amount_count_30d"].any()
    assert np.isnan(got["amount_mean_30d"]).all()
    assert got["amount"].tolist() == [row["amount"] for row in events[:4]]


def test_a_row_without_a_key_or_a_time_is_missing_alone(tmp_path, events):
    rows = [{**events[0], "cc_num": None}, {**events[0], "datetime": None}, events[0]]
    source = write(tmp_path / "e.parquet", events)
    table, _ = run(source, write(tmp_path / "s.parquet", rows), tmp_path / "o.parquet")
    alone, _ = run(source, write(tmp_path / "t.parquet", events[:1]), tmp_path / "p.parquet")
    np.testing.assert_array_equal(features(table)[2], features(alone)[0])
    assert np.isnan(features(table)[0, FRAUD_VIEW.names.index("seconds_since_last")])
    known = {name for name, value in zip(FRAUD_VIEW.names, features(table)[1], strict=True) if not np.isnan(value)}
    assert known <= {"amount", "card_present", *(name for name in FRAUD_VIEW.names if "_count_" in name)}


def test_what_cannot_be_backfilled_says_what_it_needs(tmp_path, events):
    source, spine = write(tmp_path / "e.parquet", events), write(tmp_path / "s.parquet", events)
    (tmp_path / "damaged.parquet").write_bytes(b"no parquet")
    (tmp_path / "s.jsonl").write_bytes(b"{}")
    for arguments, refused, message in [
        ((source, spine, tmp_path / "o.txt"), SourceError, "/o.txt' ends in '.txt', needs .parquet or .csv"),
        ((source, tmp_path / "s.jsonl", tmp_path / "o.csv"), SourceError, "/s.jsonl' ends in '.jsonl', needs .par"),
        ((source, tmp_path / "no.csv", tmp_path / "o.csv"), SourceError, r"no file '\S*/no.csv', needs"),
        ((tmp_path / "no.csv", spine, tmp_path / "o.csv"), SourceError, r"there is no file '\S*/no.csv', needs"),
        ((source, tmp_path / "damaged.parquet", tmp_path / "o.csv"), SourceError, "cannot be read as parquet: "),
        (
            (source, write(tmp_path / "t.csv", events, drop=["datetime"]), tmp_path / "o.csv"),
            RowsError,
            "the spine has columns cc_num, .*, needs the time 'datetime'",
        ),
        (
            (source, write(tmp_path / "k.csv", events, drop=["cc_num", "terminal_id"]), tmp_path / "o.csv"),
            RowsError,
            "needs a key: cc_num or terminal_id",
        ),
    ]:  # fmt: skip
        with pytest.raises(refused, match=message):
            backfill(APP, *arguments, now_ms=NOW)
    assert not (tmp_path / "o.csv").exists()


def test_a_feature_computed_before_is_computed_again(tmp_path, events):
    history = write(tmp_path / "events.parquet", events)
    fresh, _ = run(history, history, tmp_path / "once.parquet")
    at = fresh.column_names.index("amount_mean_30d")
    stale = fresh.set_column(at, "amount_mean_30d", pa.array(np.full(fresh.num_rows, 12345.0)))
    pq.write_table(stale, tmp_path / "stale.parquet")
    again, _ = run(history, tmp_path / "stale.parquet", tmp_path / "twice.parquet")
    assert again.column("amount_mean_30d").equals(fresh.column("amount_mean_30d"))
    assert again.column_names == fresh.column_names


@given(st.integers(0, 2**32), st.booleans(), st.integers(1, 9))
@settings(max_examples=15)
def test_out_of_core_gives_the_very_rows_that_memory_does(tmp_path_factory, seed, one_card, size):
    folder, chance = tmp_path_factory.mktemp("b"), random.Random(seed)
    events = payments(chance, 90)
    if one_card:  # more events of one key than are held at once
        events = [{**row, "cc_num": 7, "terminal_id": 7} for row in events]
    source, spine = (
        write(folder / "e.parquet", events),
        write(folder / "s.parquet", [*events, *payments(chance, 9, 90)]),
    )
    held, _ = run(source, spine, folder / "held.parquet")
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in [
            (history, "IN_MEMORY", 20), (history, "BATCH", size), (sweep, "EVENTS", 2 * size), (buckets, "SIZE", 16),
            (histories, "_BATCH", 13), (spines, "_PART", 32),
        ]:  # fmt: skip
            patch.setattr(module, name, value)
        done = backfill(APP, source, spine, folder / "parts", now_ms=NOW)
    parts = sorted((folder / "parts").iterdir())
    assert [part.name for part in parts] == [f"part-{at:05d}.parquet" for at in range(4)]
    assert pa.concat_tables([pq.read_table(part) for part in parts]).equals(held.replace_schema_metadata())
    assert done.rows == 99
    assert sorted(path.name for path in folder.iterdir()) == ["e.parquet", "held.parquet", "parts", "s.parquet"]


def test_a_folder_and_a_pattern_are_read_in_order_of_names(tmp_path, events):
    whole = write(tmp_path / "e.parquet", events)
    for at in range(3):
        (tmp_path / "days" / f"day={at}").mkdir(parents=True)
        write(tmp_path / "days" / f"day={at}" / "part.parquet", events[at * 20 : (at + 1) * 20])
    (tmp_path / "days" / "_dead_letters.jsonl").write_text("{}")
    spine = write(tmp_path / "s.csv", events)
    once, _ = run(whole, spine, tmp_path / "o.parquet")
    for path in (tmp_path / "days", tmp_path / "days" / "*" / "p*.parquet"):
        again, _ = run(path, spine, tmp_path / "p.parquet")
        assert again.equals(once)
    (tmp_path / "empty").mkdir()
    for path, message in [
        ("empty", r"the folder '\S*/empty' holds no event files"), ("days/*.csv", "no file is named like .*csv'"),
    ]:  # fmt: skip
        with pytest.raises(SourceError, match=message):
            backfill(APP, tmp_path / path, spine, tmp_path / "p.parquet", now_ms=NOW)


def test_events_that_cannot_be_counted_are_kept_beside_the_rows(tmp_path, events):
    (tmp_path / "e.csv").write_bytes(write(tmp_path / "e.csv", events).read_bytes() + b"x,1,2026-01-01,5,,,,0,n\n")
    spine = write(tmp_path / "s.csv", events[:3])
    for _ in range(2):  # those of an earlier backfill go
        done = backfill(APP, tmp_path / "e.csv", spine, tmp_path / "o.csv", now_ms=NOW)
        letters = DeadLetterFile(tmp_path / "o_dead_letters.jsonl").read()
        assert done.dead == len(letters) == 2
        assert [letter.partition for letter in letters] == ["payments:e.csv", "labels:e.csv"]
        assert letters[0].event == b"x,1,2026-01-01,5,,,,0,n"
        assert letters[0].offset == len(events)
        assert letters[0].reason == "cc_num is not a whole number"
    assert done.letters == tmp_path / "o_dead_letters.jsonl"


def test_a_history_too_large_for_memory_names_what_it_needs(tmp_path, events, monkeypatch):
    monkeypatch.setattr(history, "IN_MEMORY", 10)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    source = write(tmp_path / "e.parquet", events)
    with pytest.raises(history.HistoryTooLarge, match=r"and 10 are sorted.*pip install 'headrace\[backfill"):
        backfill(APP, source, source, tmp_path / "o.parquet", now_ms=NOW)


def test_a_folder_that_holds_something_is_not_written_into(tmp_path, events):
    source = write(tmp_path / "e.parquet", events)
    backfill(APP, source, source, tmp_path / "out", now_ms=NOW)
    with pytest.raises(SourceError, match=r"the folder '\S*/out' is not empty, needs an empty or a new one"):
        backfill(APP, source, source, tmp_path / "out", now_ms=NOW)
    (tmp_path / "new").mkdir()
    backfill(APP, tmp_path / "out", tmp_path / "out", tmp_path / "new", now_ms=NOW)
    assert pq.read_table(tmp_path / "new").equals(pq.read_table(tmp_path / "out"))


@pytest.mark.parametrize("kind", [".parquet", ".csv"])
def test_a_spine_without_rows_gives_none(tmp_path, events, kind):
    spine = write(tmp_path / f"s{kind}", [])
    table, _ = run(write(tmp_path / "e.parquet", events), spine, tmp_path / f"o{kind}")
    assert table.num_rows == 0
    assert set(table.column_names) == {*KINDS, *FRAUD_VIEW.names}


def test_a_spine_whose_files_differ_says_so_and_nothing_is_written(tmp_path, events):
    (tmp_path / "s").mkdir()
    source = write(tmp_path / "s" / "0.parquet", events)
    write(tmp_path / "s" / "1.parquet", events, drop=["note"])
    with pytest.raises(SourceError, match="'s' cannot be read to its end: "):
        backfill(APP, source, tmp_path / "s", tmp_path / "o.parquet", now_ms=NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
