"""One reader of instants: what it understands, and what it refuses without failing."""

import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.features.columns import NO_TIME
from headrace.features.instants import LAST_MS, epoch_ms, epochs_ms, iso


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (0, 0),
        (-1, -1),
        (np.int64(1500), 1500),
        (1500.9, 1500),
        (-0.5, -1),
        ("1500", 1500),
        (" 1500 ", 1500),
        ("-1500", -1500),
        (b"1500", 1500),
        ("20260101", 20260101),  # digits alone are milliseconds
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01 00:00:01.0019", 1001),
        ("1970-01-01T01:00:01+01:00", 1000),
        ("1970-01-01T00:00:01Z", 1000),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), 1000),
        (datetime(1970, 1, 1, 1, 0, 1, tzinfo=timezone(timedelta(hours=1))), 1000),
        (datetime(1970, 1, 1, 0, 0, 1), 1000),  # noqa: DTZ001  without an offset it is UTC
    ],
)
def test_an_instant_is_read(written, wanted):
    assert epoch_ms(written) == wanted


@pytest.mark.parametrize(
    "written",
    [
        None, True, "", "soon", b"\xff", "1e3", "2026-13-01", float("nan"), float("inf"), LAST_MS + 1, -LAST_MS - 1,
        "9999-12-31T23:59:59-23:59", "9" * 30, "9" * (sys.get_int_max_str_digits() + 1), [], object(),
    ],
)  # fmt: skip
def test_what_is_no_instant_is_no_time(written):
    assert epoch_ms(written) == NO_TIME


def test_arrays_are_read_as_their_elements_are():
    assert epochs_ms(np.array([1, -1, LAST_MS + 1, np.iinfo(np.int64).min])).tolist() == [1, -1, NO_TIME, NO_TIME]
    assert epochs_ms(np.array([5, 2**64 - 1], dtype=np.uint64)).tolist() == [5, NO_TIME]
    assert epochs_ms(np.array([1.5, np.nan])).tolist() == [1, NO_TIME]
    assert epochs_ms(np.array(["1970-01-01", None, b"7"], dtype=object)).tolist() == [0, NO_TIME, 7]
    assert epochs_ms(np.array(["1970-01-02", "NaT"], dtype="datetime64[us]")).tolist() == [86_400_000, NO_TIME]
    assert epochs_ms(np.array([], dtype=object)).tolist() == []


@given(st.integers(-62_135_596_800_000, LAST_MS))
def test_what_is_written_is_read_again(at_ms):
    assert epoch_ms(iso(at_ms)) == epoch_ms(str(at_ms)) == at_ms
