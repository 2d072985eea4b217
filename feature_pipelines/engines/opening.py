"""What a job's names stand for: its stream and groups, the partitions of its source, its sink.

Engines read a source by partition, each partition from an offset that the engine remembers;
a file is one partition. Every process of an engine opens these for itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from feature_pipelines.addresses import READING, open_letters, open_source, options_of, path_of
from feature_pipelines.engines import Job
from feature_pipelines.engines.chunks import BUCKETS
from feature_pipelines.files import SourceError, open_events
from feature_pipelines.sinks import Sink
from feature_pipelines.sources import Source
from feature_pipelines.stores import WRITING, open_store
from headrace.application import load_application
from headrace.features.streams import Stream
from headrace.features.windows import WindowedGroup

BATCH = 16_384  # of the other engines, whose events are Python objects on their way: half the local one's
_IDENTITY = "identity"
_POLL_S = 0.002  # an engine's worker has more to do than to wait for one partition


@dataclass(frozen=True, slots=True)
class Flow:
    """A job with its declarations: what every process of an engine needs to know."""

    job: Job
    stream: Stream
    groups: tuple[WindowedGroup, ...]
    buckets: int
    batch: int

    @classmethod
    def of(cls, job: Job, engine: str, options: Sequence[str]) -> Flow:
        """Resolve a job's names; `options` are those of the engine alone.

        Raises ValueError where a name or an option is not known.
        """
        known = (*READING, *WRITING, "batch", "buckets", *options)
        if unknown := sorted(name for name in set(job.options) - set(known) if not name.startswith(f"{engine}.")):
            raise ValueError(f"engine {engine!r} has no option {unknown[0]}, needs some of {', '.join(known)}")
        application = load_application(job.application)
        return cls(
            job=job,
            stream=application.stream(job.stream),
            groups=application.groups_of(job.stream),
            buckets=whole(job.options, "buckets", BUCKETS),
            batch=whole(job.options, "batch", BATCH),
        )

    @property
    def is_file(self) -> bool:
        """Whether the source is a file; events of a topic carry their bytes, which are slow to ask for again."""
        return path_of(self.job.source) is not None

    def partitions(self) -> list[str]:
        """Return the names of the source's partitions."""
        return list(self.ends())

    def begins(self) -> dict[str, int]:
        """Return the first offset of each partition."""
        with closing(self._source()) as source:
            return dict.fromkeys(source.lag(), 0) if self.is_file else cast(Any, source).offsets_at(0)

    def ends(self) -> dict[str, int]:
        """Return the offset after the last event of each partition as they are now."""
        with closing(self._source()) as source:
            return source.lag() if self.is_file else cast(Any, source).ends()

    def open(self, partition: str, at: int | None, *, to_end: bool = False) -> Source:
        """Return the source of one partition, standing at an offset, or at its beginning where that is None.

        With `to_end` it ends where the partition does now, whatever the job says. Raises SourceError.
        """
        number = () if self.is_file else (int(partition.rpartition("/")[2]),)
        source = self._source(number, to_end=to_end or self.job.to_end)
        if self.is_file and partition not in source.lag():
            raise SourceError(
                f"{partition.rpartition('@')[0]!r} has other contents than when it was begun, "
                "needs to stay as it is until it is read"
            )
        source.follow(lambda: {} if at is None else {partition: at})
        return source

    @contextmanager
    def sink(self) -> Iterator[Sink]:
        """Open the store and the dead letters; the sink is not started."""
        job = self.job
        letters = open_letters(job.dead_letters, job.store, self.stream, options_of(job))
        with open_store(job, load_application(job.application), self.groups) as store:
            yield Sink(store, self.stream, self.groups, letters, self.original)
            store.flush()

    def original(self, partition: str, offset: int) -> bytes:
        """Return the bytes of one event, which is read once more; for files.

        Of a folder's files the partition is the file's URI and the offset its row.
        """
        path = path_of(self.job.source)
        if path is not None and path.is_dir():
            with closing(open_events(Path(unquote(urlsplit(partition).path)), self.stream.names)) as file:
                return file.original(offset)
        with closing(self.open(partition, offset)) as source:
            batch = source.poll(1)
            return batch.original(0) if batch else b""

    def _source(self, partitions: tuple[int, ...] = (), *, to_end: bool = False) -> Source:
        options = replace(options_of(self.job), group="", partitions=partitions, poll_s=_POLL_S, to_end=to_end)
        return open_source(self.job.source, self.stream, options)


def text_of(job: Job) -> str:
    """Return a job as text, for processes that are told it; see `job_of`."""
    return json.dumps({**asdict(job), "store": str(job.store)})


def job_of(text: str) -> Job:
    """Return the job that `text_of` made text of."""
    given = json.loads(text)
    return Job(**{**given, "store": Path(given["store"])})


def identity(folder: Path, buckets: int = 0) -> str:
    """Return the name of the state kept in a folder, which is made where there is none.

    A store knows by it whose records it holds. Raises ValueError where the state was begun with
    another number of buckets, in which its keys would not be found.
    """
    path = folder / _IDENTITY
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), path.open("x") as file:  # another process may be as fast
            file.write(f"{uuid4().hex} {buckets}")
    name, begun = path.read_text().split()
    if int(begun) != buckets:
        raise ValueError(
            f"the state in {str(folder)!r} has {begun} buckets, was to have {buckets}: "
            "needs the number it was begun with"
        )
    return name


def whole(options: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    """Return an option that must be a whole number, at least 1 or `least`; ValueError where it is not."""
    given = options.get(name, str(default))
    if not given.isdecimal() or int(given) < least:
        raise ValueError(f"option {name} is {given!r}, needs a whole number of at least {least}")
    return int(given)
