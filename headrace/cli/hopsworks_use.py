"""Whether what serves and feeds requests in a Hopsworks cluster can be used from here: its RonDB and its Kafka."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import click

from headrace.application import Application
from headrace.hopsworks.declared import Declared
from headrace.hopsworks.opening import READERS, StoreURL, rondb_of
from headrace.hopsworks.session import HopsworksError, Session
from headrace.stores.online import StoreUnavailable

_WAIT_S = 5.0  # somebody is looking on


@dataclass(frozen=True, slots=True)
class Use:
    """One server, and whether it can be used."""

    what: str
    found: str
    usable: bool

    def __str__(self) -> str:
        """Return a line that says so."""
        return f"{'ok  ' if self.usable else 'bad '} {self.what}: {self.found}"


def rondb(session: Session, declared: Declared, app: Application, url: str) -> Use:
    """Read a key that is nobody's from RonDB's REST server, as a transformer does before it is ready."""
    try:
        at = StoreURL.of(url)
    except ValueError as unfit:
        raise click.ClickException(str(unfit)) from unfit
    if at.reader != READERS[0]:
        raise click.ClickException(f"the store is {url}, needs hopsworks:// to look at RonDB's REST server")
    try:
        store = rondb_of(session, at, declared, lambda: session.settings.api_key)
    except HopsworksError as absent:
        return Use("RonDB", str(absent), usable=False)
    asyncio.run(store.check())
    why = store.readiness(app.groups)
    return Use("RonDB", why or f"{store.client.address} answers for view {store.view.name}", usable=not why)


def kafka(session: Session, app: Application) -> Use:
    """Ask the cluster's Kafka for the topics of the feature groups, as a pipeline does before it writes."""
    from feature_pipelines.hopsworks.opening import writer_in

    try:
        writer = writer_in(session, app, app.groups, wait_s=_WAIT_S)
    except (HopsworksError, StoreUnavailable, ValueError) as unfit:
        return Use("Kafka", str(unfit), usable=False)
    writer.close()
    return Use("Kafka", f"takes rows of {', '.join(group.name for group in app.groups)}", usable=True)
