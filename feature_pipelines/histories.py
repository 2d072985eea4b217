"""Event history in files: decoded by the rules of the stream, staged out of core, each id counted once.

History is one file, a folder of them or a pattern; files are read in order of their names, some
rows at a time. What cannot be counted is handed on as dead letters and never dropped in silence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from feature_pipelines.dead_letters import DeadLetter
from feature_pipelines.duplicates import ids_of
from feature_pipelines.events import decode
from feature_pipelines.files import ENDINGS, Raw, SourceError, check_there, open_events
from headrace.features.columns import NO_TIME
from headrace.features.duplicates import Memory, remembered_since
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup
from headrace.stores.history import Columns, Staged

#: The halves of an id, and whether an event has one.
_ID = ("id_first", "id_second", "has_id")
_BATCH = 1 << 17

Letters = Callable[[Sequence[DeadLetter]], None]
Told = Callable[[int], None]
Seen = Callable[[Raw], None]


def unseen(_: Raw) -> None:
    """Columns that nobody looks at."""


def files_of(path: Path) -> list[Path]:
    """Return the event files that a path means, in order; SourceError where there are none, or not the one."""
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in ENDINGS and _is_shown(file, path)]
        if not found:
            raise SourceError(
                f"the folder {str(path)!r} holds no event files, needs some ending in {', '.join(ENDINGS)}"
            )
        return sorted(found)
    if path.is_file() or not any(sign in str(path) for sign in "*?["):
        check_there(path)
        return [path]
    anchor = Path(path.anchor)
    found = sorted(file for file in anchor.glob(str(path.relative_to(anchor))) if file.is_file())
    if not found:
        raise SourceError(f"no file is named like {str(path)!r}, needs event files")
    return found


def _is_shown(file: Path, folder: Path) -> bool:
    """Tell whether no part of a path is hidden or set aside, as `_dead_letters.jsonl` is."""
    return not any(part.startswith((".", "_")) for part in file.relative_to(folder).parts)


@dataclass(slots=True)
class History:
    """The files of one stream's history, and what was read of them.

    `stream` declares only what must be decoded to know whether an event counts, and `also` names
    columns that are read as they stand.
    """

    stream: Stream
    files: list[Path]
    groups: Sequence[WindowedGroup]
    also: tuple[str, ...] = ()
    columns: frozenset[str] = frozenset()
    count: int = 0
    refused: int = 0
    repeated: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first_reason: str = ""
    newest_ms: int = NO_TIME
    remembered: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # ids of the last horizon

    @classmethod
    def of(cls, stream: Stream, path: Path, groups: Sequence[WindowedGroup], also: tuple[str, ...] = ()) -> History:
        """Look into the files; raises SourceError for what cannot be read."""
        needed = {stream.time, stream.id} | {n for g in groups for n in (g.key, g.value, *g.last)}
        # Optional text that nothing reads is of every kind, so no event is refused for it.
        kept = [c for c in stream.columns if c.name in needed or c.required or c.dtype != "string"]
        history = cls(replace(stream, columns=tuple(kept)), files_of(path), groups, also)
        for file in history.files:
            with closing(open_events(file, stream.names)) as opened:
                history.columns |= frozenset(opened.columns)
                history.count += opened.count
        return history

    def lacking(self) -> list[str]:
        """Return keys and values of the groups that no file has."""
        return sorted({name for group in self.groups for name in (group.key, group.value)} - self.columns)

    def absent(self) -> list[str]:
        """Return last columns of the groups that no file has."""
        wanted = {name for group in self.groups for name in group.last}
        return [name for name in self.stream.names if name in wanted and name not in self.columns]

    def read(self, now_ms: int, letters: Letters) -> Iterator[tuple[Columns, Raw]]:
        """Yield decoded columns of the events that count, duplicates too, and all events' columns `also`."""
        for file in self.files:
            with closing(open_events(file, (*self.stream.names, *self.also))) as opened:
                for start in range(0, opened.count, _BATCH):
                    stop = min(start + _BATCH, opened.count)
                    raw, unreadable = opened.read(np.arange(start, stop))
                    events = decode(self.stream, raw, stop - start, now_ms)
                    events.reasons.update(unreadable)
                    if events.reasons:
                        self._refuse(events.reasons)
                        origin = f"{self.stream.name}:{file.name}"
                        letters(
                            [
                                DeadLetter(origin, start + at, reason, opened.original(start + at))
                                for at, reason in sorted(events.reasons.items())
                            ]
                        )
                    yield events.columns, raw

    def stage(self, staged: Staged, now_ms: int, letters: Letters, told: Told, seen: Seen = unseen) -> Staged:
        """Put the counted events into `staged`, each id once, and return it.

        `told` hears how many were read, `seen` is shown the columns of all of them as they stand.
        """
        with staged.another() as arrived:
            into = arrived if self.stream.id else staged
            for columns, raw in self.read(now_ms, letters):
                ids = _halves(columns[self.stream.id]) if self.stream.id else {}
                into.append({**{name: columns[name] for name in self.names}, **ids})
                if (times := columns[self.stream.time]).size:
                    self.newest_ms = max(self.newest_ms, int(times.max()))
                seen(raw)
                told(times.size)
            for columns in self._once_each(arrived) if self.stream.id else ():
                staged.append(columns)
        return staged

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that the groups read, the time among them."""
        return tuple(dict.fromkeys((self.stream.time, *(n for g in self.groups for n in (g.key, g.value, *g.last)))))

    def _once_each(self, arrived: Staged) -> Iterator[Columns]:
        """Yield events in order of time, without those whose id counted within the stream's horizon."""
        memory = Memory(self.stream.horizon_ms)
        for batch in arrived.sorted((self.stream.time,), (*self.names, *_ID)):
            rows = np.flatnonzero(batch["has_id"])
            ids = np.stack([batch[name][rows].view(np.uint64) for name in _ID[:2]], axis=1)
            times = batch[self.stream.time]
            again = memory.repeated(ids, times[rows], times[rows])
            self._remember(ids[~again], times[rows][~again], int(times[-1]))
            memory.add(ids[~again], times[rows][~again], int(times[-1]))
            kept = np.ones(times.size, dtype=bool)
            kept[rows[again]] = False
            self.repeated += int(again.sum())
            yield {name: batch[name][kept] for name in self.names}

    def notes(self) -> list[str]:
        """Say which events were not counted."""
        said = []
        if self.refused:
            said.append(
                f"{self.refused} events of {self.stream.name} were not counted, the first because {self.first_reason}"
            )
        if self.repeated:
            said.append(
                f"{self.repeated} events of {self.stream.name} were not counted, "
                f"they repeat the {self.stream.id} of another"
            )
        return said

    def _remember(self, ids: np.ndarray, at: np.ndarray, newest_ms: int) -> None:
        """Keep the ids of the last horizon; `at` ascends."""
        since = remembered_since(newest_ms, self.stream.horizon_ms)
        self.remembered.append((ids, at))
        kept = [(ids[at >= since], at[at >= since]) for ids, at in self.remembered if at.size and at[-1] >= since]
        self.remembered = kept

    def _refuse(self, reasons: dict[int, str]) -> None:
        self.first_reason = self.first_reason or reasons[min(reasons)]
        self.refused += len(reasons)
        self.reasons.update(reason.partition(",")[0] for reason in reasons.values())


def _halves(values: np.ndarray) -> dict[str, np.ndarray]:
    ids, rows = ids_of(values)
    rows = np.arange(values.size) if rows is None else rows
    out = {name: np.zeros(values.size, dtype=np.int64) for name in _ID}
    for at, name in enumerate(_ID[:2]):
        out[name][rows] = ids[:, at].view(np.int64)
    out["has_id"][rows] = 1
    return out
