"""Payments come out alike whatever they came from, and nothing is lost in silence."""

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from applications.fraud.data import payments
from applications.fraud.simulation import Simulation, simulate

SCHEMA = {
    "tid": "int64",
    "cc_num": "int64",
    "terminal_id": "int64",
    "datetime": "timestamp[ms]",
    "amount": "double",
    "latitude": "double",
    "longitude": "double",
    "card_present": "bool",
    "category": "string",
    "fraud_label": "int8",
}
HEAD = "tid,cc_num,terminal_id,datetime,amount,latitude,longitude,card_present,category,fraud_label"
LINES = (
    "2,4000000000000001,8,2026-01-02T00:00:00.250Z,20.5,59.33,18.07,true,grocery,0",
    "1,4000000000000002,9,2026-01-01 10:00:00+02:00,7,55.68,12.57,0,fuel,1",
)


@pytest.fixture
def read(tmp_path):
    def of(*lines, head=HEAD):
        path = tmp_path / "payments.csv"
        path.write_text("\n".join([head, *lines]) + "\n")
        return payments(path, tmp_path / "cache")

    return of


def rows(table, *names):
    return [tuple(row.values()) for row in table.select(list(names)).to_pylist()]


def test_a_csv_file_in_order_of_time(read):
    given = read(*LINES)
    assert {field.name: str(field.type) for field in given.table.schema} == SCHEMA
    assert given.notes == ()
    assert given.table["datetime"].cast("int64").to_pylist() == [1767254400000, 1767312000250]
    assert rows(given.table, "tid", "cc_num", "amount", "card_present", "category", "fraud_label") == [
        (1, 4000000000000002, 7.0, False, "fuel", 1),
        (2, 4000000000000001, 20.5, True, "grocery", 0),
    ]


def test_payments_of_one_instant_stay_in_the_order_given(read):
    lines = [f"{tid},1,1,1767225600000,1,,,,," + "0" for tid in (5, 3, 4, 1, 2)]
    assert read(*lines).table["tid"].to_pylist() == [5, 3, 4, 1, 2]


def test_parquet_gives_what_csv_gives(read, tmp_path):
    from_csv = read(*LINES).table
    for name, cast in (("ms.parquet", "timestamp[ms]"), ("us.pq", "timestamp[us]"), ("epoch.parquet", "int64")):
        stored = from_csv.set_column(3, "datetime", from_csv["datetime"].cast(pa.int64()))
        if cast != "int64":
            stored = from_csv.set_column(3, "datetime", from_csv["datetime"].cast(pa.timestamp(cast[10:12])))
        pa.parquet.write_table(stored, tmp_path / name)
        given = payments(tmp_path / name, tmp_path)
        assert given.notes == ()
        assert given.table.equals(from_csv)


def test_absent_optional_columns_are_null_and_said(read):
    given = read("7,8,1767225600000,12,0", head="cc_num,terminal_id,datetime,amount,fraud_label")
    assert {field.name: str(field.type) for field in given.table.schema} == SCHEMA
    assert rows(given.table, "tid", "latitude", "longitude", "card_present", "category") == [
        (0, None, None, None, None)
    ]
    for name in ("latitude", "longitude", "card_present", "category"):
        assert f"column {name} is absent: it is missing in every payment" in given.notes
    assert "column tid is absent: payments are numbered in the order given" in given.notes


def test_text_ids_are_kept(read):
    assert read("a-7,1,1,1767225600000,1,,,,,0").table["tid"].to_pylist() == ["a-7"]


def test_a_missing_required_column_is_named_with_the_nearest(read):
    with pytest.raises(ValueError, match="needs") as refused:
        read("1,1,1767225600000,1,0", head="cc_num,terminal_id,datetime,ammount,fraud_label")
    said = str(refused.value)
    assert "has columns cc_num, terminal_id, datetime, ammount, fraud_label, needs amount too" in said
    assert "is 'amount' called 'ammount'?" in said


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3,,1,1767225600000,1,,,,,0", "cc_num is not a whole number of at most 18 digits"),
        ("3,4111-1111,1,1767225600000,1,,,,,0", "cc_num is not a whole number of at most 18 digits"),
        ("3,1,x,1767225600000,1,,,,,0", "terminal_id is not a whole number of at most 18 digits"),
        ("3,1,1,yesterday,1,,,,,0", "datetime is neither ISO 8601 nor epoch milliseconds"),
        ("3,1,1,1767225600000,,,,,,0", "amount is not a number of zero or more"),
        ("3,1,1,1767225600000,-1,,,,,0", "amount is not a number of zero or more"),
        ("3,1,1,1767225600000,1e999,,,,,0", "amount is not a number of zero or more"),
        ("3,1,1,1767225600000,1,,,,,maybe", "fraud_label is neither 0 nor 1"),
        ("3,1,1", "not 10 values in the line"),
    ],
)
def test_a_row_that_cannot_be_read_is_dropped_and_counted(read, line, reason):
    given = read(*LINES, line)
    assert given.table["tid"].to_pylist() == [1, 2]
    assert given.notes == (f"1 rows dropped: {reason}",)


def test_long_card_numbers_are_exact(read):
    given = read("1,900719925474099301,1,1767225600000,1,,,,,0", "2, 17.0 ,1,1767225600000,1,,,,,0")
    assert given.table["cc_num"].to_pylist() == [900719925474099301, 17]


def test_a_row_is_counted_once(read):
    assert read(*LINES, "3,x,x,never,x,,,,,x").notes == (
        "1 rows dropped: cc_num is not a whole number of at most 18 digits",
    )


def test_places_and_flags_that_cannot_be_are_missing_and_counted(read):
    given = read(*LINES, "3,1,1,1767400000000,1,99,181,perhaps,,0")
    assert rows(given.table.slice(2), "latitude", "longitude", "card_present") == [(None, None, None)]
    assert given.notes == (
        "1 values of latitude are not within 90 degrees: taken as missing",
        "1 values of longitude are not within 180 degrees: taken as missing",
        "1 values of card_present are neither true nor false: taken as missing",
    )


def test_seconds_taken_for_milliseconds_are_noticed(read):
    assert "datetime may be in seconds" in read("3,1,1,1767225600,1,,,,,0").notes[-1]


def test_a_file_without_readable_payments_is_refused(read):
    with pytest.raises(ValueError, match="no payment of 1 could be read: 1 rows dropped: cc_num"):
        read("3,x,1,1767225600000,1,,,,,0")
    with pytest.raises(ValueError, match="no payment of 0 could be read: the file is empty"):
        read()


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.csv is not there, needs a CSV or Parquet file"):
        payments(tmp_path / "nowhere.csv", tmp_path)
    (tmp_path / "payments.xlsx").write_text("x")
    with pytest.raises(ValueError, match=r"ends in '\.xlsx', needs \.csv, \.parquet or \.pq"):
        payments(tmp_path / "payments.xlsx", tmp_path)


def test_a_file_that_is_not_what_its_name_says(tmp_path):
    (tmp_path / "payments.parquet").write_text("x")
    (tmp_path / "payments.csv").write_bytes((HEAD + "\n1,1,1,1767225600000,1,,,,\xff,0\n").encode("latin-1"))
    for name in ("payments.parquet", "payments.csv"):
        with pytest.raises(ValueError, match=f"{name} cannot be read, needs UTF-8 CSV or Parquet"):
            payments(tmp_path / name, tmp_path)


def test_a_column_given_twice(read):
    with pytest.raises(ValueError, match="has column amount twice, needs every column once"):
        read("1,1,1,1,1,0", head="cc_num,terminal_id,datetime,amount,amount,fraud_label")


def test_a_byte_order_mark_and_columns_nobody_asked_for(tmp_path):
    (tmp_path / "payments.csv").write_text("\ufeff" + HEAD + ",city\n" + LINES[0] + ",Malm\u00f6\n", encoding="utf-8")
    given = payments(tmp_path / "payments.csv", tmp_path)
    assert given.notes == ()
    assert given.table["tid"].to_pylist() == [2]
    assert "city" not in given.table.column_names


@pytest.fixture(scope="module")
def small():
    return Simulation(cards=40, terminals=60, days=12)


def test_simulated_payments_have_the_same_schema_and_repeat_themselves(small):
    told = []
    table = simulate(small, lambda what, share: told.append((what, share)))
    assert {field.name: str(field.type) for field in table.schema} == SCHEMA
    assert table.equals(simulate(small))
    times = table["datetime"].to_pylist()
    assert times == sorted(times)
    assert 0 < sum(table["fraud_label"].to_pylist()) < table.num_rows
    assert told[-1] == ("simulating payments", 1.0)


def test_simulations_are_kept_under_their_parameters(small, tmp_path, monkeypatch):
    monkeypatch.setattr("applications.fraud.simulation.DEFAULT", small)
    first = payments(None, tmp_path / "cache")
    [kept] = (tmp_path / "cache").iterdir()
    assert kept.name == f"payments-{small.digest}.parquet"
    written = kept.stat().st_mtime_ns
    assert payments(None, tmp_path / "cache").table.equals(first.table)
    assert kept.stat().st_mtime_ns == written
    assert "40 cards, 60 terminals, 12 days" in first.notes[0]
    assert Simulation(seed=1).digest != Simulation(seed=2).digest
