"""Predictions as Parquet files: whole ones, by day, and no more of them than was agreed.

A file is written beside its place and renamed into it, so that a reader sees all of it or nothing:
`FOLDER/2026-11-21/104501.123-PID-1.parquet`, named by the instant it was written, UTC. What a killed process had
not written yet is lost, at most `every_s` seconds of it.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.predictions.log import SinkFailed

LOG = logging.getLogger("headrace.predictions")
SUFFIX, _UNFINISHED = ".parquet", ".tmp"
_DAY = "%Y-%m-%d"
_PART = re.compile(r"\d{4}-\d{2}-\d{2}")
_WHOLE = re.compile(rf"\d{{6}}\.\d{{3}}-\d+-\d+{re.escape(SUFFIX)}")
_SWEEP = timedelta(minutes=1)
#: A file is written in seconds; what is unfinished after so long, a killed process left.
_LEFT = timedelta(hours=1)


class ParquetFiles:
    """A folder of Parquet files that keeps `days` days and `most_bytes` bytes of this and former processes' files."""

    def __init__(
        self,
        folder: Path,
        *,
        every_s: float = 30.0,
        most_rows: int = 100_000,
        days: float = 30.0,
        most_bytes: int = 1 << 30,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Raise SinkFailed where nothing can be written to the folder now: it is found at start, not in the night."""
        self.folder, self.every_s, self.most_rows = folder, every_s, most_rows
        self._days, self._most_bytes, self._clock = days, most_bytes, clock
        self._files, self._written, self._swept = 0, 0, datetime.min.replace(tzinfo=UTC)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".{os.getpid()}{_UNFINISHED}"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as refused:
            raise SinkFailed(
                f"nothing can be written to {str(folder)!r} ({refused.strerror}), predictions need a folder"
            ) from refused

    def write(self, table: pa.Table) -> None:
        """Write a file; SinkFailed, with nothing left behind, where the disk does not take it."""
        now = self._clock()
        self._files += 1
        day = self.folder / now.strftime(_DAY)
        name = f"{now:%H%M%S}.{now.microsecond // 1000:03d}-{os.getpid()}-{self._files}{SUFFIX}"
        unfinished = day / f".{name}{_UNFINISHED}"
        try:
            day.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, unfinished, compression="zstd")
            unfinished.rename(day / name)
        except (OSError, pa.ArrowException) as refused:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            why = getattr(refused, "strerror", None) or refused
            raise SinkFailed(f"the folder of predictions takes no file: {why}") from refused
        self._written += table.num_rows

    def settled(self) -> int:
        """Return how many rows were written since it was last asked; sweep now and then, whether any were or not."""
        now = self._clock()
        if abs(now - self._swept) >= _SWEEP:
            self._swept = now
            try:
                self._sweep(now)
            except OSError as refused:
                LOG.warning("old predictions stay, the folder grows: %s", refused.strerror or refused)
        written, self._written = self._written, 0
        return written

    def close(self) -> None:
        """Every file is whole: there is nothing to finish."""

    def _sweep(self, now: datetime) -> None:
        for file in _left_in(self.folder, now - _LEFT):
            _remove(file)
        oldest = (now - timedelta(days=self._days)).strftime(f"{_DAY}/%H%M%S")
        latest = now.strftime(f"{_DAY}/%H%M%S~")
        named = ((f"{file.parent.name}/{file.name}", file) for file in files_of(self.folder))
        # What a clock that was ahead has named is not the newest: it goes first where there is too much.
        found = sorted((name <= latest, name, file) for name, file in named)
        sizes = [_size(file) for *_, file in found]
        total = sum(sizes)
        for (_, name, file), size in zip(found, sizes, strict=True):
            if name < oldest or (total > self._most_bytes and file != found[-1][2]):  # the newest may be however large
                total -= size
                _remove(file)


def files_of(folder: Path) -> list[Path]:
    """Return the whole files of a folder of predictions, oldest first; other processes may sweep it meanwhile.

    Files that are named otherwise are somebody else's, and left alone.
    """
    whole = (file for file in _files_in(folder) if _WHOLE.fullmatch(file.name))
    return sorted(whole, key=lambda file: (file.parent.name, file.name))


def written_at(file: Path) -> str:
    """Return when a whole file was written, in an order of texts: `2026-11-21/104501.123`."""
    return f"{file.parent.name}/{file.name.partition('-')[0]}"


def _remove(file: Path) -> None:
    file.unlink(missing_ok=True)
    with suppress(OSError):  # not empty yet
        file.parent.rmdir()


def _left_in(folder: Path, until: datetime) -> list[Path]:
    """Return the unfinished files that were begun before an instant."""
    last = until.strftime(f"{_DAY}/.%H%M%S")
    unfinished = (file for file in _files_in(folder) if file.name.endswith(_UNFINISHED))
    return [file for file in unfinished if f"{file.parent.name}/{file.name}" < last]


def _files_in(folder: Path) -> list[Path]:
    return [file for part in _inside(folder) if _PART.fullmatch(part.name) for file in _inside(part)]


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # another process swept it
        return 0
