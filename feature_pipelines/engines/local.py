"""The local engine: this process folds micro-batches into an online store on this machine.

Offsets, tiles and the ids of events change in one transaction, so any number of processes
may share a topic's partitions and one store, and any of them may be killed at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

from feature_pipelines.addresses import READING, open_letters, open_source, options_of, path_of
from feature_pipelines.engines import Job, Report, Stop
from feature_pipelines.runner import BATCH, Pipeline
from feature_pipelines.running import Tell, never, now_ms, silent
from feature_pipelines.stores import WRITING, name_of, open_store
from headrace.application import load_application

OPTIONS = (*READING, *WRITING, "batch")


class LocalEngine:
    """Runs a job in this process until it is told to stop.

    Its options are `batch`, the most events of a transaction, `fast` (true: what was committed
    may be lost with the machine's power) and `hopsworks` (true: records are rows in Hopsworks too), beside those
    that say how the source is read.
    """

    def run(self, job: Job, stop: Stop) -> Report:
        """Run a job; see Engine. Raises SourceError, LayoutMismatch, StoreUnavailable and ValueError."""
        with opened(job, stop=stop) as pipeline:
            return pipeline.run(batch_of(job), stop=stop)


ENGINE = LocalEngine()


@contextmanager
def opened(job: Job, tell: Tell = silent, stop: Stop = never) -> Iterator[Pipeline]:
    """Open what a job names and yield its pipeline, not started; everything is closed with the block."""
    if unknown := sorted(set(job.options) - set(OPTIONS)):
        raise ValueError(f"the local engine has no option {unknown[0]}, needs some of {', '.join(OPTIONS)}")
    application, options = load_application(job.application), options_of(job, tell, stop)
    stream = application.stream(job.stream)
    groups = application.groups_of(stream.name)
    with ExitStack() as held:
        store = None
        if path_of(job.source) is None and "group" not in job.options:
            # Processes share a topic where they share a store: another store needs every event too.
            store = held.enter_context(open_store(job, application, groups, tell, stop))
            options = replace(options, group=f"{options.group}-{name_of(store)}")
        source = held.enter_context(closing(open_source(job.source, stream, options)))
        store = store or held.enter_context(open_store(job, application, groups, tell, stop))
        letters = open_letters(job.dead_letters, job.store, stream, options)
        yield Pipeline(stream, groups, source, store, letters, now_ms)


def batch_of(job: Job) -> int:
    """Return the most events of a transaction; ValueError where the option is no whole number above zero."""
    given = job.options.get("batch", str(BATCH))
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"option batch is {given!r}, needs a whole number above zero")
    return int(given)
