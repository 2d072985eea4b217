"""The store that a job writes: on this machine, and in Hopsworks too where the job says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from secrets import randbits

from feature_pipelines.engines import Job
from feature_pipelines.running import Stop, Tell, never, silent
from headrace.application import Application
from headrace.features.windows import WindowedGroup
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.online import OffsetMismatch, StoreGrew, WritableStore

#: The options of a job that say how its store is written, whatever the engine.
WRITING = ("fast", "hopsworks")


@contextmanager
def open_store(
    job: Job, application: Application, groups: Sequence[WindowedGroup], tell: Tell = silent, stop: Stop = never
) -> Iterator[WritableStore]:
    """Open the store of a job for the block.

    With the option `hopsworks` (true) every record is a row in Hopsworks before it is committed; see
    feature_pipelines.hopsworks. Raises StoreUnavailable, and ValueError where a store was written so before and the
    job does not say whether it still is (false gives it up).
    """
    wish = job.options.get("hopsworks", "")
    if wish not in ("", "true", "false"):
        raise ValueError(f"option hopsworks is {wish!r}, needs true or false")
    if wish == "true":
        with _mirrored(job, application, groups, tell, stop) as mirrored:
            yield mirrored
        return
    with closing(_embedded(job)) as store:
        from feature_pipelines.hopsworks.marks import refuse_alone

        refuse_alone(store, forget=wish == "false")
        yield store


def name_of(store: WritableStore) -> str:
    """Return the store's own name, eight hexadecimal digits; it is given one when it is first asked for."""
    while not (held := store.offsets(_NAMED).get("name")):
        with suppress(OffsetMismatch, StoreGrew), store.transaction(_NAMED, {"name": 0}) as change:
            change.advance({"name": randbits(32) | 1})
    return f"{held:08x}"


_NAMED = "the store itself"


def _embedded(job: Job) -> EmbeddedStore:
    return EmbeddedStore(job.store, durable=job.options.get("fast") != "true")


@contextmanager
def _mirrored(
    job: Job, application: Application, groups: Sequence[WindowedGroup], tell: Tell, stop: Stop
) -> Iterator[WritableStore]:
    try:
        from feature_pipelines.hopsworks.mirror import MirroredStore
        from feature_pipelines.hopsworks.opening import opened_writer
    except ModuleNotFoundError as absent:
        raise ValueError(
            f"Hopsworks needs {absent.name}, which is not installed: pip install 'headrace[hopsworks,kafka]'"
        ) from absent
    wait_s = float(job.options.get("wait", "60"))
    # The cluster first: where it refuses, no folder of an empty store is left.
    with (
        opened_writer(application, groups, wait_s=wait_s, tell=tell, stop=stop) as writer,
        closing(_embedded(job)) as store,
    ):
        yield MirroredStore(store, writer)
