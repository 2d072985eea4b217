"""Opening the mirror of a store: the environment's cluster, its feature groups, and the connection to write them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from feature_pipelines.hopsworks.mirror import MirroredStore
from feature_pipelines.hopsworks.targets import targets_of
from feature_pipelines.hopsworks.writer import FeatureGroupWriter
from feature_pipelines.running import Stop, Tell, never, silent
from headrace.application import Application
from headrace.features.windows import WindowedGroup
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.rows import windowed
from headrace.hopsworks.session import HopsworksError, HopsworksSettings, Session, connect
from headrace.stores.online import StoreUnavailable, WritableStore


def writer_in(
    session: Session,
    application: Application,
    groups: Sequence[WindowedGroup],
    *,
    wait_s: float = 60.0,
    tell: Tell = silent,
    stop: Stop = never,
) -> FeatureGroupWriter:
    """Return a writer of the feature groups of an application's groups; it outlives the session.

    Raises HopsworksError where one is absent, SchemaMismatch where one is not as declared, StoreUnavailable
    where the cluster's Kafka cannot be used.
    """
    names = {group.name for group in groups}
    wanted = [of for of in Declared.of(application).groups if windowed(of).name in names]
    return FeatureGroupWriter.of(targets_of(session, wanted), wait_s=wait_s, tell=tell, stop=stop)


@contextmanager
def opened_writer(
    application: Application,
    groups: Sequence[WindowedGroup],
    environment: Mapping[str, str] = os.environ,
    *,
    wait_s: float = 60.0,
    tell: Tell = silent,
    stop: Stop = never,
) -> Iterator[FeatureGroupWriter]:
    """Open a writer of the cluster that the `HOPSWORKS_*` variables name, for the block.

    Raises StoreUnavailable where Hopsworks cannot be used or lacks a feature group, and SchemaMismatch.
    """
    try:
        # The client reads the cluster's certificates when it is made, before the session takes them away.
        with connect(HopsworksSettings.of(environment)) as session:
            writer = writer_in(session, application, groups, wait_s=wait_s, tell=tell, stop=stop)
    except HopsworksError as refused:
        raise StoreUnavailable(str(refused)) from refused
    with closing(writer):
        yield writer


@contextmanager
def opened_mirror(
    store: WritableStore, application: Application, groups: Sequence[WindowedGroup]
) -> Iterator[MirroredStore]:
    """Open the mirror of a store, which stays the caller's; see opened_writer."""
    with opened_writer(application, groups) as writer:
        yield MirroredStore(store, writer)
