"""Event files: the same events give the same store whatever they are written in, and damage stays in its line."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_pipelines.files import SourceError, as_numpy, open_events
from feature_pipelines.sources import FileSource
from headrace.stores.memory import MemoryStore
from tests.feature_pipelines.small import (
    STREAM,
    csv_of,
    events_of,
    file_of,
    jsonl_of,
    parquet_of,
    pipeline,
    streamed,
)

ROWS = events_of((1, 500, 5.0), (2, 90_000, 7.5), (1, 200, 6.0), (3, 61_000, 1.0), (1, 500, 2.0), (-4, 0, 0.25))
WANTED = STREAM.names


def raw(path) -> tuple[dict, dict]:
    """Return every row of a file as lists, and which cannot be read."""
    file = open_events(path, WANTED)
    columns, unreadable = file.read(np.arange(file.count))
    file.close()
    return {name: list(values) for name, values in columns.items()}, dict(unreadable)


def letters_of(path, order: str = "file") -> list[tuple[int, str, bytes]]:
    """Stream a file and return its dead letters."""
    run = pipeline(path, MemoryStore(), order)
    run.run()
    return [(letter.offset, letter.reason, letter.event) for letter in run.letters.read()]


@pytest.mark.parametrize("order", ["time", "file"])
def test_every_kind_of_file_gives_the_same_store(tmp_path, order):
    files = [
        parquet_of(tmp_path / "one.parquet", ROWS),
        parquet_of(tmp_path / "grouped.parquet", ROWS, group=2),
        file_of(tmp_path, "a.csv", csv_of(ROWS)),
        file_of(tmp_path, "crlf.csv", csv_of(ROWS, "\r\n")),
        file_of(tmp_path, "unfinished.csv", csv_of(ROWS).rstrip(b"\n")),
        file_of(tmp_path, "bom.CSV", b"\xef\xbb\xbf" + csv_of(ROWS)),
        file_of(tmp_path, "a.jsonl", jsonl_of(ROWS)),
        file_of(tmp_path, "crlf.jsonl", jsonl_of(ROWS, "\r\n")),
        file_of(tmp_path, "unfinished.ndjson", jsonl_of(ROWS).rstrip(b"\n")),
        file_of(tmp_path, "bom.jsonl", b"\xef\xbb\xbf" + jsonl_of(ROWS)),
    ]
    stores = [streamed(path, order, batch) for path, batch in zip(files, [1, 2, 3, 4, 5, 6, 7, 1, 2, 3], strict=True)]
    for store in stores:
        np.testing.assert_array_equal(store, stores[0])
    assert not (tmp_path / "dead").exists()


def test_in_time_order_events_of_one_instant_stay_in_file_order_and_those_without_a_time_come_first(tmp_path):
    rows = [*ROWS, {**ROWS[0], "at": None}]
    for path in (parquet_of(tmp_path / "a.parquet", rows), file_of(tmp_path, "a.csv", csv_of(rows))):
        source = FileSource(path, STREAM)
        notes: list[str] = []
        while (batch := source.poll(2)) is not None:
            notes += list(batch.raw["note"])
        assert notes == ["note 0", "note 5", "note 2", "note 0", "note 4", "note 3", "note 1"]


@given(at=st.lists(st.none() | st.integers(-5, 5), max_size=6))
def test_time_order_is_that_of_the_times(tmp_path_factory, at):
    rows = [{**ROWS[0], "at": instant} for instant in at]
    source = FileSource(parquet_of(tmp_path_factory.mktemp("f") / "a.parquet", rows), STREAM)
    batch = source.poll(100)
    found = [] if batch is None else [None if value != value else value for value in batch.raw["at"]]
    assert found == sorted(at, key=lambda instant: -100 if instant is None else instant)


def test_quoted_values_hold_commas_quotes_and_blanks(tmp_path):
    rows = [{**ROWS[0], "note": note} for note in ("a,b", 'say "so"', " padded ", '5" pipe', "ö", "")]
    columns, unreadable = raw(file_of(tmp_path, "a.csv", csv_of(rows)))
    assert columns["note"] == [row["note"] for row in rows]
    assert not unreadable


DAMAGED = {
    b'1,2,"3,x': "a quote is not closed",
    b'1,x"y,"3,x': "a quote is not closed",
    b"1,2": "2 values, needs 4 as in the header",
    b"1,2,3,4,5": "5 values, needs 4 as in the header",
    b"1,2\r3,4": "the line is not CSV: new-line character seen in unquoted field",
    b"": "the line is blank or binary",
    b"   ": "the line is blank or binary",
    b"1,\0,3,x": "the line is blank or binary",
    b"1,2,3,\xff\xfe": "the line is not UTF-8",
    b"1,2,3," + b"x" * 200_000: "the line is not CSV: field larger than field limit",
}


@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda line: repr(line[:12]))
def test_a_damaged_line_is_a_dead_letter_and_spoils_no_other(tmp_path, damaged):
    lines = csv_of(ROWS).splitlines()
    path = file_of(tmp_path, "a.csv", b"\n".join([*lines[:3], damaged, *lines[3:]]) + b"\n")
    whole = file_of(tmp_path, "whole.csv", csv_of(ROWS))
    ((offset, reason, event),) = letters_of(path)
    assert offset == 2
    assert reason.startswith(DAMAGED[damaged])
    assert event == damaged
    np.testing.assert_array_equal(streamed(path), streamed(whole))


printable = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=12)


@given(st.lists(printable | st.text('",\r x', max_size=8), max_size=6), st.integers(1, 6))
def test_no_line_of_text_moves_another_event(tmp_path_factory, junk, every):
    folder = tmp_path_factory.mktemp("f")
    lines = csv_of(ROWS).splitlines()
    mixed = list(lines)
    for at, line in enumerate(junk):
        mixed.insert(1 + (at * every) % len(mixed), line.encode())
    file = open_events(file_of(folder, "a.csv", b"\n".join(mixed)), WANTED)
    columns, _ = file.read(np.arange(file.count))
    originals = [file.original(row) for row in range(file.count)]
    for row in ROWS:
        at = originals.index(csv_of([row]).splitlines()[1])
        assert columns["note"][at] == row["note"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "the event is not JSON"),
        (b"", "the event is empty"),
        (b"\xff", "the event is not JSON"),
        (b"[1]", "the event is a JSON list, needs an object"),
        (b"5", "the event is a JSON number, needs an object"),
        (b"{}", "card is missing, an event of payments needs it"),
        (b'{"card": 1, "at": 2, "amount": NaN}', "the event is not JSON"),
        (b'{"card":{"a":1},"at":[],"amount":true}', "card is not a whole number"),
    ],
)
def test_a_json_line_that_is_no_event_is_a_dead_letter(tmp_path, line, reason):
    path = file_of(tmp_path, "a.jsonl", jsonl_of(ROWS) + line + b"\n")
    assert letters_of(path) == [(len(ROWS), reason, line)]
    np.testing.assert_array_equal(streamed(path), streamed(file_of(tmp_path, "b.jsonl", jsonl_of(ROWS))))


def test_a_column_that_only_a_late_line_of_json_has_is_a_column(tmp_path):
    rows = [{"card": 1, "at": 2}] * 1500
    path = file_of(tmp_path, "a.jsonl", jsonl_of([*rows, {"card": 1, "at": 2, "amount": 5, "other": 0}]))
    assert open_events(path, WANTED).columns == ("card", "at", "amount", "other")
    assert open_events(path, WANTED[:2]).columns == ("card", "at")


def test_parquet_nulls_are_null_and_a_refused_row_is_kept_as_json(tmp_path):
    rows = [
        {"card": None, "at": 5, "amount": 1.0, "note": None},
        *ROWS,
        {"card": 1, "at": 2, "amount": None, "note": "ö"},
    ]
    for group in (None, 1, 3):
        path = parquet_of(tmp_path / f"{group}.parquet", rows, group)
        assert [(at, reason.split(",")[0]) for at, reason, _ in letters_of(path)] == [
            (0, "card is missing"), (len(ROWS) + 1, "amount is missing"),
        ]  # fmt: skip
        originals = [event.decode() for _, _, event in letters_of(path)][-2:]
        assert originals == [
            '{"card":null,"at":5,"amount":1.0,"note":null}', '{"card":1,"at":2,"amount":null,"note":"ö"}',
        ]  # fmt: skip


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize("nulls", [False, True])
def test_instants_of_parquet_are_epoch_milliseconds(unit, zone, nulls):
    at = [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), *([None] if nulls else [])]
    column = pa.chunked_array([pa.array(at, pa.timestamp(unit, tz=zone))])
    assert as_numpy(column).tolist() == [1_767_323_045_000, *([None] if nulls else [])]


def test_columns_of_every_other_kind():
    assert as_numpy(pa.chunked_array([pa.array([date(1970, 1, 2)])])).tolist() == [86_400_000]
    assert as_numpy(pa.chunked_array([pa.array([date(1970, 1, 2), None])])).tolist() == [86_400_000, None]
    assert as_numpy(pa.chunked_array([pa.array([2**62 + 1, None])])).tolist() == [2**62 + 1, None]
    assert as_numpy(pa.chunked_array([pa.array(["a", None]).dictionary_encode()])).tolist() == ["a", None]
    assert as_numpy(pa.chunked_array([pa.array([True, None])])).tolist() == [True, None]
    assert np.isnan(as_numpy(pa.chunked_array([pa.array([1.0, None])]))).tolist() == [False, True]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_an_empty_file_is_refused(tmp_path, name):
    with pytest.raises(SourceError, match=f"{name}' is empty, needs events"):
        open_events(file_of(tmp_path, name, b""), WANTED)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_of_nothing_but_a_header_holds_no_events(tmp_path, end):
    path = file_of(tmp_path, "a.csv", b"card,at,amount,note" + end.encode())
    assert raw(path) == ({name: [] for name in WANTED}, {})
    assert not streamed(path)[:, 0].any()
    none = parquet_of(tmp_path / "a.parquet", [])
    assert raw(none) == ({name: [] for name in WANTED}, {})
    assert not streamed(none)[:, 0].any()


def test_a_file_that_cannot_be_events_says_what_it_needs(tmp_path):
    for name, data, message in [
        ("a.parquet", b"no parquet at all", r"a.parquet' cannot be read as Parquet: .*"),
        ("b.parquet", b"", r"b.parquet' cannot be read as Parquet: .*"),
        ("a.txt", b"1,2", r"a.txt' ends in '.txt', needs one of .parquet, .csv, .jsonl, .ndjson"),
        ("a.csv", b"x,y\n1,2\n", r"a.csv' has columns x, y, none of card, at, amount, note"),
        ("a.jsonl", b'{"x": 1}\n', r"a.jsonl' has columns x, none of card, at, amount, note"),
        ("b.csv", b"card\xff,at\n", r"the first line of '\S*/b.csv' cannot be read, needs a CSV header in UTF-8: .*"),
        (
            "c.csv",
            b"card,at\r1,2\r",
            r"the first line of '\S*/c.csv' cannot be read, needs a CSV header in UTF-8: new-line",
        ),
        (
            "d.csv",
            b'card,"at\n1,2',
            r"the first line of '\S*/d.csv' cannot be read, needs a CSV header in UTF-8: unexpected",
        ),
    ]:
        with pytest.raises(SourceError, match=message):
            open_events(file_of(tmp_path, name, data), WANTED)
    with pytest.raises(
        SourceError, match=r"there is no file '\S*/e.csv', needs a Parquet, CSV or JSON lines file of events"
    ):
        open_events(tmp_path / "e.csv", WANTED)


def test_an_order_of_time_needs_the_time(tmp_path):
    for path in (file_of(tmp_path, "a.csv", b"card,amount\n1,2\n"), tmp_path / "a.parquet"):
        if path.suffix == ".parquet":
            pq.write_table(pa.table({"card": [1], "amount": [2.0]}), path)
        with pytest.raises(SourceError, match=rf"'{path.name}' has columns card, amount, needs 'at'"):
            FileSource(path, STREAM)
        assert letters_of(path) == [(0, "at is missing, an event of payments needs it", letters_of(path)[0][2])]
    with pytest.raises(ValueError, match="order is 'random', needs 'time' or 'file'"):
        FileSource(path, STREAM, order="random")
