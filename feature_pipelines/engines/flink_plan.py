"""What every operator of a Flink job must know, as plain data that travels with it, and where its state is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from feature_pipelines.addresses import options_of
from feature_pipelines.engines import Job, Report
from feature_pipelines.engines.opening import Flow, whole
from feature_pipelines.sources import Batch

#: The options of a job that are this engine's own; what they mean is said with the engine.
OPTIONS = ("linger_ms", "parallelism", "checkpoint_s", "backend", "state", "python", "jars")
LINGER_MS, CHECKPOINT_S = 100, 10
BUCKETS = 8  # fewer than other engines: each part of a batch costs a millisecond
REFUSED = 2  # how a job that was refused before it began exits
_SOURCES, _POSITIONS, _REPORT = "sources.json", "positions.json", "report.json"
_LOOKS = 20  # a checkpoint is dropped no more often than one is made, each second at most
_COMPLETE = "_metadata"  # the file that Flink writes last into a checkpoint

Messages = Callable[[int, Sequence[tuple[int, bytes | None]]], Batch]


@dataclass(frozen=True, slots=True)
class Plan:
    """A job, the state its records belong to, and a folder in which the writer says how far it is, if any."""

    job: Job
    owner: str
    told: str = ""

    def flow(self) -> Flow:
        """Return the job with its declarations; ValueError where a name or an option is not known."""
        return Flow.of(self.job, "flink", OPTIONS)

    @property
    def linger_ms(self) -> int:
        """How long a message of a topic may wait for others."""
        return whole(self.job.options, "linger_ms", LINGER_MS)

    def tell(self, positions: Mapping[str, int], report: Report) -> None:
        """Write down up to where each partition is in the store, and what this run did."""
        if self.told:
            for name, found in ((_POSITIONS, positions), (_REPORT, asdict(report))):
                _replace(Path(self.told) / name, found)

    def positions(self) -> dict[str, int]:
        """Return up to where each partition was in the store when the last run wrote it down."""
        return told(Path(self.told))[0] if self.told else {}

    def messages(self, names: Sequence[str]) -> Messages:
        """Return what makes a batch of messages of one partition, each an offset and bytes, of a stream's columns."""
        from feature_pipelines.formats import reader_of
        from feature_pipelines.kafka import KafkaAddress

        told, address = options_of(self.job), KafkaAddress.of(self.job.source)
        reader = reader_of(told.format, names, told.schema, told.registry)

        def batch(partition: int, messages: Sequence[tuple[int, bytes | None]]) -> Batch:
            name, values = address.partition(partition), [value for _, value in messages]
            raw, unreadable = reader.read(values)
            return Batch(
                count=len(values),
                raw=raw,
                start={name: messages[0][0]},
                end={name: messages[-1][0] + 1},
                unreadable=unreadable,
                original=lambda event: values[event] or b"",
                origin=lambda event: (name, messages[event][0]),
            )

        return batch


def state_folder(job: Job) -> Path:
    """Return the folder of a job's checkpoints, in the store's directory unless option `state` names another."""
    return Path(job.options.get("state") or job.store / "flink" / job.stream).resolve()


def recovery_path(folder: Path) -> Path | None:
    """Return the newest complete checkpoint or savepoint in a folder of state, None where there is none.

    A job that runs drops its older checkpoints meanwhile, once it has a newer one: where something went away, that
    is looked for again. Raises FileNotFoundError where something goes away again and again, and OSError for what
    cannot be looked at.
    """
    for _ in range(_LOOKS):
        with suppress(FileNotFoundError):
            return _newest(folder)
    return _newest(folder)


def _newest(folder: Path) -> Path | None:
    complete = [found for kind in ("checkpoints", "savepoints") for found in _complete(folder / kind)]
    return max(complete)[1] if complete else None


def _complete(folder: Path) -> Iterator[tuple[int, Path]]:
    if folder.exists():
        for at, _, names in os.walk(folder, onerror=_raised):
            if _COMPLETE in names:
                yield (Path(at) / _COMPLETE).stat().st_mtime_ns, Path(at)


def _raised(fault: OSError) -> None:
    raise fault


def told(folder: Path) -> tuple[dict[str, int], Report]:
    """Return what the writer wrote down last: the positions, by all runs, and the report, of the last run."""
    positions, report = (folder / name for name in (_POSITIONS, _REPORT))
    return (
        json.loads(positions.read_text()) if positions.exists() else {},
        Report(**json.loads(report.read_text())) if report.exists() else Report(),
    )


def begin(folder: Path, source: str, is_file: bool) -> None:
    """Note that a source is read into a folder's state, and forget what the run before reported.

    Records are put whole, by the state that has all events before: a source may begin anew
    without one, since the same events make the same records, but another source may not; and a
    file may follow files, each once. Raises ValueError where that is not so.
    """
    noted = folder / _SOURCES
    before: list[str] = json.loads(noted.read_text()) if noted.exists() else []
    if before and source != before[-1]:
        if recovery_path(folder) is None:
            raise ValueError(
                f"the store holds events of {before[-1]!r}, of which Flink kept no state to go on from: "
                "needs the same source again, or another store"
            )
        if source in before or not is_file:
            raise ValueError(
                f"the store holds events of {', '.join(map(repr, before))}, and {source!r} cannot follow: "
                "needs the last of them, a file that is new, or another store"
            )
    folder.mkdir(parents=True, exist_ok=True)
    _replace(noted, [*(name for name in before if name != source), source])
    (folder / _REPORT).unlink(missing_ok=True)


def _replace(path: Path, found: object) -> None:
    half = path.with_suffix(".half")
    half.write_text(json.dumps(found))
    half.replace(path)
