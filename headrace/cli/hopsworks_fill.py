"""`headrace hopsworks fill`: every record of a store as a row in Hopsworks."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import click

from headrace.application import Application
from headrace.cli.console import APP, DIRECTORY, refusals, step
from headrace.cli.in_cluster import connected, in_cluster
from headrace.cli.pipeline import say, stopping


@click.command("fill")
@click.argument("app", type=APP)
@click.option("--store", required=True, type=DIRECTORY, help="The online store whose records are written.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for the cluster's Kafka.")
@in_cluster
def command(app: Application, store: Path, wait: float, **cluster: Any) -> None:
    """Write every record of a store of APP to Hopsworks, so that pipelines may go on with --hopsworks.

    Pipelines may run meanwhile. A run that was interrupted goes on where it was; once it is whole, another
    writes everything again.
    """
    from feature_pipelines.hopsworks.filling import fill
    from feature_pipelines.hopsworks.opening import writer_in
    from headrace.stores.embedded import EmbeddedStore
    from headrace.stores.environment import refuse_absent

    with refusals():
        refuse_absent(store)
    with refusals(), closing(EmbeddedStore(store)) as held, stopping() as stop:
        groups = [group for group in app.groups if group.name in held.declared()]
        if not groups:
            raise ValueError(f"the store at {store.name!r} holds no group of {app.name}, needs a pipeline's records")
        with connected(**cluster) as session:
            writer = writer_in(session, app, groups, wait_s=wait, tell=say, stop=stop)
        with closing(writer), step(f"fill {', '.join(group.name for group in groups)}") as doing:
            filled = fill(held, writer, groups, doing.share, stop)
            rows = ", ".join(f"{count:,} of {name}" for name, count in filled.rows.items())
            again = " (gone on where it was)" if filled.resumed else ""
            doing.result = f"{rows} acknowledged{again}{'' if filled.whole else '; stopped, run it again to go on'}"
