"""The online store that a setting names: a directory of the embedded store, or a URL of one in a Hopsworks cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from headrace.application import Application
from headrace.stores.embedded import EmbeddedStore
from headrace.stores.late import LateStore


def open_store(location: str, app: Application, environment: Mapping[str, str]) -> EmbeddedStore | LateStore:
    """Return the store; nothing is opened until it is asked for. ValueError where it cannot be what it says.

    >>> from applications.fraud.app import APP
    >>> type(open_store(".headrace/fraud/store", APP, {})).__name__
    'EmbeddedStore'
    """
    if "://" not in location:
        return EmbeddedStore(location, readonly=True, shown=Path(location).name)  # what callers are told of a path
    from headrace.hopsworks.opening import open_hopsworks  # what it needs is an extra

    return open_hopsworks(location, app, environment)
