"""`headrace backfill`: the features of any rows at any past instant."""

from __future__ import annotations

from pathlib import Path

import click

from feature_pipelines.backfill import backfill
from headrace.application import Application
from headrace.cli.console import APP, console, now_ms, refusals, step

_PATH = click.Path(path_type=Path)


@click.command("backfill")
@click.argument("app", type=APP)
@click.option(
    "--events",
    required=True,
    type=_PATH,
    help="Event history: .parquet, .csv or .jsonl; a file, a folder or a pattern.",
)
@click.option(
    "--spine",
    required=True,
    type=_PATH,
    help="Rows of key, time and any further columns: .parquet, .csv, or a folder of .parquet.",
)
@click.option(
    "--out",
    required=True,
    type=_PATH,
    help="Where the rows go with their features: .parquet, .csv, or a folder for partitions.",
)
@click.option("--fill", is_flag=True, help="Write the declared value where a feature is missing, instead of null.")
def command(app: Application, events: Path, spine: Path, out: Path, fill: bool) -> None:
    """Compute APP's features for every row of a spine, as serving would have answered at its time."""
    if out.suffix and not out.absolute().parent.is_dir():  # found before everything is computed
        raise click.ClickException(f"there is no folder {out.parent} for --out, needs one: make it first")
    with refusals(), step("backfill") as doing:
        done = backfill(app, events, spine, out, now_ms=now_ms(), fill=fill, progress=doing.share)
        counted = ", ".join(f"{count:,} {name}" for name, count in done.events.items()) or "no events"
        doing.result = f"{done.rows:,} rows with {len(app.view.names)} features from {counted}, in {out}"
    for note in done.notes:
        console.print(f"       {note}", soft_wrap=True)
    if done.dead:
        console.print(f"       {done.dead:,} dead letters: see {done.letters}", soft_wrap=True)
