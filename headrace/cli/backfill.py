"""`headrace backfill`: the features of any rows at any past instant."""

from __future__ import annotations

from pathlib import Path

import click

from feature_pipelines.backfill import backfill
from headrace.application import Application
from headrace.cli.console import APP, FILE, console, now_ms, refusals, step


@click.command("backfill")
@click.argument("app", type=APP)
@click.option("--events", required=True, type=FILE, help="Event history: .parquet, .csv or .jsonl.")
@click.option("--spine", required=True, type=FILE, help="Rows of key, time and any further columns: .parquet or .csv.")
@click.option("--out", required=True, type=FILE, help="Where the rows go with their features: .parquet or .csv.")
@click.option("--fill", is_flag=True, help="Write the declared value where a feature is missing, instead of null.")
def command(app: Application, events: Path, spine: Path, out: Path, fill: bool) -> None:
    """Compute APP's features for every row of a spine, as serving would have answered at its time."""
    with refusals(), step("backfill") as doing:
        done = backfill(app, events, spine, out, now_ms=now_ms(), fill=fill, progress=doing.advance)
        counted = ", ".join(f"{count:,} {name}" for name, count in done.events.items()) or "no events"
        doing.result = f"{done.rows:,} rows with {len(app.view.names)} features from {counted}, in {out}"
    for note in done.notes:
        console.print(f"       {note}", soft_wrap=True)
