"""`headrace hopsworks events`: a history of events into the feature groups that training reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from headrace.application import Application
from headrace.cli.console import APP, console, now_ms, refusals, step
from headrace.cli.in_cluster import connected, in_cluster
from headrace.hopsworks.declared import Declared


@click.command("events")
@click.argument("app", type=APP)
@click.option(
    "--history",
    required=True,
    type=click.Path(path_type=Path),
    help="Events: .parquet, .csv or .jsonl; a file, a folder or a pattern.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until they are in the offline tables.")
@in_cluster
def command(app: Application, history: Path, wait: bool, **cluster: Any) -> None:
    """Write a history of APP's events into Hopsworks' offline store, from which `train --from hopsworks` reads.

    Writing it again changes nothing: an event is known by its id and time.
    """
    from feature_pipelines.hopsworks.events import materialize, write_events

    with refusals():
        declared = Declared.of(app)
    with connected(**cluster) as session:
        with step("write events") as doing:
            written = write_events(session, declared, history, now_ms=now_ms(), progress=doing.advance)
            doing.result = ", ".join(f"{one.rows:,} {one.feature_group.name}" for one in written)
        for note in (note for one in written for note in one.notes()):
            console.print(f"       {note}", soft_wrap=True)
        with step("materialize") as doing:
            materialize(session, declared, wait=wait)
            doing.result = "in the offline tables" if wait else "begun"
