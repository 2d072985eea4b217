"""Payments to learn from: a user's file, or a simulation of three thousand cards.

Whatever the source, the table has one schema: tid, cc_num, terminal_id, datetime, amount,
latitude, longitude, card_present, category and fraud_label, sorted by time and then by the
order they were given in. Optional columns that are absent are null throughout, and said.
A row that cannot be read is dropped and counted; nothing is dropped in silence.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from applications.fraud import simulation
from headrace.features.columns import NO_TIME
from headrace.features.instants import epochs_ms
from headrace.features.rows import nearest

Progress = Callable[[str, float], None]  # what is being done, and which share of it is done

REQUIRED = ("cc_num", "terminal_id", "datetime", "amount", "fraud_label")
OPTIONAL = ("tid", "latitude", "longitude", "card_present", "category")
RANGES = {"latitude": 90.0, "longitude": 180.0}
TRUE, FALSE = {"true", "t", "yes", "y", "1", "1.0"}, {"false", "f", "no", "n", "0", "0.0"}
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Payments:
    """Payments in time order, and what must be said about them: absent columns, dropped rows."""

    table: pa.Table
    notes: tuple[str, ...]


def payments(path: Path | None, cache: Path, progress: Progress | None = None) -> Payments:
    """Return the payments of a CSV or Parquet file, or simulated ones where no file is given.

    Simulated payments are kept in `cache` as Parquet. Raises ValueError for a file that is
    not there, of another kind, or without a required column.
    """
    if path is None:
        return _simulated(cache, progress)
    path = Path(path)
    try:
        names = _names(path)
        _check_columns(path, names)
        wanted = [name for name in names if name in REQUIRED + OPTIONAL]
        given, notes = _read_csv(path, names, wanted) if path.suffix.lower() == ".csv" else _read_parquet(path, wanted)
    except (pa.ArrowInvalid, UnicodeDecodeError) as wrong:
        raise ValueError(f"payments file {path.name} cannot be read, needs UTF-8 CSV or Parquet: {wrong}") from wrong
    return _conform(given, notes)


def _simulated(cache: Path, progress: Progress | None) -> Payments:
    kept = cache / f"payments-{simulation.DEFAULT.digest}.parquet"
    if not kept.exists():
        _write(simulation.simulate(simulation.DEFAULT, progress), kept)
    note = f"simulated by synccfd: {simulation.DEFAULT.describe()}; card_present is known, category is absent"
    return Payments(pa.parquet.read_table(kept), (note,))


def _write(table: pa.Table, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=kept.parent, prefix=kept.stem, suffix=".tmp")
    os.close(handle)
    try:
        pa.parquet.write_table(table, unfinished)
        Path(unfinished).replace(kept)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _names(path: Path) -> list[str]:
    if not path.is_file():
        raise ValueError(f"payments file {path} is not there, needs a CSV or Parquet file")
    if path.suffix.lower() in (".parquet", ".pq"):
        return pa.parquet.read_schema(path).names
    if path.suffix.lower() != ".csv":
        raise ValueError(f"payments file {path.name} ends in {path.suffix!r}, needs .csv, .parquet or .pq")
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _read_parquet(path: Path, wanted: list[str]) -> tuple[pa.Table, list[str]]:
    return pa.parquet.read_table(path, columns=wanted), []


def _read_csv(path: Path, names: list[str], wanted: list[str]) -> tuple[pa.Table, list[str]]:
    broken: list[int] = []

    def skip(row: pa.csv.InvalidRow) -> str:
        broken.append(row.actual_columns)
        return "skip"

    table = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(invalid_row_handler=skip, newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in wanted}, include_columns=wanted, strings_can_be_null=True
        ),
    )
    notes = [f"{len(broken)} rows dropped: not {len(names)} values in the line"] if broken else []
    return table, notes


def _check_columns(path: Path, found: list[str]) -> None:
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise ValueError(f"payments file {path.name} has column {', '.join(twice)} twice, needs every column once")
    absent = [name for name in REQUIRED if name not in found]
    if absent:
        hints = "".join(nearest(name, found).replace("did you mean", f"is {name!r} called") for name in absent)
        raise ValueError(
            f"payments file {path.name} has columns {', '.join(found)}, needs {', '.join(absent)} too{hints}"
        )


def _conform(given: pa.Table, notes: list[str]) -> Payments:
    reasons: list[tuple[str, np.ndarray]] = []
    kept = {name: _key(given, name, reasons) for name in ("cc_num", "terminal_id")}
    times = _instants(given["datetime"])
    reasons.append(("datetime is neither ISO 8601 nor epoch milliseconds", times == NO_TIME))
    amount = _floats(given["amount"])
    reasons.append(("amount is not a number of zero or more", ~(np.isfinite(amount) & (amount >= 0))))
    label = _bools(given["fraud_label"])
    reasons.append(("fraud_label is neither 0 nor 1", np.isnan(label)))
    place = {name: _place(given, name, notes) for name in ("latitude", "longitude")}
    present = _optional_bools(given, "card_present", notes)

    bad = np.zeros(given.num_rows, dtype=bool)
    for reason, marks in reasons:
        if fresh := int((marks & ~bad).sum()):
            notes.append(f"{fresh} rows dropped: {reason}")
        bad |= marks
    rows = np.flatnonzero(~bad)
    if not rows.size:
        raise ValueError(f"no payment of {given.num_rows} could be read: {'; '.join(notes) or 'the file is empty'}")
    if times[rows].max() < 30 * DAY_MS:
        notes.append("all payments lie in January 1970: datetime may be in seconds, milliseconds are needed")
    rows = rows[np.argsort(times[rows], kind="stable")]
    columns = {
        "tid": _tid(given, notes).take(rows),
        "cc_num": pa.array(kept["cc_num"][rows]),
        "terminal_id": pa.array(kept["terminal_id"][rows]),
        "datetime": pa.array(times[rows]).cast(pa.timestamp("ms")),
        "amount": pa.array(amount[rows]),
        **{name: pa.array(values[rows], from_pandas=True) for name, values in place.items()},
        "card_present": _nullable_bool(present[rows]),
        "category": _category(given, notes).take(rows),
        "fraud_label": pa.array(label[rows].astype(np.int8)),
    }
    return Payments(pa.table(columns), tuple(notes))


def _key(given: pa.Table, name: str, reasons: list[tuple[str, np.ndarray]]) -> np.ndarray:
    column = given[name]
    if pa.types.is_integer(column.type) and column.null_count == 0:
        return column.to_numpy().astype(np.int64)
    numbers = _floats(column)
    bad = ~(np.isfinite(numbers) & (np.abs(numbers) <= 2**53) & (numbers == np.floor(numbers)))
    whole = np.where(bad, 0, numbers).astype(np.int64)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pa.compute.utf8_trim_whitespace(column)
        # Read as digits, not by way of float64: a card number may have more of them than that can hold.
        digits = pa.compute.fill_null(pa.compute.match_substring_regex(text, r"^-?\d{1,18}$"), False)
        exact = pa.compute.if_else(digits, text, pa.scalar("0", text.type)).cast(pa.int64())
        whole = np.where(digits, exact, whole)
        bad &= ~digits.to_numpy()
    reasons.append((f"{name} is not a whole number of at most 18 digits", bad))
    return whole


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """Return float64 with NaN for what is null or no number."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return np.full(len(column), np.nan)
    text = pa.compute.utf8_trim_whitespace(column)
    number = pa.compute.match_substring_regex(text, r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")
    text = pa.compute.if_else(number, text, pa.scalar(None, text.type))
    return text.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _instants(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_date(column.type) or pa.types.is_timestamp(column.type):
        whole = column.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
        return pa.compute.fill_null(whole, NO_TIME).to_numpy()
    return epochs_ms(column.to_pylist())


def _bools(column: pa.ChunkedArray) -> np.ndarray:
    """Return 1, 0 or NaN."""
    words = [str(value).strip().lower() for value in column.to_pylist()]
    return np.array([1.0 if word in TRUE else 0.0 if word in FALSE else np.nan for word in words])


def _optional_bools(given: pa.Table, name: str, notes: list[str]) -> np.ndarray:
    if name not in given.column_names:
        notes.append(f"column {name} is absent: it is missing in every payment")
        return np.full(given.num_rows, np.nan)
    values = _bools(given[name])
    unread = int(np.isnan(values).sum()) - given[name].null_count
    if unread > 0:
        notes.append(f"{unread} values of {name} are neither true nor false: taken as missing")
    return values


def _place(given: pa.Table, name: str, notes: list[str]) -> np.ndarray:
    if name not in given.column_names:
        notes.append(f"column {name} is absent: it is missing in every payment")
        return np.full(given.num_rows, np.nan)
    values = _floats(given[name])
    values = np.where(np.abs(values) <= RANGES[name], values, np.nan)
    unread = int(np.isnan(values).sum()) - given[name].null_count
    if unread > 0:
        notes.append(f"{unread} values of {name} are not within {RANGES[name]:g} degrees: taken as missing")
    return values


def _nullable_bool(values: np.ndarray) -> pa.Array:
    return pa.array(values == 1.0, mask=np.isnan(values))


def _tid(given: pa.Table, notes: list[str]) -> pa.ChunkedArray | pa.Array:
    if "tid" in given.column_names:
        whole = pa.compute.all(pa.compute.match_substring_regex(given["tid"].cast(pa.string()), r"^-?\d{1,18}$"))
        return given["tid"].cast(pa.int64()) if whole.as_py() else given["tid"]
    notes.append("column tid is absent: payments are numbered in the order given")
    return pa.array(np.arange(given.num_rows))


def _category(given: pa.Table, notes: list[str]) -> pa.ChunkedArray | pa.Array:
    if "category" in given.column_names:
        return given["category"].cast(pa.string())
    notes.append("column category is absent: it is missing in every payment")
    return pa.nulls(given.num_rows, pa.string())
