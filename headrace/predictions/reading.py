"""Finding one past prediction in a log, by the id of its request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.predictions.columns import LONGEST_ID
from headrace.predictions.files import files_of, written_at
from headrace.predictions.records import Described, Record, described, records_of

#: The columns an id is looked for in.
IDS = ("request_id", "call_id", "trace_id")


@dataclass(slots=True)
class Found:
    """The rows of one request, in order, and what was looked at to find them."""

    records: list[Record] = field(default_factory=list)
    features: Mapping[str, Described] = field(default_factory=dict)
    looked_at: int = 0  # rows
    files: int = 0
    oldest: str = ""
    newest: str = ""
    unreadable: int = 0

    def saw(self, at: str) -> None:
        """Say that rows of an instant were looked at."""
        self.oldest = min(self.oldest or at, at)
        self.newest = max(self.newest, at)

    def beside(self, other: Found) -> Found:
        """Add what was looked at elsewhere before."""
        self.looked_at, self.files = self.looked_at + other.looked_at, self.files + other.files
        self.unreadable += other.unreadable
        for at in filter(None, (other.oldest, other.newest)):
            self.saw(at)
        return self


def in_files(folder: Path, wanted: str, since: datetime | None = None) -> Found:
    """Look through a folder's files, the newest first, until one has the request and none can have a later one.

    Several processes write files side by side, and what one of them wrote last is not what was answered last: a file
    is looked at where it was written since what was found was answered. A run is written whole. A file that is no
    Parquet is counted and passed over. Of `wanted` as much counts as a log keeps of an id.
    """
    found, wanted = Found(), wanted[:LONGEST_ID]
    newest: Any = None
    for file in reversed(files_of(folder)):
        if newest is not None and written_at(file) < f"{newest:%Y-%m-%d/%H%M%S}.{newest.microsecond // 1000:03d}":
            break
        if since is not None and file.parent.name < since.astimezone(UTC).strftime("%Y-%m-%d"):
            break
        try:
            ids = pq.read_table(file, columns=[*IDS, "at"])
            found.files += 1
            found.looked_at += ids.num_rows
            _saw(found, ids["at"])
            marks = _marks(ids, wanted, since)
            if pc.any(marks).as_py():
                at = pc.max(pc.filter(ids["at"], marks)).as_py()
                if newest is None or at > newest:
                    table, newest = pq.read_table(file), at
                    found.features = described(table.schema)
                    found.records = _last(list(records_of(table.filter(marks))))
        except (OSError, pa.ArrowException, KeyError):
            found.unreadable += 1
    return found


def in_topic(address: str, settings: Mapping[str, Any], wanted: str, since: datetime | None = None) -> Found:
    """Look through a topic from an instant on, or its beginning. Raises SinkFailed where it cannot be read."""
    from headrace.predictions.kafka import messages

    found, wanted = Found(), wanted[:LONGEST_ID]
    for record in messages(address, settings, 0 if since is None else int(since.timestamp() * 1000)):
        found.looked_at += 1
        found.saw(str(record.get("at", "")))
        if wanted in (record.get(name) for name in IDS):
            found.records.append(record)
    newest = max((str(record.get("at")) for record in found.records), default="")
    found.records = _last([record for record in found.records if record.get("at") == newest])
    return found


def _marks(ids: pa.Table, wanted: str, since: datetime | None) -> pa.ChunkedArray:
    marks = [pc.fill_null(pc.equal(ids[name], wanted), False) for name in IDS]
    together = pc.or_(pc.or_(marks[0], marks[1]), marks[2])
    if since is not None:
        together = pc.and_(together, pc.greater_equal(ids["at"], pa.scalar(since, ids["at"].type)))
    if not pc.any(together).as_py():
        return together
    # An id that was used twice means the last request that did.
    last = pc.max(pc.filter(ids["at"], together))
    return pc.and_(together, pc.equal(ids["at"], last))


def _saw(found: Found, at: pa.ChunkedArray) -> None:
    if len(at):
        for instant in pc.min_max(at).as_py().values():
            found.saw(instant.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def _last(records: list[Record]) -> list[Record]:
    """Return the rows of the last of several requests that had one id within a millisecond, as they were written."""
    first = max((at for at, record in enumerate(records) if not record.get("row")), default=0)
    return records[first:]
